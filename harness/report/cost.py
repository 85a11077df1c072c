"""What a round took: the time of its stages, and calls, tokens and money of who was asked.

Knows nothing of colours or markup.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from harness.report.record import RoundRecord
from harness.report.wording import number, one_line, plural
from harness.types import StageTime, side_of

STAGES: Final = {
    "check": "recipe, data and evalset are read",
    "train": "the adapter is trained",
    "publish": "it goes into the store",
    "serve": "the server starts",
    "probe": "served tokens are compared with trained ones",
    "generate": "every side answers every item",
    "judge": "the answers get scores",
    "pairs": "two answers are compared in both orders",
    "health": "the judge is examined",
    "gate": "the rules are applied",
}
_MINUTE, _HOUR = 60, 3600
_SHORT = 10


class Stage(NamedTuple):
    """One stage on a scale shared by all."""

    name: str
    does: str
    took: str
    width: float
    """Percent of the longest."""
    summary: str
    skipped: bool


def duration(seconds: float) -> str:
    """0.4 → "0.4 s", 72 → "1 min 12 s", 3900 → "1 h 05 min"."""
    if round(seconds, 1) < _SHORT:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE:02} s"
    minutes = round(seconds / _MINUTE)
    return f"{minutes // _MINUTE} h {minutes % _MINUTE:02} min"


def stages(record: RoundRecord) -> list[Stage]:
    """In the order in which they ran."""
    longest = max((each.seconds for each in record.stages), default=0.0)
    return [_stage(each, longest, record) for each in record.stages]


def _stage(stage: StageTime, longest: float, record: RoundRecord) -> Stage:
    width = round(100 * stage.seconds / longest, 2) if longest else 0.0
    # Where the server stood is of no use to anybody else.
    summary = "" if stage.name == "serve" else one_line(stage.summary, 200)
    took = "done before" if stage.skipped else duration(stage.seconds)
    trained = record.training.seconds if record.training else None
    if stage.skipped and stage.name == "train" and trained:
        summary += f"; it took {duration(trained)} then"
    return Stage(
        one_line(stage.name, 40), STAGES.get(stage.name, ""), took, width, summary, stage.skipped
    )


def total(record: RoundRecord) -> str:
    """Of all stages."""
    return duration(sum(each.seconds for each in record.stages))


class Asked(NamedTuple):
    """What one model was asked and said."""

    who: str
    model: str
    n: str
    prompt_tokens: str
    answer_tokens: str
    money: str


def asked(record: RoundRecord) -> list[Asked]:
    """A line for each target, as its answers say; then the judges together."""
    return [*_targets(record), *_judges(record)]


def _targets(record: RoundRecord) -> Iterator[Asked]:
    sums: dict[tuple[str, str], list[int]] = {}
    for each in record.generations:
        found = sums.setdefault((side_of(each), each.model), [0, 0, 0])
        for place, n in enumerate((1, each.n_prompt_tokens, each.n_tokens)):
            found[place] += n
    for (who, model), counts in sums.items():
        n_answers, n_prompt, n_answer = counts
        said = f"{n_prompt:,}", f"{n_answer:,}"
        yield Asked(one_line(who, 60), model, plural(n_answers, "answer"), *said, "")


def _judges(record: RoundRecord) -> Iterator[Asked]:
    spent = record.spending
    if spent:
        money = number(spent.money, 4 if spent.money < 1 else 2) if spent.money else ""
        yield Asked(
            "judge",
            record.decision.judge,
            plural(spent.calls, "call"),
            f"{spent.prompt_tokens:,}",
            f"{spent.answer_tokens:,}",
            money,
        )


def reused(record: RoundRecord) -> str:
    """How much was asked now and how much was remembered."""
    counts = record.counts
    if not {"generated", "judged", "from_cache"} <= counts.keys():
        return ""
    return (
        f"{counts['generated']:,} answers made now, {plural(counts['judged'], 'call')} of judges; "
        f"{counts['from_cache']:,} answers and verdicts were remembered and cost nothing."
    )


def cost_line(record: RoundRecord) -> str:
    """Time, calls, tokens and money in one sentence; empty where nothing of it is known."""
    parts = []
    if record.stages:
        longest = max(record.stages, key=lambda each: each.seconds)
        parts.append(f"{total(record)}, most of it {longest.name} ({duration(longest.seconds)})")
    if spent := record.spending:
        money = f", money {number(spent.money, 4)}" if spent.money else ""
        parts.append(f"{plural(spent.calls, 'judge call')} of {spent.tokens:,} tokens{money}")
    return "; ".join(parts)
