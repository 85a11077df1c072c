"""A worklist: examples that people are asked to write, so that the next round does better.

A line asks for another example of the kind that failed. No text that is held out is in it: of the
items only the slice, words that several of them share, and numbers.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from harness.errors import DataError
from harness.failures.told import Failures, ToldGroup
from harness.jsonio import write_chunks
from harness.report.record import RoundRecord
from harness.report.wording import one_line
from harness.training.quality.normalise import words
from harness.training.reading import worklist

RUN: Final = 5
"""Words in a row that are never taken from anything held out."""
LEAST, MOST = 4, 20
_NAME: Final = 100
_WORDS = ", "
_Run = tuple[str, ...]
_HOW = {
    "sft": "the answer is the one that the model should give",
    "dpo": "chosen is the answer to give, rejected one that is not as good",
    "kto": "chosen is an answer to give, rejected one not to give",
}


def n_wished(group: ToldGroup) -> int:
    """Twice as many as failed, at least LEAST and at most MOST."""
    return min(max(2 * group.n_items, LEAST), MOST)


def require_free(path: Path) -> None:
    """Raises DataError for a file that is there: it may be half filled in."""
    if os.path.lexists(path):
        raise DataError(
            f"--write {path}: exists already, and a worklist replaces nothing",
            hint="name another file, or move that one away",
        )


def write_worklist(path: Path, failures: Failures, record: RoundRecord) -> int:
    """Write the lines of all groups, whole or not at all; returns how many. Raises DataError for a
    file that exists."""
    require_free(path)
    found = list(lines(failures, record))
    write_chunks(path, (json.dumps(each, ensure_ascii=False).encode() + b"\n" for each in found))
    return len(found)


def lines(failures: Failures, record: RoundRecord) -> Iterator[dict[str, Any]]:
    """The lines, what is wanted first and the empty row after it."""
    objective, by = record.recipe.train.objective, record.recipe.gate.slices.by
    names = [one_line(group.slice, _NAME) for group in failures.groups if group.slice]
    names += [one_line(row.source, _NAME) for group in failures.groups for row in group.nearest]
    names += [_WORDS.join(group.words) for group in failures.groups]
    unsaid = _unsaid(names, record)
    for group in failures.groups:
        name = one_line(group.slice, _NAME) if group.slice else None
        name = name if name in unsaid else None
        sources = [one_line(row.source, _NAME) for row in group.nearest]
        sources = [each for each in sources if each in unsaid]
        about = _WORDS.join(group.words)
        about = about if about in unsaid else ""
        brief = _brief(name, about, group.wrong, sources, _HOW[objective])
        for _ in range(n_wished(group)):
            yield {
                worklist.KEY: {
                    "schema": worklist.SCHEMA,
                    "run": one_line(failures.run, _NAME),
                    "group": group.number,
                    "slice": name,
                    "brief": brief,
                },
                **({"tags": {by: name}} if by and name else {}),
                **worklist.blank(objective),
            }


def _brief(name: str | None, about: str, wrong: str, sources: Iterable[str], how: str) -> str:
    where = f" of the kind {name!r}" if name else ""
    about = f" (telling words: {about})" if about else ""
    rows = ", ".join(sources)
    like = (
        f" Training rows that ask for much the same, rightly answered or not: {rows}."
        if rows
        else ""
    )
    return (
        f"Write a new example{where}{about}. What went wrong: {wrong}.{like} "
        f"Fill in the empty contents; {how}. Use facts and words of your own: a prompt of the "
        "evalset is refused, also with light edits. Leave this object in its place."
    )


def _unsaid(names: Iterable[str], record: RoundRecord) -> frozenset[str]:
    """Those of the names that repeat nothing that is held out."""
    runs_of = {name: frozenset(runs(name)) for name in names}
    asked = frozenset[_Run]().union(*runs_of.values())
    held = (
        {run for text in _texts(record) for run in runs(text) if run in asked} if asked else set()
    )
    return frozenset(name for name, own in runs_of.items() if not own & held)


def runs(text: str) -> Iterator[_Run]:
    """Every RUN normalised words that follow each other; a tag may join them by underscores."""
    found = words(text.replace("_", " "))
    for start in range(len(found) - RUN + 1):
        yield tuple(found[start : start + RUN])


def _texts(record: RoundRecord) -> Iterator[str]:
    """What is held out: prompts, references, rubrics, answers, reasons."""
    for item in record.items:
        yield from (each.content for each in item.messages)
        yield from (*item.follow_ups, *item.references, item.reference or "", item.rubric or "")
    for answer in record.generations:
        yield from (answer.text, *answer.earlier)
    for verdict in record.verdicts:
        yield verdict.reason
        yield from (each.reason for each in verdict.opinions)
        yield from (each.note for each in verdict.checks)
