"""What reading yields: an example to train on, or the reason why a row is none.

Knows nothing of files or of tokens.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, NamedTuple

from harness.types import Message

SHOWN = 60
"""Characters of a value in an error message."""
_NAMED = 12


class Example(NamedTuple):
    """One chat to train on; the last message is an assistant's."""

    messages: tuple[Message, ...]
    source: str
    """file:line, or file:row for formats without lines; with a ranked list, the pair in it."""
    tools: tuple[dict[str, Any], ...] = ()
    """Function definitions (OpenAI's `tools`) the template is given."""
    untrained: frozenset[int] = frozenset()
    """Places in `messages` of assistant turns that the data says not to train on."""
    rejected: Message | None = None
    """Preference data: the worse answer in place of the last message."""
    desirable: bool | None = None
    """Feedback data: whether the last message is an answer to give."""
    type: str | None = None
    """Instruction type as the data tags it."""
    worklist: bool = False
    """Whether somebody was asked for it by a worklist."""


class Skipped(NamedTuple):
    """A row left out by `data.on_error: skip`."""

    source: str
    reason: str
    hint: str | None = None
    """What to do about it, where there is more to say than to correct the row."""


class BadRow(ValueError):
    """Why a row cannot be trained on; its place is known where it is caught. `hint`: what to do."""

    def __init__(self, reason: str, hint: str | None = None) -> None:
        super().__init__(reason)
        self.hint = hint


class NoColumn(BadRow):
    """A row lacks a column that its shape needs."""


def show(value: Any) -> str:
    """A value in an error message: JSON, cut to a few words."""
    try:
        text = json.dumps(value, ensure_ascii=True, default=str)
    except RecursionError:
        text = "a value nested too deep to show"
    return text if len(text) <= SHOWN else text[:SHOWN] + "…"


def columns_of(row: Iterable[str]) -> str:
    """The names of a row's columns in an error message, each of a readable length."""
    names = [" ".join(str(name).split())[:SHOWN] for name in row]
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return (", ".join(names[:_NAMED]) or "none") + more
