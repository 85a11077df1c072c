"""How many planted held-out prompts the overlap check finds in real training rows.

    .venv/bin/python benchmarks/overlap.py TRAIN.json HELDOUT.jsonl ...

Each held-out file has its prompt in `instruction`, `prompt`, `text` or `turns`. Prints the overlap
as the files are, then plants fifty prompts of eight words or more in five ways.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.recipe import Source
from harness.training.quality.normalise import words
from harness.training.quality.overlap import Overlap, OverlapReport
from harness.training.reading.example import Example
from harness.training.reading.read import open_source
from harness.types import Item, Message

N_PLANTED = 50
WAYS: dict[str, Callable[[str], tuple[str, str]]] = {
    "verbatim": lambda text: (text, "Yes."),
    "other case and spaces": lambda text: (f" {text.upper()}  ", "Yes."),
    "wrapped in a prompt": lambda text: (f"Please help me with this: {text}\nThank you!", "Yes."),
    "wrapped in an answer": lambda text: ("Give an example.", f"You might ask: {text} Or so."),
    "last word cut off": lambda text: (text.rsplit(maxsplit=1)[0], "Yes."),
}


def held_out(path: Path) -> list[tuple[str, Item]]:
    text = path.read_text()
    rows = json.loads(text) if text.startswith("[") else [json.loads(x) for x in text.splitlines()]
    prompts = (_prompt(row) for row in rows)
    return [
        (path.stem, Item(id=f"{path.stem}:{number}", messages=(_said("user", prompt),)))
        for number, prompt in enumerate(prompts)
    ]


def _prompt(row: dict[str, Any]) -> str:
    if "instances" in row:
        return f"{row['instruction']}\n\n{row['instances'][0]['input']}".strip()
    found = next(row[key] for key in ("instruction", "prompt", "text", "turns") if key in row)
    return found if isinstance(found, str) else found[0]


def _said(role: str, text: str) -> Message:
    return Message.model_validate({"role": role, "content": text})


def compare(items: list[tuple[str, Item]], examples: list[Example]) -> OverlapReport:
    overlap = Overlap(items)
    for index, example in enumerate(examples):
        overlap.add(index, example)
    return overlap.result()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("train", type=Path)
    parser.add_argument("heldout", type=Path, nargs="+")
    arguments = parser.parse_args()
    source = Source(path=arguments.train.name)
    opened = open_source(source, arguments.train.parent, objective="sft", on_error="skip")
    examples = [each for each in opened.examples if isinstance(each, Example)]
    items = [item for path in arguments.heldout for item in held_out(path)]
    print("| items | of | equal | contained | touching | CPU s |\n|---|--:|--:|--:|--:|--:|")
    for path in arguments.heldout:
        started = time.process_time()
        found = compare(held_out(path), examples)
        counts = f"{found.n_items} | {found.n_equal} | {found.n_contained} | {found.n_touching}"
        print(f"| `{path.name}` | {counts} | {time.process_time() - started:.1f} |")
    long = [each for each in items if len(words(each[1].messages[0].content)) >= 8]
    chosen = random.Random(0).sample(long, N_PLANTED)
    print("\n| planted | equal or contained | only touching |\n|---|--:|--:|")
    for way, change in WAYS.items():
        planted = [
            Example((_said("user", prompt), _said("assistant", answer)), "planted")
            for prompt, answer in (change(item.messages[0].content) for _, item in chosen)
        ]
        report = compare(chosen, examples + planted)
        n_found = report.n_equal + report.n_contained
        print(f"| {way} | {n_found}/{N_PLANTED} | {report.n_touching} |")


if __name__ == "__main__":
    main()
