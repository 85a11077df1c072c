"""One chat message, and a list of them, from the two spellings in use: OpenAI's role and content,
ShareGPT's from and value.

Knows nothing of rows and their other columns.
"""

from __future__ import annotations

import json
from typing import Any, Literal, NamedTuple, cast, get_args

from harness.jsonio import NotJson, parse_json
from harness.training.reading.example import BadRow, show
from harness.types import Message, ToolCall

Role = Literal["system", "user", "assistant", "tool"]
ROLES = get_args(Role)
SPEAKERS: dict[str, Role] = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "chatgpt": "assistant",
    "system": "system",
    "tool": "tool",
    "observation": "tool",
    "function_call": "assistant",
}
"""ShareGPT's `from` → role."""
REASONING = ("reasoning", "reasoning_content", "thinking")
_TEXT_PARTS = ("text", "input_text", "output_text")
_NOT_READ = ("function_call", "refusal", "audio", "image", "images", "videos", "audios")
"""Keys of a message that carry content which no chat template here is given."""


class Conversation(NamedTuple):
    messages: tuple[Message, ...]
    untrained: frozenset[int] = frozenset()
    """Places of the assistant turns marked `train: false` or `weight: 0`."""


def conversation(value: Any, name: str) -> Conversation:
    """The messages of a column; `name` is the column's. A text holding a JSON list is read too.
    Raises BadRow naming the message and the key."""
    turns = listed(value)
    if not isinstance(turns, list) or not turns:
        raise BadRow(f"{name} = {show(value)}; accepted: a list of messages")
    messages = tuple(message(each, f"{name}[{i}]") for i, each in enumerate(turns))
    untrained = [
        place
        for place, each in enumerate(turns)
        if ("train" in each or "weight" in each)
        and not _trained(each, messages[place].role, f"{name}[{place}]")
    ]
    return Conversation(messages, frozenset(untrained))


