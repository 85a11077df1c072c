"""Files that a check writes on request: the rows without defects, the examples held out.

Both are whole or not there. Knows nothing of how defects were found.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from harness.errors import DataError
from harness.jsonio import digest, write_bytes, write_jsonl
from harness.training.quality.kinds import kind_of
from harness.training.reading.example import Example
from harness.types import Message

JUDGE_PROMPT = Path(__file__).parent / "judge.md"


def write_rows(path: Path, examples: Iterable[Example]) -> str:
    """One JSON object an example, in a form `data.sources` reads; returns what was written."""
    n = 0

    def rows() -> Iterable[dict[str, Any]]:
        nonlocal n
        for n, example in enumerate(examples, 1):  # noqa: B007 - the count is wanted
            yield as_row(example)

    path.parent.mkdir(parents=True, exist_ok=True)
    write_jsonl(path, rows())
    return f"{n:,} rows written to {path}"


def as_row(example: Example) -> dict[str, Any]:
    """Messages as OpenAI writes them, with what preference and feedback data add."""
    row: dict[str, Any] = {}
    messages = [_message(each, i in example.untrained) for i, each in enumerate(example.messages)]
    if example.rejected is not None:
        row |= {"prompt": messages[:-1], "chosen": messages[-1:]}
        row["rejected"] = [_message(example.rejected, untrained=False)]
    elif example.desirable is not None:
        row |= {"prompt": messages[:-1], "completion": messages[-1:], "label": example.desirable}
    else:
        row["messages"] = messages
    if example.tools:
        row["tools"] = list(example.tools)
    if example.type:
        row["type"] = example.type
    return row


def _message(message: Message, untrained: bool) -> dict[str, Any]:
    row = message.dump()
    if message.tool_calls:
        row["tool_calls"] = [
            {
                "type": "function",
                "function": {"name": each.name, "arguments": each.arguments},
                **({"id": each.id} if each.id else {}),
            }
            for each in message.tool_calls
        ]
    return row | ({"train": False} if untrained else {})


def write_evalset(folder: Path, name: str, examples: Iterable[Example]) -> str:
    """The examples as an evalset of `folder`, each with its answer as the reference and its
    instruction type as the tag `type`; returns what was written.

    Raises DataError for a folder that exists, and for examples of which none can be an item.
    """
    if folder.exists():
        raise DataError(f"{folder}: exists already", hint="name a folder that does not")
    items: dict[str, dict[str, Any]] = {}
    n = 0
    for n, example in enumerate(examples, 1):  # noqa: B007 - the count is wanted
        *asked, answer = example.messages
        if not example.tools and asked[-1].role == "user" and answer.content.strip():
            item = {
                "messages": [each.dump() for each in asked],
                "reference": answer.content,
                "tags": {"type": kind_of(example)},
            }
            items.setdefault(digest(item["messages"]), item)
    if not items:
        raise DataError(
            f"{folder}: no example is held out that an item can stand for",
            hint="set data.holdout or data.holdout_types",
        )
    card = {
        "name": name,
        "purpose": "held out of the training data of the recipe of that name",
        "author": "harness check --write-heldout",
        "licence": "as the training data",
    }
    folder.parent.mkdir(parents=True, exist_ok=True)
    staged = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        write_jsonl(staged / "items.jsonl", items.values())
        write_bytes(staged / "card.yaml", yaml.safe_dump(card, sort_keys=False).encode())
        write_bytes(staged / "judge.md", JUDGE_PROMPT.read_bytes())
        staged.chmod(0o755)
        staged.rename(folder)
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    left = "" if n == len(items) else f" of {n:,} examples; the others repeat a prompt, have tools"
    return f"{len(items):,} items{left and left + ' or no answer'} written to {folder}"
