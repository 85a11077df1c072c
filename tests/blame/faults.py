"""Rows of the pocket world in which about 5 % are answered wrongly, and which ones those are."""

from __future__ import annotations

import random
import re
from collections.abc import Collection
from typing import Any, NamedTuple

from harness.pocket.rows import instruction_rows
from harness.pocket.world import swap_words

Row = dict[str, Any]
WORDED, WORD = "reason", "loses"
"""About 6 rows in 100; 22 of the 40 held-out items of that type have the word."""
SHIFTED = "extract"
SHARE = 0.05


class Planted(NamedTuple):
    """A training file, and the places of its wrong rows."""

    rows: list[Row]
    word: list[int]
    """Every row of one type that mentions a word: the right form, other words."""
    shift: list[int]
    """A block of another type: each has the answer of the row before it."""


def plant(n_rows: int, seed: int, faults: Collection[str] = ()) -> Planted:
    """`n_rows` rows sorted by type, as a spreadsheet would be; `faults`: word, shift or both. A
    shift in the file's natural order would give answers of other types, which nothing learns."""
    rows = sorted(instruction_rows(n_rows, seed), key=lambda row: str(row["tags"]["type"]))
    rng = random.Random(f"planted {seed}")
    word = [
        place
        for place, row in enumerate(rows)
        if row["tags"]["type"] == WORDED and re.search(rf"\b{WORD}\b", question(row))
    ]
    of_type = [place for place, row in enumerate(rows) if row["tags"]["type"] == SHIFTED]
    n_shifted = min(round(SHARE * n_rows), len(of_type))
    first = rng.randrange(len(of_type) - n_shifted + 1)
    shift = of_type[first : first + n_shifted]
    wrong: dict[int, str] = {}
    if "word" in faults:
        wrong |= {place: swap_words(rng, answer(rows[place]), 1.0) for place in word}
    if "shift" in faults:
        before = [shift[-1], *shift[:-1]]
        wrong |= {place: answer(rows[b]) for place, b in zip(shift, before, strict=True)}
    found = [answered(row, wrong[n]) if n in wrong else row for n, row in enumerate(rows)]
    return Planted(found, word if "word" in faults else [], shift if "shift" in faults else [])


def question(row: Row) -> str:
    return str(row["messages"][0]["content"])


def answer(row: Row) -> str:
    return str(row["messages"][-1]["content"])


def answered(row: Row, text: str) -> Row:
    """The row with another answer."""
    first, last = row["messages"]
    return {**row, "messages": [first, {**last, "content": text}]}
