"""Chats as they go over the wire, and what vLLM makes of them before a template sees them.

A request carries OpenAI's form: arguments as JSON text, thoughts as `reasoning`. vLLM's parser
(vllm/renderers/chat_utils.py and the protocol of chat_completion, 0.32) gives templates arguments
as objects, thoughts under two names, contents as text or as parts. Knows no template or tokenizer.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from harness.errors import DataError
from harness.types import Message, ToolCall

_FUNCTION = {
    "description": (str, "text"),
    "parameters": (dict, "a JSON schema"),
    "strict": (bool, "true or false"),
}
"""What vLLM keeps of a function definition beside its name, in its order."""


def request_messages(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """The `messages` of a chat completion request.

    A request needs an id for each call: one that is missing is numbered, and the tool message
    without one answers the first call still open.
    """
    pending: deque[str] = deque()
    wire, n_calls = [], 0
    for each in messages:
        fields: dict[str, Any] = {"role": each.role, "content": each.content}
        if each.tool_calls:
            calls = [_call(call, i) for i, call in enumerate(each.tool_calls, n_calls + 1)]
            n_calls += len(calls)
            pending = deque(call["id"] for call in calls)
            fields |= {"content": each.content or None, "tool_calls": calls}
        if each.role == "tool":
            answered = each.tool_call_id or next(iter(pending), None)
            if answered is not None:
                fields["tool_call_id"] = answered
                pending = deque(call for call in pending if call != answered)
        if each.reasoning is not None:
            fields["reasoning"] = each.reasoning
        if each.name is not None:
            fields["name"] = each.name
        wire.append(fields)
    return wire


def request_tools(tools: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The `tools` of a request, exactly as vLLM hands them on: what it does not know is left out,
    a missing description or schema is null. Takes bare function definitions as well.

    Raises DataError for what vLLM would answer with status 400.
    """
    found = []
    for place, tool in enumerate(tools):
        function = tool.get("function", tool)
        if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
            raise DataError(
                f"tools[{place}] = {tool!r:.120}: no function with a name",
                hint='accepted: {"type": "function", "function": {"name": …, "parameters": {…}}}',
            )
        kept: dict[str, Any] = {"name": function["name"]}
        for key, (kind, words) in _FUNCTION.items():
            value = function.get(key)
            if value is not None and not isinstance(value, kind):
                raise DataError(
                    f"tools[{place}].function.{key} = {value!r:.120}; accepted: {words}, or null"
                )
            if value is not None or key != "strict":
                kept[key] = value
        found.append({"type": "function", "function": kept})
    return found


def template_messages(messages: Sequence[Message], *, parts: bool) -> list[dict[str, Any]]:
    """The messages as vLLM gives them to a template, keys in its order. `parts`: contents as a
    list of text parts (vLLM's content format "openai"), not as text."""
    return [_seen(each, parts) for each in request_messages(messages)]


def _call(call: ToolCall, number: int) -> dict[str, Any]:
    # Nine letters and digits, which is all that Mistral's templates take.
    arguments = json.dumps(call.arguments, ensure_ascii=False)
    return {
        "id": call.id or f"call{number:05}",
        "type": "function",
        "function": {"name": call.name, "arguments": arguments},
    }


def _seen(wire: dict[str, Any], parts: bool) -> dict[str, Any]:
    content = wire["content"]
    if parts and wire["role"] != "tool":
        content = [] if content is None else [{"type": "text", "text": content}]
    seen = {"role": wire["role"], "content": "" if content is None else content}
    if len(wire) == 2:
        return seen
    if "tool_calls" in wire:
        seen["tool_calls"] = [_seen_call(call) for call in wire["tool_calls"]]
    if wire["role"] == "assistant" and "reasoning" in wire:
        seen["reasoning"] = seen["reasoning_content"] = wire["reasoning"]
    for key in ("tool_call_id", "name"):
        if key in wire:
            seen[key] = wire[key]
    return seen


def _seen_call(call: dict[str, Any]) -> dict[str, Any]:
    function = call["function"]
    arguments = json.loads(function["arguments"])
    return {
        "id": call["id"],
        "function": {"arguments": arguments, "name": function["name"]},
        "type": call["type"],
    }
