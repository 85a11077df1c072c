"""What is wrong with a chat template before a row is encoded: what it drops, hides or makes up.

Found by rendering small chats and comparing; only which variables a template reads is taken from
its source. Knows nothing of files or rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple

from harness.chat.contract import PROBE_CHATS
from harness.chat.jinja import variables
from harness.chat.template import ChatTokenizer
from harness.errors import DataError, nearest
from harness.types import Message

THINKING_SWITCHES = ("enable_thinking", "thinking", "think", "thinking_mode", "reasoning_effort")
"""Names under which templates let thoughts be switched on and off."""
_WORDS = "Zq7brief"
_TOOL = {
    "type": "function",
    "function": {
        "name": "add",
        "description": "Add two numbers.",
        "parameters": {"type": "object", "properties": {"a": {"type": "number"}}},
    },
}
_SYSTEM = Message(role="system", content=f"Be {_WORDS}.")
_ASKED = Message(role="user", content="2 + 2?")
_ANSWER = Message(role="assistant", content="4")
_CLOCKS = (datetime(2001, 2, 3, 4, 5, 6), datetime(2034, 11, 12, 13, 14, 15))


class Finding(NamedTuple):
    """One thing wrong. An error must be mended before training; a warning is shown."""

    level: Literal["error", "warning"]
    what: str
    hint: str


def lint(chat: ChatTokenizer, *, has_system: bool, has_reasoning: bool) -> list[Finding]:
    """All findings, errors first. `has_system`, `has_reasoning`: whether any message of the data
    is a system's, or has thoughts. Raises nothing."""
    if (plain := _refusal(chat, (_ASKED,))) is not None:
        said = f"the template cannot render one user message: {plain}"
        return [Finding("error", said, "use another chat.template")]
    found = [
        *_unread_kwargs(chat),
        *_clock(chat),
        *_system(chat, has_system),
        *_no_stop(chat),
        *_thinking(chat, has_reasoning),
        *_first_assistant(chat),
        *_stripping(chat),
    ]
    return sorted(found, key=lambda each: each.level)


def _unread_kwargs(chat: ChatTokenizer) -> Iterator[Finding]:
    read = variables(chat.template)
    for name in sorted(chat.kwargs.keys() - read):
        offered = nearest(name, {each for each in read if not each.endswith("_token")})
        yield Finding(
            "error",
            f"chat.kwargs.{name}: the template never reads it",
            f"correct the name or remove it; {offered}",
        )


def _clock(chat: ChatTokenizer) -> Iterator[Finding]:
    """vLLM's only clock in a template is transformers' strftime_now."""
    shown = [[_render(_at(chat, clock), *each) for each in _clock_chats()] for clock in _CLOCKS]
    if shown[0] == shown[1]:
        return
    dates = sorted(each for each in variables(chat.template) if "date" in each)
    yield Finding(
        "error",
        "the template writes the clock's time, so a prompt served tomorrow is not the trained one",
        f'pin it: chat.kwargs: {{{dates[0]}: "26 Jul 2024"}}'
        if dates
        else "save the template to a file, put a fixed date in it, and name it in chat.template",
    )


def _clock_chats() -> list[tuple[Sequence[Message], list[dict[str, Any]]]]:
    return [*((each, []) for each in PROBE_CHATS), ((_SYSTEM, _ASKED), [_TOOL])]


def _at(chat: ChatTokenizer, clock: datetime) -> ChatTokenizer:
    write: Callable[[str], str] = clock.strftime
    return chat.with_kwargs(strftime_now=write)


def _system(chat: ChatTokenizer, has_system: bool) -> Iterator[Finding]:
    level: Literal["error", "warning"] = "error" if has_system else "warning"
    if (said := _refusal(chat, (_SYSTEM, _ASKED))) is not None:
        yield Finding(
            level,
            f"the template refuses system messages: {said}",
            "put their text in front of the first user message, or use another chat.template",
        )
    elif _WORDS not in _render(chat, (_SYSTEM, _ASKED)):
        yield Finding(
            level,
            "the template drops the text of system messages",
            "put their text in front of the first user message, or use another chat.template",
        )


def _no_stop(chat: ChatTokenizer) -> Iterator[Finding]:
    served = _render(chat, (_ASKED,))
    whole = _render(chat, (_ASKED, _ANSWER), add_generation_prompt=False)
    answer = whole.removeprefix(served) if whole.startswith(served) else whole
    _, _, end = answer.rpartition(_ANSWER.content)
    if not set(chat.encode(end)) & set(chat.stop_ids):
        stops = [chat.decode([each]) for each in chat.stop_ids]
        yield Finding(
            "error",
            f"the template ends an answer with {end!r}, which holds no stop token {stops}",
            "add the token that it ends answers with to chat.stop, or use another chat.template",
        )


def _thinking(chat: ChatTokenizer, has_reasoning: bool) -> Iterator[Finding]:
    switches = [each for each in THINKING_SWITCHES if each in variables(chat.template)]
    if not switches or any(each in chat.kwargs for each in switches):
        return
    if has_reasoning:
        yield Finding(
            "error",
            f"the data has thoughts and the template reads {switches[0]}, which is not pinned, so "
            "a request could switch off what was trained",
            f"pin it: chat.kwargs: {{{switches[0]}: true}}",
        )
    elif "<think>" in _render(chat, (_ASKED,)).rpartition(_ASKED.content)[2]:
        yield Finding(
            "warning",
            "the data has no thoughts, but the prompt opens them: the model would learn to close "
            "them at once",
            f"pin the switch: chat.kwargs: {{{switches[0]}: false}}",
        )


def _first_assistant(chat: ChatTokenizer) -> Iterator[Finding]:
    if (said := _refusal(chat, (_ANSWER, _ASKED))) is not None:
        yield Finding(
            "warning",
            f"the template refuses chats that the assistant begins: {said}",
            "give such chats a first user message",
        )


def _stripping(chat: ChatTokenizer) -> Iterator[Finding]:
    given = " \n a question \n "
    if given not in _render(chat, (Message(role="user", content=given),)):
        yield Finding(
            "warning",
            "the template strips spaces and line ends around what it is given, as a server with "
            "it will",
            "nothing to do, unless they carry meaning (code, poems): then use another template",
        )


def _refusal(chat: ChatTokenizer, messages: Sequence[Message]) -> str | None:
    try:
        chat.render(messages, add_generation_prompt=True)
    except DataError as error:
        return str(error).partition(": ")[2]
    return None


def _render(
    chat: ChatTokenizer,
    messages: Sequence[Message],
    tools: Sequence[dict[str, Any]] = (),
    *,
    add_generation_prompt: bool = True,
) -> str:
    """The chat as text, or the refusal's words."""
    try:
        return chat.render(messages, add_generation_prompt=add_generation_prompt, tools=tools)
    except DataError as error:
        return str(error)
