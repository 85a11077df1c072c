"""The wire form of a chat, and what vLLM makes of it (held to vLLM itself in test_live)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from harness.chat.wire import request_messages, request_tools, template_messages
from harness.errors import DataError
from harness.types import Message, ToolCall

CALL = ToolCall(name="add", arguments={"b": 1.5, "a": "café"})
CHAT = (
    Message(role="user", content="Add.", name="bob"),
    Message(role="assistant", content="", reasoning="Hm.", tool_calls=(CALL, CALL)),
    Message(role="tool", content="1"),
    Message(role="tool", content="2", name="add"),
    Message(role="assistant", content="Once more.", tool_calls=(CALL,)),
    Message(role="tool", content="3", tool_call_id="other"),
)


def test_a_request_has_what_openai_s_has() -> None:
    user, called, first, second, again, third = request_messages(CHAT)
    assert user == {"role": "user", "content": "Add.", "name": "bob"}
    assert (called["content"], called["reasoning"]) == (None, "Hm.")
    function = {"name": "add", "arguments": '{"b": 1.5, "a": "café"}'}
    ids = ["call00001", "call00002", "call00003"]
    calls = [*called["tool_calls"], *again["tool_calls"]]
    assert calls == [{"id": each, "type": "function", "function": function} for each in ids]
    assert [first["tool_call_id"], second["tool_call_id"]] == ids[:2]
    assert third["tool_call_id"] == "other"
    assert again["content"] == "Once more."
    json.dumps(request_messages(CHAT))


@pytest.mark.parametrize("parts", [False, True])
def test_a_template_gets_objects_and_both_names_of_thoughts(parts: bool) -> None:
    user, called, first, *_ = template_messages(CHAT, parts=parts)
    assert user["content"] == ([{"type": "text", "text": "Add."}] if parts else "Add.")
    assert called["content"] == ([] if parts else "")
    assert called["reasoning"] == called["reasoning_content"] == "Hm."
    assert list(called) == ["role", "content", "tool_calls", "reasoning", "reasoning_content"]
    assert list(called["tool_calls"][0]) == ["id", "function", "type"]
    assert called["tool_calls"][0]["function"] == {
        "arguments": {"b": 1.5, "a": "café"}, "name": "add",
    }  # fmt: skip
    assert first == {"role": "tool", "content": "1", "tool_call_id": "call00001"}


def test_tools_are_as_vllm_hands_them_on() -> None:
    given: list[dict[str, Any]] = [
        {"name": "bare", "more": 1},
        {"type": "function", "function": {"strict": True, "parameters": {"b": 1}, "name": "full"}},
    ]
    bare = {"name": "bare", "description": None, "parameters": None}
    full = {"name": "full", "description": None, "parameters": {"b": 1}, "strict": True}
    found = request_tools(given)
    assert [each["function"] for each in found] == [bare, full]
    assert list(found[1]["function"]) == list(full)
    assert request_tools(found) == found


@pytest.mark.parametrize(
    "tool", [{}, {"function": 3}, {"function": {"name": 3}}, {"name": "f", "description": 3}]
)
def test_tools_that_vllm_refuses(tool: dict[str, Any]) -> None:
    with pytest.raises(DataError, match=r"^tools\[1\]"):
        request_tools([{"name": "fine"}, tool])
