"""Rows that are chats: messages, Alpaca, ShareGPT, and prompt with completion.

Knows nothing of files, nor of what is better or worse.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

from harness.recipe.training import Shape
from harness.training.reading.example import BadRow, NoColumn, columns_of, show
from harness.training.reading.messages import (
    REASONING,
    conversation,
    listed,
    optional,
    tools,
    turns,
)
from harness.types import Message

PLACEHOLDERS = frozenset(
    "noinput noinputs noput none n/a null nil noinputneeded noinputrequired noinputprovided "
    "noinputgiven noinputnecessary noinputavailable notapplicable empty".split()
)
"""Alpaca's ways to say that a task has no input, without case, spaces and punctuation.

From the 63 rows of the first 5,000 of stanford_alpaca that say so, in 21 spellings."""
_LONGEST_PLACEHOLDER = 24
_TRIMMINGS = re.compile(r"[^\w/]|_")


class Chat(NamedTuple):
    """A chat of a row; `messages` may end with any role."""

    messages: tuple[Message, ...]
    untrained: frozenset[int] = frozenset()


def from_messages(row: dict[str, Any]) -> Chat:
    """OpenAI's `messages`, with `tools` beside it."""
    messages, untrained = conversation(_required(row, "messages"), "messages")
    return _under_system(row, Chat(messages, untrained))


def from_sharegpt(row: dict[str, Any]) -> Chat:
    """`conversations` of from and value; the speakers must take turns."""
    messages, untrained = conversation(_required(row, "conversations"), "conversations")
    require_turns(messages, "conversations")
    return _under_system(row, Chat(messages, untrained))


def from_alpaca(row: dict[str, Any]) -> Chat:
    """instruction, input, output, and optionally history and system (LLaMA-Factory's).

    The input follows the instruction after a blank line; one that only says that there is none
    is left out. All answers of the history are trained on, as LLaMA-Factory does.
    """
    return _under_system(row, Chat((*_alpaca_prompt(row), answer(row, "output"))))


def from_prompt(row: dict[str, Any]) -> Chat:
    """prompt and completion, each a text or messages; only the completion is trained on."""
    before = _prompt(_required(row, "prompt"))
    completion = turns(_required(row, "completion"))
    if completion is not None:
        after, untrained = conversation(completion, "completion")
    else:
        after, untrained = (answer(row, "completion"),), frozenset[int]()
    if after[0].role not in ("assistant", "tool"):
        raise BadRow(f"completion[0].role = {show(after[0].role)}; accepted: assistant")
    n_before = len(before)
    kept = {n_before + place for place in untrained}
    kept |= {place for place, each in enumerate(before) if each.role == "assistant"}
    return _under_system(row, Chat((*before, *after), frozenset(kept)))


CHATS: dict[Shape, Callable[[dict[str, Any]], Chat]] = {
    "messages": from_messages,
    "sharegpt": from_sharegpt,
    "alpaca": from_alpaca,
    "prompt": from_prompt,
}


def context(row: dict[str, Any]) -> tuple[Message, ...]:
    """What comes before the answers of a row that has several; empty when the row does not say.
    Raises BadRow."""
    messages: tuple[Message, ...] = ()
    for key in ("messages", "conversations"):
        if row.get(key):
            messages = conversation(row[key], key).messages
    if not messages and row.get("prompt"):
        messages = _prompt(row["prompt"])
    elif not messages and row.get("instruction") is not None:
        messages = _alpaca_prompt(row)
    return _under_system(row, Chat(messages)).messages


def trainable(chat: Chat) -> Chat:
    """The chat up to its last assistant turn: no answer follows what comes after.
    Raises BadRow when no turn is left to train on."""
    messages, untrained = chat
    n_messages = len(messages)
    while n_messages and messages[n_messages - 1].role != "assistant":
        n_messages -= 1
    if not n_messages:
        raise BadRow(
            "messages has no assistant turn, so nothing to train on",
            "every example needs at least one assistant message",
        )
    if untrained and not any(
        each.role == "assistant" and place not in untrained
        for place, each in enumerate(messages[:n_messages])
    ):
        raise BadRow("every assistant turn is marked as not to train on")
    return chat if n_messages == len(messages) else Chat(messages[:n_messages], untrained)


