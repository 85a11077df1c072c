"""One round as Markdown for a pull request comment.

Model output appears only inside code fences longer than any run of backticks in it; names and
sentences have every character that Markdown, tables, HTML or GitHub would act on escaped. Long
parts are limited, and what then is too much left out, so that the whole stays below GitHub's
65,536 characters.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from harness.report import trust, view
from harness.report.answers import Case
from harness.report.around import Fact, around
from harness.report.cost import cost_line
from harness.report.record import RoundRecord
from harness.report.wording import (
    MISSING,
    STATUS_WORDS,
    number,
    one_line,
    plural,
    score,
    scores_of,
    share,
    signed,
    visible,
)
from harness.types import RuleResult, SliceComparison, Status

MAX_DROPS: Final = 5
MAX_ROWS: Final = 40
"""Rules, and slices, in a table."""
_ROOM: Final = 65_000
"""Characters, a little less than GitHub takes."""
_LONG: Final = 1000
_SHORT: Final = 400
_MARKS: Final[dict[Status, str]] = {
    "pass": "✅",
    "fail": "❌",
    "inconclusive": "❔",
    "untrusted": "⛔",
}
_ACTIVE: Final = re.compile(r"[\\`*\[\]<&|~$_#]|(?<!\w)@|://|www\.")
"""What Markdown, a table, HTML or GitHub acts on. ">" alone and ")" are harmless."""
_HARMLESS: Final = {
    "_": "\\_",
    "://": "&#58;//",
    "www.": "www&#46;",
    # GitHub links mentions and issues in the finished text, so an entity would not stop it.
    "@": "@<!-- -->",
    "#": "#<!-- -->",
}


def render_markdown(record: RoundRecord) -> str:
    """The report as GitHub-flavoured Markdown, ending in a line feed."""
    parts = [
        *_verdict(record),
        *_rules(record),
        *_around(record),
        *_slices(record),
        *_drops(record),
        *_lineage(record),
    ]
    return "\n\n".join(_fitting(parts)) + "\n"


def _fitting(parts: Iterable[str]) -> Iterator[str]:
    """The parts that a comment has room for, each whole."""
    n_characters, n_left_out = 0, 0
    for part in parts:
        if n_characters + len(part) > _ROOM:
            n_left_out += 1
        else:
            n_characters += len(part) + len("\n\n")
            yield part
    if n_left_out:
        yield f"Too long for a comment: {plural(n_left_out, 'part')} left to the HTML report."


def _verdict(record: RoundRecord) -> Iterator[str]:
    head = view.headline(record)
    yield f"## {_MARKS[head.status]} {head.word}: {inline(record.recipe.name)}"
    yield inline(head.sentence, _LONG)
    for warning in view.warnings(record):
        yield f"**{inline(warning)}**"
    yield inline(f"Overall: {view.overall_line(record)}.")
    if record.comparison:
        yield inline(view.certifies(record))
    decision = record.decision
    yield (
        f"Candidate {inline(decision.candidate)}, baseline {inline(decision.baseline)}, "
        f"judge {inline(decision.judge)}, evalset {inline(decision.evalset)}."
    )


def _rules(record: RoundRecord) -> Iterator[str]:
    rules = sorted(record.decision.rules, key=lambda rule: _result(rule).endswith("Pass"))
    rows = []
    for rule in rules[:MAX_ROWS]:
        name = [_cell(rule.rule), _cell(rule.slice)]
        rows.append([_result(rule), *name, *view.figures(rule), inline(rule.sentence, 300)])
    yield "### Rules"
    yield _table("Result Rule Slice >Value >Bound >Threshold In_words", rows)
    yield from _left_out(len(rules), "rules")


def _result(rule: RuleResult) -> str:
    if view.is_unfit(rule):
        return "⚠️ Let through"
    return f"{_MARKS[rule.status]} {STATUS_WORDS[rule.status]}"


def _around(record: RoundRecord) -> Iterator[str]:
    claims = [
        Fact(each.topic, each.sentence, each.status != "pass")
        for each in (trust.served(record), trust.judged(record))
        if each
    ]
    cost = [Fact("Cost", line)] if (line := cost_line(record)) else []
    if facts := [*claims, *around(record), *cost]:
        yield "### Around the decision"
        yield "\n".join(f"- {_told(fact)}" for fact in facts)


def _told(fact: Fact) -> str:
    text = inline(f"{fact.topic}: {fact.sentence}.", _LONG)
    return f"**{text}**" if fact.is_loud else text


def _slices(record: RoundRecord) -> Iterator[str]:
    slices = view.rows(record)
    if not slices:
        return
    yield "### Slices"
    header = ">Candidate >Baseline >Base >Difference >Lower_bound >Pass_share >Lost,_gained"
    rows = [[_slice_name(record, row), *_estimates(row)] for row in slices[:MAX_ROWS]]
    yield _table(f"Slice {header} >Not_scored >Truncated >Failed", rows)
    yield from _left_out(len(slices), "slices")
    yield (
        "Means of scores 1 to 5. Pass share, not scored, truncated and failed: candidate / "
        "baseline. A missing score counts as the worst case for the candidate."
    )
    counts = [
        [_cell(row.name), role, *map(str, side.distribution), str(side.n_unscored)]
        for row in slices[:MAX_ROWS]
        for role, side in view.sides(row)
    ]
    others = view.others(record)
    counts += [
        ["overall", _cell(name), *map(str, side.distribution), str(side.n_unscored)]
        for name, side in others.items()
    ]
    means = (
        f"{_cell(name)} mean {number(side.mean)}, pass share {share(side.pass_share)}"
        for name, side in others.items()
    )
    if others:
        yield f"Asked beside them: {', '.join(means)}."
    table = _table("Slice Side >1 >2 >3 >4 >5 >No_score", counts)
    yield _details("How often each score was given", [table])


def _slice_name(record: RoundRecord, row: SliceComparison) -> str:
    status = view.slice_status(record, row.name)
    return f"{_MARKS[status]} {_cell(row.name)}" if status else _cell(row.name)


def _estimates(row: SliceComparison) -> list[str]:
    left, right, difference = row.candidate, row.baseline, row.difference
    return [
        number(left.mean),
        number(right.mean),
        number(row.base.mean if row.base else None),
        f"**{signed(difference.mean)}**",
        signed(difference.lower),
        f"{share(left.pass_share)} / {share(right.pass_share)}",
        f"{difference.n_lost}, {difference.n_gained}",
        f"{left.n_unscored} / {right.n_unscored} of {left.n_items}",
        f"{left.n_truncated} / {right.n_truncated}",
        f"{left.n_failed} / {right.n_failed}",
    ]


def _drops(record: RoundRecord) -> Iterator[str]:
    cases = view.drops(record, MAX_DROPS)
    n_dropped, _ = view.count_moved(record)
    if cases:
        parts = [part for case in cases for part in _case(case)]
        yield _details(f"Worst drops ({len(cases)} of {n_dropped})", parts)


def _case(case: Case) -> Iterator[str]:
    scores = f"{score(case.baseline.score)} → {score(case.candidate.score)}"
    yield f"#### {scores} · {_cell(case.slice or 'no slice')} · {_cell(case.item.id)}"
    turns = [f"{each.role}: {each.content}" for each in case.item.messages]
    turns += [f"then user: {text}" for text in case.item.follow_ups]
    prompt = "\n".join(turns)
    yield f"Prompt\n{fence(prompt, _LONG)}"
    if case.item.reference is not None:
        yield f"Reference\n{fence(case.item.reference, _LONG)}"
    for side in (case.baseline, case.candidate):
        state = "" if side.state == "ok" else f", {side.state}"
        for turn, text in enumerate(side.earlier, start=1):
            yield f"{side.role.capitalize()} answer to turn {turn}\n{fence(text, _LONG)}"
        yield f"{side.role.capitalize()} answer{state}\n{fence(side.text, _LONG)}"
        who = side.by.capitalize()
        samples = f" ({scores_of(side.scores)})" if side.scores else ""
        given = f"{score(side.score)} of 5{samples}"
        yield f"{who} of the {side.role}: {given}\n{fence(side.reason, _SHORT)}"


def _lineage(record: RoundRecord) -> Iterator[str]:
    manifest = record.manifest
    contract = manifest.contract
    values = {
        "Recipe": f"{record.recipe.name} {manifest.recipe[:12]}",
        "Data": f"{manifest.data[:12]}, {manifest.n_rows} rows, {manifest.n_steps} steps",
        "Base": f"{manifest.base.model} {manifest.base.revision or ''} {manifest.base.dtype}",
        "Chat contract": f"template {contract.template[:12]}, tokenizer "
        f"{contract.tokenizer[:12]}, probes {contract.probes[:12]}",
        "Seeds": ", ".join(f"{key} {seed}" for key, seed in sorted(manifest.seeds.items())),
        "Packages": ", ".join(f"{key} {text}" for key, text in sorted(manifest.packages.items())),
        "Comparison": (record.decision.comparison or MISSING)[:12],
        "Counts": ", ".join(f"{key.replace('_', ' ')} {n}" for key, n in record.counts.items()),
        "Round": f"{record.run_id}, {record.finished_at}",
    }
    rows = [[key, inline(value, _SHORT)] for key, value in values.items()]
    yield _details("Lineage", [_table("What Value", rows)])


def _left_out(n: int, noun: str) -> Iterator[str]:
    if n > MAX_ROWS:
        yield f"{MAX_ROWS} of {n} {noun} are shown; all are in the HTML report."


def _details(summary: str, parts: Iterable[str]) -> str:
    body = "\n\n".join(parts)
    return f"<details><summary>{summary}</summary>\n\n{body}\n\n</details>"


def _table(header: str, rows: Iterable[list[str]]) -> str:
    """`header`: titles separated by spaces, "_" for a space, ">" before a right-aligned one."""
    columns = header.split()
    titles = [column.lstrip(">").replace("_", " ") for column in columns]
    rule = ["---:" if column.startswith(">") else "---" for column in columns]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (titles, rule, *rows))


def _cell(text: str) -> str:
    return inline(text, 80)


def inline(text: str, limit: int = _SHORT) -> str:
    """Text on one line that Markdown prints as it is: no markup, link, mention or new cell."""
    return _ACTIVE.sub(_harmless, one_line(text, limit)) or MISSING


def _harmless(match: re.Match[str]) -> str:
    return _HARMLESS.get(match[0]) or f"&#{ord(match[0])};"


def fence(text: str, limit: int) -> str:
    """Text in a code block that it cannot leave, at most `limit` characters of it."""
    shown = visible(text[:limit])[:limit]
    longest = max(map(len, re.findall("`+", shown)), default=0)
    ticks = "`" * max(3, longest + 1)
    cut = "\n\nCut here; the run's files have all of it." if len(visible(text)) > limit else ""
    return f"{ticks}text\n{shown}\n{ticks}{cut}"