def listed(value: Any) -> Any:
    """A list as it is; the list a JSON text holds; anything else as it is."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            return parse_json(value)
        except NotJson:
            return value
    return value


def turns(value: Any) -> list[Any] | None:
    """The messages of a column that may hold a text instead: a list, or the JSON text of one. None
    for a text, which a JSON list of anything but messages is as well."""
    found = listed(value)
    if isinstance(value, str) and not (
        found and isinstance(found, list) and all(map(_told, found))
    ):
        return None
    return found if isinstance(found, list) else None


def _told(value: Any) -> bool:
    """Whether a value of a JSON text is meant as a message, right or wrong."""
    keys = value.keys() if isinstance(value, dict) else set[str]()
    return bool(keys & {"role", "from"}) and bool(keys & {"content", "value", "tool_calls"})


def message(value: Any, place: str) -> Message:
    """One message; `place` is its key path. Raises BadRow."""
    if not isinstance(value, dict):
        raise BadRow(f"{place} = {show(value)}; accepted: an object with role and content")
    if "from" in value and "role" not in value:
        return _spoken(value, place)
    role = _role(value.get("role"), place)
    if len(value) == 2 and isinstance(value.get("content"), str):
        return Message(role=role, content=value["content"])
    _require_readable(value, place)
    calls = _calls(value.get("tool_calls") or [], role, f"{place}.tool_calls")
    return Message(
        role=role,
        content=_content(value.get("content"), f"{place}.content", nullable=bool(calls)),
        name=optional(value, "name", place),
        reasoning=_reasoning(value, role, place),
        tool_calls=calls,
        tool_call_id=optional(value, "tool_call_id", place),
    )


def _role(value: Any, place: str) -> Role:
    if value not in ROLES:
        raise BadRow(f"{place}.role = {show(value)}; accepted: {', '.join(ROLES)}")
    return cast(Role, value)


def _spoken(value: dict[str, Any], place: str) -> Message:
    speaker = value["from"]
    role = SPEAKERS.get(speaker) if isinstance(speaker, str) else None
    if role is None:
        raise BadRow(f"{place}.from = {show(speaker)}; accepted: {', '.join(SPEAKERS)}")
    if speaker == "function_call":
        calls = _parsed(value.get("value"), f"{place}.value")
        calls = calls if isinstance(calls, list) else [calls]
        return Message(
            role="assistant", content="", tool_calls=_calls(calls, role, f"{place}.value")
        )
    return Message(
        role=role,
        content=_content(value.get("value"), f"{place}.value"),
        reasoning=_reasoning(value, role, place),
    )


def _require_readable(value: dict[str, Any], place: str) -> None:
    for key in _NOT_READ:
        if value.get(key):
            raise BadRow(
                f"{place}.{key} = {show(value[key])}: cannot be trained on",
                "remove the key, or the example",
            )


def _content(value: Any, place: str, *, nullable: bool = False) -> str:
    """Text as it is; text parts joined by newlines, as vLLM joins them (renderers/chat_utils.py)
    for templates that take strings."""
    if isinstance(value, str):
        return value
    if value is None and nullable:
        return ""
    if not isinstance(value, list):
        raise BadRow(f"{place} = {show(value)}; accepted: text")
    return "\n".join(_part(each, f"{place}[{index}]") for index, each in enumerate(value))


def _part(value: Any, place: str) -> str:
    if isinstance(value, str):
        return value
    kind = value.get("type") if isinstance(value, dict) else value
    if kind not in _TEXT_PARTS or not isinstance(value.get("text"), str):
        raise BadRow(f"{place}: a part of type {show(kind)}; accepted: text with its text")
    return str(value["text"])


def _reasoning(value: dict[str, Any], role: str, place: str) -> str | None:
    for key in REASONING:
        if value.get(key):
            if role != "assistant":
                raise BadRow(f"{place}.{key}: only an assistant's message has thoughts")
            return optional(value, key, place)
    return None


def optional(value: dict[str, Any], key: str, place: str = "") -> str | None:
    """A text that may be absent; an empty one counts as absent. Raises BadRow."""
    found = value.get(key)
    if found is None or found == "":
        return None
    if not isinstance(found, str):
        raise BadRow(f"{place}{'.' if place else ''}{key} = {show(found)}; accepted: text")
    return found


def _trained(value: dict[str, Any], role: str, place: str) -> bool:
    """Whether a message marked `train` or `weight` is one to train on."""
    marks = [
        _mark(value[key], accepted, f"{place}.{key}")
        for key, accepted in (("train", "true, false"), ("weight", "0, 1"))
        if value.get(key) is not None
    ]
    if role == "assistant":
        return all(marks)
    if any(marks):
        raise BadRow(f"{place}: marked to be trained on; accepted: on assistant turns only")
    return True


def _mark(value: Any, accepted: str, place: str) -> bool:
    if value not in (0, 1):  # False and True are equal to them
        raise BadRow(f"{place} = {show(value)}; accepted: {accepted}")
    return bool(value)


def _calls(value: Any, role: str, place: str) -> tuple[ToolCall, ...]:
    value = listed(value)
    if not isinstance(value, list):
        raise BadRow(f"{place} = {show(value)}; accepted: a list of calls")
    if value and role != "assistant":
        raise BadRow(f"{place} = {show(value)}; accepted: on assistant turns only")
    return tuple(_call(each, f"{place}[{index}]") for index, each in enumerate(value))


def _call(value: Any, place: str) -> ToolCall:
    function = value.get("function", value) if isinstance(value, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise BadRow(f"{place} = {show(value)}; accepted: an object with name and arguments")
    arguments = function.get("arguments")
    if arguments is None or arguments == "":
        arguments = {}
    if isinstance(arguments, str):
        arguments = _parsed(arguments, f"{place}: arguments")
    if not isinstance(arguments, dict):
        raise BadRow(f"{place}: arguments = {show(arguments)}; accepted: a JSON object")
    require_finite(arguments, f"{place}: arguments")
    return ToolCall(name=function["name"], arguments=arguments, id=optional(value, "id", place))


def _parsed(value: Any, place: str) -> Any:
    """The value of a JSON text; anything else as it is."""
    if not isinstance(value, str):
        return value
    try:
        return parse_json(value)
    except NotJson as error:
        raise BadRow(f"{place} = {show(value)}: not JSON: {error}") from None


def require_finite(value: Any, place: str) -> None:
    """Raises BadRow for NaN and infinities: no JSON has them, so no request could."""
    try:
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    except (ValueError, TypeError, RecursionError) as error:
        raise BadRow(f"{place} = {show(value)}: not JSON: {error}") from None


def tools(value: Any) -> tuple[dict[str, Any], ...]:
    """The function definitions of a `tools` column, a list or its JSON text, in OpenAI's form.
    Raises BadRow."""
    if value is None or value == "":
        return ()
    found = _parsed(value, "tools")
    if not isinstance(found, list):
        raise BadRow(f"tools = {show(value)}; accepted: a list of function definitions")
    return tuple(_tool(each, f"tools[{index}]") for index, each in enumerate(found))


def _tool(value: Any, place: str) -> dict[str, Any]:
    tool = value
    if isinstance(value, dict) and "function" not in value:
        tool = {"type": "function", "function": value}
    function = tool.get("function") if isinstance(tool, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise BadRow(f"{place} = {show(value)}; accepted: an object with function and its name")
    require_finite(tool, place)
    return {"type": "function"} | dict(tool)
