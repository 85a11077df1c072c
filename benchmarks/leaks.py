"""How many light edits of held-out prompts a worklist's check refuses, and how many other rows.

    .venv/bin/python benchmarks/leaks.py [HELDOUT.jsonl ... --rows TRAIN.json]

Edits every prompt of ten words or more in seven ways, and fills worklists with other rows: of the
pocket world, drawn with three other seeds, and where a file is named, of that file against the
held-out files, which have their prompts as for `overlap.py`.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from harness.pocket.rows import heldout_items, instruction_rows
from harness.recipe import Source
from harness.training.quality.leaks import Leaks, Prompts
from harness.training.quality.normalise import words
from harness.training.reading.example import Example
from harness.training.reading.read import open_source
from harness.types import Item, Message

Edit = Callable[[list[str], random.Random], list[str]]
LEAST = 10
N_MOST = 300
SEEDS = (1, 2, 3)


def _without(said: list[str], rng: random.Random) -> list[str]:
    place = rng.randrange(len(said))
    return said[:place] + said[place + 1 :]


def _replaced(said: list[str], rng: random.Random) -> list[str]:
    place = rng.randrange(len(said))
    return [*said[:place], "something", *said[place + 1 :]]


def _swapped(said: list[str], rng: random.Random) -> list[str]:
    place = rng.randrange(len(said) - 1)
    return [*said[:place], said[place + 1], said[place], *said[place + 2 :]]


EDITS: dict[str, Edit] = {
    "one word left out": _without,
    "one word replaced": _replaced,
    "two neighbours swapped": _swapped,
    "last word cut off": lambda said, rng: said[:-1],
    "“Please” before it": lambda said, rng: ["Please", *said],
    "“Thank you.” after it": lambda said, rng: [*said, "Thank", "you."],
    "a word replaced, the reference as the answer": _replaced,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("heldout", type=Path, nargs="*")
    parser.add_argument("--rows", type=Path)
    arguments = parser.parse_args()
    pocket = [
        ("pocket", Item.model_validate({"id": str(number)} | item))
        for number, item in enumerate(heldout_items())
    ]
    others = [row for seed in SEEDS for row in instruction_rows(700, seed)]
    sets = {"pocket": (pocket, [_chat(row) for row in others])}
    if arguments.heldout:
        from overlap import held_out

        rows = _read(arguments.rows) if arguments.rows else []
        sets |= {path.stem: (held_out(path), rows) for path in arguments.heldout}
    found = {name: _column(*each) for name, each in sets.items()}
    print(f"| {' | '.join(['', *found])} |")
    print(f"|---|{'--:|' * len(found)}")
    for row in next(iter(found.values())):
        print(f"| {' | '.join([row, *(each[row] for each in found.values())])} |")


def _column(items: list[tuple[str, Item]], others: Sequence[Example]) -> dict[str, str]:
    rng = random.Random(0)
    long = [item for _, item in items if len(words(_prompt(item))) >= LEAST]
    chosen = rng.sample(long, min(N_MOST, len(long)))
    cells = {"threshold": f"{Prompts([item for _, item in items]).alike:.2f}"}
    for way, edit in EDITS.items():
        lines = [
            Example(
                (
                    _said("user", " ".join(edit(_prompt(item).split(), rng))),
                    _said("assistant", (item.reference or "") if "reference" in way else "x"),
                ),
                "edited",
            )
            for item in chosen
        ]
        cells[way] = f"{_refused(items, lines)}/{len(lines)}"
    started = time.process_time()
    cells["other rows"] = f"{_refused(items, others)}/{len(others)}"
    cells["CPU s for those"] = f"{time.process_time() - started:.1f}"
    return cells


def _refused(items: list[tuple[str, Item]], lines: Sequence[Example]) -> int:
    leaks = Leaks(items)
    for each in lines:
        leaks.add(each)
    return leaks.result().n_lines


def _read(path: Path) -> list[Example]:
    opened = open_source(Source(path=path.name), path.parent, objective="sft", on_error="skip")
    return [each for each in opened.examples if isinstance(each, Example)]


def _chat(row: dict[str, Any]) -> Example:
    return Example(tuple(Message.model_validate(each) for each in row["messages"]), "other")


def _said(role: str, text: str) -> Message:
    return Message.model_validate({"role": role, "content": text})


def _prompt(item: Item) -> str:
    return item.messages[0].content


if __name__ == "__main__":
    main()
