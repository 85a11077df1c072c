"""What tests of the readers share: a file written, and read as a source of a recipe."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from harness.recipe import Source
from harness.recipe.training import Objective
from harness.training.reading.example import Example, Skipped
from harness.training.reading.read import OnError, Opened, open_source

SHARED = Path(__file__).parents[4] / "shared" / "data"
CHAT = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}
ALPACA = {"instruction": "Add", "input": "1 2", "output": "3", "source": "book"}
PAIR = {"prompt": "Hi", "completion": "Hello"}


def jsonl(*rows: Any) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def write(folder: Path, text: str | bytes, name: str = "rows.jsonl") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def opened(
    path: Path, objective: Objective = "sft", on_error: OnError = "stop", **source: Any
) -> Opened:
    """The file as a source of a recipe in its folder."""
    given = Source(path=path.name, **source)
    return open_source(given, path.parent, objective=objective, on_error=on_error)


def read(path: Path, objective: Objective = "sft", **source: Any) -> list[Example]:
    """Every example; a row that cannot be used is an error."""
    examples = list(opened(path, objective, **source).examples)
    assert all(isinstance(each, Example) for each in examples)
    return [each for each in examples if isinstance(each, Example)]


def read_rows(folder: Path, *rows: Any, objective: Objective = "sft", **kwargs: Any) -> list[Any]:
    """Rows written as JSONL and read, the skipped among them."""
    path = write(folder, jsonl(*rows))
    return list(opened(path, objective, "skip", **kwargs).examples)


def texts(example: Example) -> list[tuple[str, str]]:
    return [(each.role, each.content) for each in example.messages]


def skipped(found: list[Any]) -> list[Skipped]:
    return [each for each in found if isinstance(each, Skipped)]
