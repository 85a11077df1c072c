"""Which words of an answer differ from the reference, for marking in a page.

Word-level with `difflib`; knows nothing of markup. Texts that share next to nothing, or are very
long, come back unmarked: a page of marks would say less than the plain text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Final, Literal

_TOKEN: Final = re.compile(r"\s+|\w+|[^\w\s]")
_MOST_TOKENS: Final = 400
_ALWAYS_BELOW: Final = 12
"""Texts of fewer tokens are always compared, however different."""
_LEAST_ALIKE: Final = 0.5
"""Share of words in common below which marks would hide the text."""


@dataclass(frozen=True)
class Segment:
    """A stretch of text: in both, only in the answer (extra), only in the reference (left out)."""

    kind: Literal["same", "extra", "left_out"]
    text: str


def compare_words(reference: str | None, answer: str) -> list[Segment]:
    """The answer in segments; without the left-out ones they join to the answer again."""
    plain = [Segment("same", answer)] if answer else []
    if not reference or not answer:
        return plain
    left, right = _TOKEN.findall(reference), _TOKEN.findall(answer)
    if max(len(left), len(right)) > _MOST_TOKENS:
        return plain
    if max(len(left), len(right)) >= _ALWAYS_BELOW and _likeness(left, right) < _LEAST_ALIKE:
        return plain
    matcher = SequenceMatcher(None, left, right, autojunk=False)
    segments = []
    for operation, i1, i2, j1, j2 in matcher.get_opcodes():
        before, after = "".join(left[i1:i2]), "".join(right[j1:j2])
        if operation == "equal":
            segments.append(Segment("same", after))
            continue
        if before:
            segments.append(Segment("left_out", before))
        if after:
            segments.append(Segment("extra", after))
    return segments


def _likeness(left: list[str], right: list[str]) -> float:
    """0–1 over the words alone: white space is always alike and says nothing."""
    words = [[token for token in side if not token.isspace()] for side in (left, right)]
    return SequenceMatcher(None, words[0], words[1], autojunk=False).ratio()
