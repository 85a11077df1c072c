"""The chat contract: what must be equal for a model to be served the tokens it was trained on.

Four fixed chats are turned into token ids; equal ids on both sides decide, the digests of the
parts explain a difference. Works on anything that renders chats, and imports no tokenizer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from harness.chat.wire import request_messages, request_tools
from harness.errors import DataError
from harness.jsonio import digest
from harness.types import ChatContract, Message, ProbeRow

_ANSWERED = (
    Message(role="user", content="List two colours."),
    Message(role="assistant", content="- red\n- blue"),
)
PROBE_CHATS: tuple[tuple[Message, ...], ...] = (
    (Message(role="user", content="How many days are in 2 weeks?"),),
    (
        Message(role="system", content="Answer in one word."),
        Message(role="user", content="Which colour is the sky?"),
    ),
    (*_ANSWERED, Message(role="user", content="  And a third?\n")),
    (Message(role="user", content="\n\ndef f(x):\n\treturn x ** 2  # naïve café 数学 🙂"),),
)
"""Plain, with a system message, with history and outer spaces, with code and other scripts."""


class Rendering(Protocol):
    """What a contract is taken from; `chat.template.ChatTokenizer` is one."""

    template: str
    kwargs: dict[str, Any]
    stop_ids: tuple[int, ...]

    def prompt_ids(self, messages: Sequence[Message]) -> tuple[int, ...]:
        """Raises DataError for a chat that the template refuses."""

    def backend(self) -> dict[str, Any]:
        """The tokenizer's definition, as in tokenizer.json."""

    def special(self) -> dict[str, tuple[str, int]]:
        """Name of each special token → text and id."""


def fingerprint(chat: Rendering) -> ChatContract:
    """The contract of a rendering. A refused probe chat counts as the refusal's text."""
    backend = chat.backend()
    tokenizer = {key: backend[key] for key in backend.keys() - {"truncation", "padding"}}
    return ChatContract(
        template=digest(chat.template.encode()),
        kwargs=chat.kwargs,
        tokenizer=digest(tokenizer),
        special=digest(chat.special()),
        stop_ids=chat.stop_ids,
        probes=digest([_probe(chat, messages) for messages in PROBE_CHATS]),
    )


def drift(expected: ChatContract, seen: ChatContract) -> list[str]:
    """One sentence for each part that differs; empty when the contracts are equal."""
    named = {
        "probes": "token ids of the probe chats",
        "template": "chat template",
        "kwargs": "template variables",
        "tokenizer": "tokenizer",
        "special": "special tokens",
        "stop_ids": "stop tokens",
    }
    return [
        f"{label}: expected {_short(getattr(expected, name))}, seen {_short(getattr(seen, name))}"
        for name, label in named.items()
        if getattr(expected, name) != getattr(seen, name)
    ]


def probe_request(row: ProbeRow) -> dict[str, Any]:
    """The messages and tools of a request that a server must turn into the row's prompt ids.
    Raises DataError for tools that no server takes."""
    tools = {"tools": request_tools(row.tools)} if row.tools else {}
    return {"messages": request_messages(row.messages), **tools}


def _probe(chat: Rendering, messages: Sequence[Message]) -> tuple[int, ...] | str:
    try:
        return chat.prompt_ids(messages)
    except DataError as error:
        return str(error)


def _short(value: Any) -> str:
    return value[:12] if isinstance(value, str) else str(value)