def row_tools(row: dict[str, Any]) -> tuple[dict[str, Any], ...]:
    return tools(row["tools"]) if "tools" in row else ()


def answer(row: dict[str, Any], key: str) -> Message:
    """The assistant's turn in a text column, with the row's thoughts. Raises BadRow."""
    thoughts = next((row[name] for name in REASONING if row.get(name)), None)
    if thoughts is not None and not isinstance(thoughts, str):
        raise BadRow(f"reasoning = {show(thoughts)}; accepted: text")
    return Message(role="assistant", content=text(row, key), reasoning=thoughts)


def text(row: dict[str, Any], key: str) -> str:
    """A text column. Raises BadRow."""
    value = row.get(key)
    if isinstance(value, str):
        return value
    if key not in row:
        _required(row, key)
    raise BadRow(f"{key} = {show(value)}; accepted: text")


def is_placeholder(value: str) -> bool:
    """Whether an Alpaca input only says that there is none."""
    return len(value) <= _LONGEST_PLACEHOLDER and _TRIMMINGS.sub("", value).lower() in PLACEHOLDERS


def require_turns(messages: tuple[Message, ...], name: str) -> None:
    """Raises BadRow unless, after an optional system turn, user and assistant alternate, tools
    answering between."""
    last = "system"
    for place, each in enumerate(messages):
        allowed = _NEXT[last] if place else ("system", "user")
        if each.role not in allowed:
            before = f"after the {last}'s turn" if place else "at the start"
            raise BadRow(
                f"{name}[{place}]: the {each.role}'s turn {before}; "
                f"accepted there: {' or '.join(allowed)}"
            )
        last = each.role


_NEXT = {
    "system": ("user",),
    "user": ("assistant",),
    "assistant": ("user", "tool"),
    "tool": ("assistant", "tool"),
}


def _required(row: dict[str, Any], key: str) -> Any:
    if key not in row:
        raise NoColumn(f"no column {key!r}; seen: {columns_of(row)}")
    return row[key]


def _prompt(value: Any) -> tuple[Message, ...]:
    messages = turns(value)
    if messages is not None:
        return conversation(messages, "prompt").messages
    return (Message(role="user", content=text({"prompt": value}, "prompt")),)


def _alpaca_prompt(row: dict[str, Any]) -> tuple[Message, ...]:
    prompt = text(row, "instruction")
    given = row.get("input")
    if given is not None:
        given = text(row, "input")
        if given and not is_placeholder(given):
            prompt = f"{prompt}\n\n{given}" if prompt else given
    asked = Message(role="user", content=prompt)
    history = row.get("history")
    return (*_history(history), asked) if history else (asked,)


def _history(value: Any) -> list[Message]:
    """Earlier turns as LLaMA-Factory has them: a list of [question, answer]."""
    messages: list[Message] = []
    pairs = listed(value)
    if not isinstance(pairs, list):
        raise BadRow(f"history = {show(value)}; accepted: a list of [question, answer]")
    for index, each in enumerate(pairs):
        match each:
            case [str(question), str(reply)]:
                messages.append(Message(role="user", content=question))
                messages.append(Message(role="assistant", content=reply))
            case _:
                raise BadRow(
                    f"history[{index}] = {show(each)}; accepted: a question and its answer"
                )
    return messages


def _under_system(row: dict[str, Any], chat: Chat) -> Chat:
    """The chat under the row's `system` column, where it has one."""
    system = row.get("system")
    if not system:
        return chat
    if chat.messages and chat.messages[0].role == "system":
        raise BadRow(f"system = {show(system)}: the messages begin with a system turn as well")
    first = Message(role="system", content=optional(row, "system") or "")
    return Chat((first, *chat.messages), frozenset(place + 1 for place in chat.untrained))
