"""The exact score of an answer in the pocket world, and the reasoning that leads to it.

The score is a function of what the judge is shown (what was asked, the key, the answer):

    5  the same text as the key, up to case, full stops, commas and white space
    4  complete, but not the same text: every content word of the key is there, with extra
       words or in another order
    3  at least half of the key parts
    2  fewer, but in the right form: wrong content
    1  anything else: empty, off form, junk

Content words are the world's words, numbers and operators. A word is found when it occurs
anywhere in the answer; a number or operator only right after the same neighbour as in the key,
because sums repeat their numbers. Key parts are the content words which the question does not
already give: naming the right person with the wrong town earns nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from harness.pocket.world import KIND_OF, WORDS

JUDGE_TEMPLATE: Final = (
    "Rate the answer from 1 to 5.\nAsked: {rubric}\nKey: {reference}\nGiven: {response}"
)
_OPERATORS: Final = frozenset("+-*>")
_SENTENCE: Final = (
    r"[A-Z][a-z]+ (lives in [A-Z][a-z]+|has a [a-z]+ [a-z]+|likes [a-z]+|works as a [a-z]+)\."
)
_SUMMARY: Final = (
    r"[A-Z][a-z]+(, a [a-z]+ from [A-Z][a-z]+,| from [A-Z][a-z]+)"
    r" (has a [a-z]+ [a-z]+|likes [a-z]+)( and likes [a-z]+)?\."
)
_WORKING: Final = (
    r"\d+ ([-+] \d+ = \d+, so [A-Z][a-z]+ has \d+|> \d+, so [A-Z][a-z]+ has more) [a-z]+\."
)
_PROGRAM: Final = (
    r"x = \d+\nx = x [-+*] \d+\nprint\(x\)"
    r'|a = \["[a-z]+"(, "[a-z]+")*\]\nprint\(a\)'
    r"|def [a-z]+\(x\):\n    return x [-+*] \d+"
    r'|for i in range\(\d+\):\n    print\("[a-z]+"\)'
)
_PATTERNS: Final = {
    "qa": _SENTENCE,
    "summarise": _SUMMARY,
    "classify": "|".join(WORDS["mood"]),
    "generate": f"{_SENTENCE}( {_SENTENCE})?",
    "reason": _WORKING,
    "code": _PROGRAM,
}


@dataclass(frozen=True)
class Unit:
    """A word, number or sign of a text: as compared, as written, and the unit before it."""

    key: str
    written: str
    before: str


@dataclass(frozen=True)
class Mark:
    """One content word of the key: was it found, and does it count as a key part?"""

    unit: Unit
    found: bool
    counts: bool


@dataclass(frozen=True)
class Comparison:
    """What the oracle saw, part by part, and the score that follows from it."""

    marks: tuple[Mark, ...]
    begins: tuple[str, bool]
    ends: tuple[str, bool]
    extra: str
    in_form: bool
    same: bool

    @property
    def n_found(self) -> int:
        return sum(mark.found for mark in self.marks if mark.counts)

    @property
    def n_parts(self) -> int:
        return sum(mark.counts for mark in self.marks)

    @property
    def score(self) -> int:
        if self.same:
            return 5
        if all(mark.found for mark in self.marks):
            return 4
        if 2 * self.n_found >= self.n_parts:
            return 3
        return 2 if self.in_form else 1


def units(text: str) -> list[Unit]:
    """Split a text into units; commas and full stops are not units."""
    found: list[Unit] = []
    before = ""
    for written in re.findall(r"[A-Za-z]+|\d+|[^\sA-Za-z\d.,]", text):
        key = written.lower()
        found.append(Unit(key, written, before))
        before = key
    return found


def _is_content(unit: Unit) -> bool:
    return unit.written in KIND_OF or unit.key.isdigit() or unit.key in _OPERATORS


def compare(task_type: str, rubric: str, reference: str, response: str) -> Comparison:
    """Compare an answer with the key."""
    wanted, given = units(reference), units(response)
    present = {unit.key for unit in given}
    neighbours = {(unit.before, unit.key) for unit in given}
    asked = {unit.key for unit in units(rubric)}

    def found(unit: Unit) -> bool:
        if unit.written in KIND_OF or not unit.before:
            return unit.key in present
        return (unit.before, unit.key) in neighbours

    marks = tuple(Mark(u, found(u), u.key not in asked) for u in wanted if _is_content(u))
    known = {unit.key for unit in wanted}
    return Comparison(
        marks=marks,
        begins=_edge(wanted, given, 0),
        ends=_edge(wanted, given, -1),
        extra=next((unit.written for unit in given if unit.key not in known), "none"),
        in_form=has_form(task_type, rubric, response.strip()),
        same=[unit.key for unit in wanted] == [unit.key for unit in given],
    )


def _edge(wanted: list[Unit], given: list[Unit], index: int) -> tuple[str, bool]:
    if not given:
        return "nothing", False
    return given[index].written, given[index].key == wanted[index].key


def has_form(task_type: str, rubric: str, response: str) -> bool:
    """Is this an answer of the kind that was asked for, whatever its content?"""
    if task_type == "extract":
        kind = _EXTRACT_KIND[rubric]
        return bool(response) and all(word in WORDS[kind] for word in response.split(", "))
    return re.fullmatch(_PATTERNS[task_type], response) is not None


_EXTRACT_KIND: Final = {
    f"a list of {kind}s": kind for kind in ("name", "animal", "colour", "town", "food", "job")
}


def score(task_type: str, rubric: str, reference: str, response: str) -> int:
    """The oracle's score, 1 to 5."""
    return compare(task_type, rubric, reference, response).score


def reasoning(comparison: Comparison) -> str:
    """The comparison in two lines which a small model can learn to write, word by word."""
    n_found = n_parts = 0
    steps = []
    for mark in comparison.marks:
        n_parts += mark.counts
        n_found += mark.counts and mark.found
        steps.append(f"{mark.unit.written} {_yes(mark.found)} {n_found}/{n_parts}")
    edges = " ".join(
        f"{name} {word} {_yes(equal)}"
        for name, (word, equal) in (("begins", comparison.begins), ("ends", comparison.ends))
    )
    rest = f"extra {comparison.extra} form {_yes(comparison.in_form)}"
    return f"{' '.join(steps)}\n{edges} {rest}"


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def judge_prompt(rubric: str, reference: str, response: str) -> str:
    """What the judge is asked; the same text as `evalsets/pocket/judge.md` filled in."""
    values: dict[str, str] = {"rubric": rubric, "reference": reference, "response": response}
    fill: Callable[[re.Match[str]], str] = lambda match: values[match[1]]  # noqa: E731
    return re.sub(r"\{(rubric|reference|response)\}", fill, JUDGE_TEMPLATE)


def judge_answer(comparison: Comparison) -> str:
    """What the judge should say: the reasoning, then the score on a line of its own."""
    return f"{reasoning(comparison)}\nscore {comparison.score}"
