"""What reading yields: an example to train on, or the reason why a row is none.

Knows nothing of files or of tokens.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from harness.types import Message


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


class Skipped(NamedTuple):
    """A row left out by `data.on_error: skip`."""

    source: str
    reason: str
