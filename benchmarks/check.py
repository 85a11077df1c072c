"""How fast a check goes through training data, and how much memory that takes.

    .venv/bin/python benchmarks/check.py [--rows 20000] [FILE [--times N]]

Without FILE, rows of the pocket world; with --times, the rows of FILE so often, each time with
another number before the first message. Each measurement is a process of its own: reading alone,
reading and encoding, and everything `harness check` looks at. FILE is read as the pocket base
would be trained on it; rows that it cannot encode are skipped and counted.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.chat.template import load_chat
from harness.jsonio import write_jsonl
from harness.pocket.rows import heldout_items, instruction_rows
from harness.recipe import LoadedRecipe, Recipe
from harness.training.gather import gather
from harness.training.prepare import prepare
from harness.training.quality.diversity import Diversity
from harness.training.quality.duplicates import NearDuplicates
from harness.training.quality.lint import Lints
from harness.training.reading.example import Example
from harness.training.reading.read import open_source
from harness.types import Item

WAYS = ("read", "read and encode", "the whole check")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path, nargs="?")
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--times", type=int, default=1)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.way:
        print(json.dumps(measure(asked.file, asked.way)))
        return
    with tempfile.TemporaryDirectory() as folder:
        path = asked.file or Path(folder) / "rows.jsonl"
        if not asked.file:
            write_jsonl(path, instruction_rows(asked.rows, 1))
        elif asked.times > 1:
            path = Path(folder) / "rows.jsonl"
            write_jsonl(path, repeated(asked.file, asked.times))
        print("| what | examples | seconds | examples/s | peak MiB |\n|---|--:|--:|--:|--:|")
        for way in WAYS:
            command = [sys.executable, __file__, str(path), "--way", way]
            n, seconds, mib = json.loads(subprocess.check_output(command))
            print(f"| {way} | {n:,} | {seconds:.1f} | {n / seconds:,.0f} | {mib:,.0f} |")


def measure(path: Path, way: str) -> tuple[int, float, float]:
    """(examples, seconds, peak MiB) of one way; loading the tokenizer is not timed."""
    loaded = recipe_for(path)
    chat = load_chat(loaded)
    start = time.perf_counter()
    if way == "read":
        source = loaded.recipe.data.sources[0]
        opened = open_source(source, loaded.root, objective="sft", on_error="skip")
        n = sum(1 for _ in opened.examples)
    elif way == "read and encode":
        n = gather(loaded, chat, advance=lambda n: None).table.n_examples
    else:
        lints, near, diversity = Lints(), NearDuplicates(), Diversity()
        items = [("pocket", Item.model_validate(each | {"id": ""})) for each in heldout_items()]
        prepared = prepare(loaded, items=items, observers=(lints, near, diversity))
        lints.result(), near.find(0.7), diversity.result()
        n = prepared.counts.n_examples
    seconds = time.perf_counter() - start
    return n, seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def repeated(path: Path, times: int) -> Iterator[dict[str, Any]]:
    source = recipe_for(path).recipe.data.sources[0]
    for number in range(times):
        opened = open_source(source, Path(), objective="sft", on_error="skip")
        for example in opened.examples:
            if isinstance(example, Example):
                messages = [each.dump() for each in example.messages]
                messages[0]["content"] = f"{number} {messages[0]['content']}"
                yield {"messages": messages}


def recipe_for(path: Path) -> LoadedRecipe:
    values = {
        "name": "check",
        "base": {"model": "pocket"},
        "data": {
            "sources": [{"path": str(path.absolute())}],
            "overflow": "drop",
            "on_error": "skip",
            "overlap": "warn",
        },
        "eval": {"evalset": "pocket"},
    }
    return LoadedRecipe(Recipe.model_validate(values), Path(), path)


if __name__ == "__main__":
    main()
