"""Chats in all their spellings become the same messages; what cannot be trained on is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.training.reading.chats import is_placeholder
from harness.training.reading.example import Example
from harness.types import Message, ToolCall
from tests.training.reading.sources import read_rows, skipped, texts

USER = {"role": "user", "content": "Hi"}
BOT = {"role": "assistant", "content": "Hello"}
CALL = {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}


def one(folder: Path, row: Any, **source: Any) -> Example:
    [example] = read_rows(folder, row, **source)
    assert isinstance(example, Example), example
    return example


def refusal(folder: Path, row: Any, **source: Any) -> str:
    """Why a row is skipped, in a file with another row that tells the shape."""
    good: dict[str, Any] = {"messages": [USER, BOT]}
    if "conversations" in row:
        good = {"conversations": [say("human", "a"), say("gpt", "b")]}
    elif "prompt" in row:
        good = {"prompt": "a", "completion": "b"}
    [_, bad] = read_rows(folder, good, row, **source)
    assert skipped([bad]), bad
    return str(bad.reason)


def say(speaker: str, value: Any) -> dict[str, Any]:
    return {"from": speaker, "value": value}


def chat(*turns: Any) -> dict[str, Any]:
    return {"messages": list(turns)}


@pytest.mark.parametrize(
    "content",
    [
        "a\nb",
        ["a", "b"],
        [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}],
        [{"type": "input_text", "text": "a"}, "b"],
    ],
)
def test_parts_are_joined_as_vllm_joins_them(tmp_path: Path, content: Any) -> None:
    row = chat({"role": "user", "content": content}, BOT)
    assert one(tmp_path, row).messages[0].content == "a\nb"


def test_tool_calls_and_their_results(tmp_path: Path) -> None:
    asked = {"role": "assistant", "content": None, "tool_calls": [CALL]}
    answered = {"role": "tool", "content": "2", "tool_call_id": "1", "name": "f"}
    for tools in ([TOOL], json.dumps([TOOL]), [TOOL["function"]]):
        example = one(tmp_path, chat(USER, asked, answered, BOT) | {"tools": tools})
        _, call, result, _ = example.messages
        assert call == Message(
            role="assistant",
            content="",
            tool_calls=(ToolCall(name="f", arguments={"a": 1}, id="1"),),
        )
        assert (result.role, result.tool_call_id, result.name) == ("tool", "1", "f")
        assert example.tools == (TOOL,)
    flat = {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"name": "f", "arguments": {"a": 1}}],
    }
    calls = one(tmp_path, chat(USER, flat)).messages[1].tool_calls
    assert calls == (ToolCall(name="f", arguments={"a": 1}),)


@pytest.mark.parametrize("key", ["reasoning", "reasoning_content", "thinking"])
def test_thoughts_are_kept_apart(tmp_path: Path, key: str) -> None:
    said = one(tmp_path, chat(USER, BOT | {key: "Hm."})).messages[1]
    assert (said.content, said.reasoning) == ("Hello", "Hm.")
    for row in ({"prompt": "Hi", "completion": "Hello"}, {"instruction": "Hi", "output": "Hello"}):
        assert one(tmp_path, row | {key: "Hm."}).messages[-1] == said
        assert one(tmp_path, row | {key: ""}).messages[-1].reasoning is None


def test_turns_that_are_not_to_be_trained_on(tmp_path: Path) -> None:
    for mark in ({"train": False}, {"weight": 0}, {"weight": 0.0}):
        assert one(tmp_path, chat(USER, BOT | mark, USER, BOT)).untrained == {1}
    assert one(tmp_path, chat(USER | {"weight": 0}, BOT | {"weight": 1})).untrained == frozenset()
    system = chat(USER, BOT | {"train": False}, USER, BOT) | {"system": "Be brief."}
    assert one(tmp_path, system).untrained == {2}


def test_what_follows_the_last_answer_is_left_out(tmp_path: Path) -> None:
    assert texts(one(tmp_path, chat(USER, BOT, USER))) == [("user", "Hi"), ("assistant", "Hello")]


def test_keys_that_say_nothing_are_passed_over(tmp_path: Path) -> None:
    empty = {"tool_calls": None, "name": None, "refusal": None, "audio": None, "weight": None}
    turn = BOT | empty | {"id": 7, "timestamp": "now"}
    assert one(tmp_path, chat(USER, turn)).messages[1] == Message(role="assistant", content="Hello")


IMAGE = [{"type": "image_url", "image_url": {"url": "x"}}]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (chat(USER, BOT | {"weight": 0.5}), "messages[1].weight = 0.5; accepted: 0, 1"),
        (chat(USER, BOT | {"train": "no"}), 'messages[1].train = "no"; accepted: true, false'),
        (chat(USER | {"train": True}, BOT), "messages[0]: marked to be trained on; accepted: on"),
        (chat(USER, BOT | {"train": False}), "every assistant turn is marked as not to train on"),
        (
            chat({"role": "user", "content": IMAGE}, BOT),
            'messages[0].content[0]: a part of type "image_url"; accepted: text',
        ),
        (chat(USER, BOT | {"content": None}), "messages[1].content = null; accepted: text"),
        (chat(USER, BOT | {"audio": {"id": 1}}), 'messages[1].audio = {"id": 1}: cannot be'),
        (chat(USER, BOT | {"name": 7}), "messages[1].name = 7; accepted: text"),
        (chat(USER | {"reasoning": "Hm."}, BOT), "messages[0].reasoning: only an assistant's"),
        (chat(USER | {"tool_calls": [CALL]}, BOT), "messages[0].tool_calls = "),
        (chat(USER, BOT | {"tool_calls": {"a": 1}}), 'messages[1].tool_calls = {"a": 1}; accepted'),
        (chat(USER, BOT | {"tool_calls": [{"id": "1"}]}), "messages[1].tool_calls[0] = "),
        (
            chat(USER, BOT | {"tool_calls": [{"name": "f", "arguments": "{a}"}]}),
            'messages[1].tool_calls[0]: arguments = "{a}": not JSON: ',
        ),
        (
            chat(USER, BOT | {"tool_calls": [{"name": "f", "arguments": "[1]"}]}),
            "messages[1].tool_calls[0]: arguments = [1]; accepted: a JSON object",
        ),
        (
            chat(USER, BOT | {"tool_calls": [{"name": "f", "arguments": {"a": float("nan")}}]}),
            'messages[1].tool_calls[0]: arguments = {"a": NaN}: not JSON: ',
        ),
        (chat(USER, BOT) | {"tools": "f"}, 'tools = "f": not JSON: '),
        (chat(USER, BOT) | {"tools": {"a": 1}}, 'tools = {"a": 1}; accepted: a list of function'),
        (chat(USER, BOT) | {"tools": [{"type": "function"}]}, "tools[0] = "),
        (
            chat({"role": "system", "content": "a"}, USER, BOT) | {"system": "b"},
            'system = "b": the',
        ),
    ],
)
def test_refused_messages(tmp_path: Path, row: Any, expected: str) -> None:
    assert refusal(tmp_path, row).startswith(expected)


def test_sharegpt(tmp_path: Path) -> None:
    calls = json.dumps({"name": "f", "arguments": {"a": 1}})
    row = {
        "conversations": [
            say("human", "a"),
            say("function_call", calls),
            say("observation", "b"),
            say("gpt", "c"),
            say("user", "d"),
            say("assistant", "e"),
        ],
        "system": "Be brief.",
        "tools": json.dumps([TOOL["function"]]),
    }
    example = one(tmp_path, row)
    roles = ["system", "user", "assistant", "tool", "assistant", "user", "assistant"]
    assert [each.role for each in example.messages] == roles
    assert example.messages[2].tool_calls == (ToolCall(name="f", arguments={"a": 1}),)
    assert example.tools == (TOOL,)
    openai = {"conversations": [USER, BOT]}
    assert one(tmp_path, openai).messages == one(tmp_path, chat(USER, BOT)).messages


@pytest.mark.parametrize(
    ("speakers", "expected"),
    [
        (["gpt"], "conversations[0]: the assistant's turn at the start; accepted there: system or"),
        (["human", "human"], "conversations[1]: the user's turn after the user's turn; accepted"),
        (["human", "gpt", "gpt"], "conversations[2]: the assistant's turn after the assistant's"),
        (["human", "gpt", "system"], "conversations[2]: the system's turn after the assistant's"),
        (["human", "tool"], "conversations[1]: the tool's turn after the user's turn"),
        (["human", "Customer"], 'conversations[1].from = "Customer"; accepted: human, user'),
    ],
)
def test_speakers_take_turns(tmp_path: Path, speakers: list[str], expected: str) -> None:
    row = {"conversations": [say(each, "text") for each in speakers]}
    assert refusal(tmp_path, row).startswith(expected)


def test_alpaca(tmp_path: Path) -> None:
    row = {"instruction": "Add", "input": "1 2", "output": "3"}
    assert texts(one(tmp_path, row)) == [("user", "Add\n\n1 2"), ("assistant", "3")]
    for given in ("", None, "<noinput>", "No input required.", "N/A"):
        assert texts(one(tmp_path, row | {"input": given}))[0] == ("user", "Add")
    dolly = {"instruction": "Add", "context": "1 2", "response": "3", "category": "math"}
    assert one(tmp_path, dolly) == one(tmp_path, row)._replace(type="math")
    full = row | {"system": "Be brief.", "history": [["a", "b"], ["c", "d"]]}
    assert texts(one(tmp_path, full)) == [
        ("system", "Be brief."),
        ("user", "a"),
        ("assistant", "b"),
        ("user", "c"),
        ("assistant", "d"),
        ("user", "Add\n\n1 2"),
        ("assistant", "3"),
    ]


@pytest.mark.parametrize(
    "text",
    'No input|Noinput|< noinput >|\\<noinput\\>|"<noinput>"|{\\noinput}|<noput>|(No input)'
    "|[noinput]|<Noinput>.|No input needed.|N/A|None|none.".split("|"),
)
def test_an_input_that_is_none(text: str) -> None:
    assert is_placeholder(text)


@pytest.mark.parametrize("text", ["", "Na", "0", "No", "Nothing", "No input was given to me", "…"])
def test_an_input_that_is_one(text: str) -> None:
    assert not is_placeholder(text)


def test_nested_instances(tmp_path: Path) -> None:
    instances = [{"input": "1 2", "output": "3"}, {"input": "", "output": "4"}]
    first, second = read_rows(tmp_path, {"instruction": "Add", "instances": instances})
    assert texts(first)[0] == ("user", "Add\n\n1 2")
    assert (texts(second)[1], second.source) == (("assistant", "4"), "rows.jsonl:1 instance 2")


def test_prompt_and_completion_as_messages(tmp_path: Path) -> None:
    example = one(tmp_path, {"prompt": [USER, BOT, USER], "completion": [BOT, USER, BOT, USER]})
    assert [each.role for each in example.messages] == ["user", "assistant"] * 3
    assert example.untrained == {1}
    text = one(tmp_path, {"prompt": "Hi", "response": "Hello"})
    assert text == one(tmp_path, {"prompt": [USER], "completion": [BOT]})
    reason = refusal(tmp_path, {"prompt": "Hi", "completion": [USER]})
    assert reason == 'completion[0].role = "user"; accepted: assistant'


def test_types_are_tags(tmp_path: Path) -> None:
    row = {"instruction": "Add", "output": "3"}
    for column in ("type", "category", "task"):
        assert one(tmp_path, row | {column: "math"}).type == "math"
    assert one(tmp_path, row | {"kind": "math"}, columns={"type": "kind"}).type == "math"
    assert one(tmp_path, row | {"task": "a long text " * 20}).type is None
    assert one(tmp_path, row | {"type": 7}).type is None


@pytest.mark.parametrize("text", ["[]", '["Ann", "Bob"]', "[1, 2]", '[{"role": "cook"}]', "[x"])
def test_a_json_list_is_a_text_unless_it_holds_messages(tmp_path: Path, text: str) -> None:
    """What an extraction answers, or a question about a list."""
    example = one(tmp_path, {"prompt": text, "completion": text})
    assert texts(example) == [("user", text), ("assistant", text)]
    turns = json.dumps([USER]), json.dumps([BOT])
    example = one(tmp_path, {"prompt": turns[0], "completion": turns[1]})
    assert texts(example) == [("user", "Hi"), ("assistant", "Hello")]
    wrong = {"prompt": json.dumps([USER | {"role": "usr"}]), "completion": text}
    assert 'prompt[0].role = "usr"' in refusal(tmp_path, wrong)
