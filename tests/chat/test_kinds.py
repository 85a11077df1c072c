"""Preference, feedback, tools, thoughts and turns that are not trained: one encoding for all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.chat.encode import IGNORED, Row, as_sent, encode, encode_feedback, encode_preference
from harness.chat.template import ChatTokenizer
from harness.errors import DataError
from harness.types import Message, ToolCall
from tests.chat.templates import CHATML, make_tokenizer
from tests.chat.test_encode import chat_of, check

ADD: dict[str, Any] = {
    "type": "function",
    "function": {"name": "add", "parameters": {"type": "object", "properties": {"a": {}}}},
}
TOOLS = (
    "{%- for t in tools or [] -%}{{- t | tojson + '\n' -}}{%- endfor -%}"
    "{%- for m in messages -%}{{- '<|im_start|>' + m.role + '\n' + m.content -}}"
    "{%- for c in m.tool_calls or [] -%}{{- c.function | tojson -}}{%- endfor -%}"
    "{{- '<|im_end|>\n' -}}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\n' -}}{%- endif -%}"
)
THOUGHTS = CHATML.replace(
    "m.content",
    "((('<think>\n' + m.reasoning_content + '\n</think>\n\n') "
    "if m.reasoning_content and loop.last else '') + m.content)",
)
"""Like Qwen3: shows the thoughts of the last turn, and none of the history's."""
CALL = Message(
    role="assistant", content="", tool_calls=(ToolCall(name="add", arguments={"city": "café"}),)
)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return make_tokenizer(tmp_path, eos="<|im_end|>")


@pytest.fixture
def chatml(directory: Path) -> ChatTokenizer:
    return ChatTokenizer(directory, template=CHATML)


def trained(row: Row, chat: ChatTokenizer) -> str:
    return chat.decode(label for label in row.labels if label != IGNORED)


def think(thoughts: str, answer: str) -> Message:
    return Message(role="assistant", content=answer, reasoning=thoughts)


def test_a_pair_shares_the_served_prompt(chatml: ChatTokenizer) -> None:
    messages = chat_of("a", "earlier", "b", "\nBetter")
    worse = Message(role="assistant", content="\nWorse")
    row = encode_preference(messages, worse, chatml, "p.jsonl:3")
    assert row.source == "p.jsonl:3 turn 2"
    assert row.messages == messages[:3]
    assert row.input_ids[: row.n_prompt] == chatml.prompt_ids(messages[:3])
    assert row.labels[: row.n_prompt] == (IGNORED,) * row.n_prompt
    assert trained(row, chatml) == "\nBetter<|im_end|>"
    assert chatml.decode(row.rejected) == "\nWorse<|im_end|>"
    assert row.desirable is None


@pytest.mark.parametrize(
    ("messages", "worse", "expected"),
    [
        (chat_of("a", "same"), "same", "chosen and rejected are the same answer"),
        (chat_of("a", "b", "c"), "d", "the chat ends with a user's message"),
        (chat_of("a", "b <s>"), "c", "special token"),
        (chat_of("a", "b"), "c <s>", r" message 3 \(assistant\): .*special token"),
        ((), "c", "the chat ends with nothing"),
        ((Message(role="assistant", content="b"),), "c", "starts with the assistant"),
    ],
    ids=range(6),
)
def test_a_pair_that_teaches_nothing_or_wrong(
    chatml: ChatTokenizer, messages: tuple[Message, ...], worse: str, expected: str
) -> None:
    rejected = Message(role="assistant", content=worse)
    with pytest.raises(DataError, match=rf"^p\.jsonl:3.*{expected}"):
        encode_preference(messages, rejected, chatml, "p.jsonl:3")


def test_both_answers_of_a_pair_are_checked(directory: Path) -> None:
    template = CHATML.replace("m.content", "m.content | replace('bad', '')")
    chat = ChatTokenizer(directory, template=template)
    for better, worse, named in (("fine", "bad", "rejected"), ("bad", "fine", "chosen")):
        rejected = Message(role="assistant", content=worse)
        with pytest.raises(DataError, match=rf"turn 1 \({named}\): .*drops or changes"):
            encode_preference(chat_of("a", better), rejected, chat, "p.jsonl:3")


@pytest.mark.parametrize("desirable", [True, False])
def test_feedback_is_one_answer_and_an_opinion(chatml: ChatTokenizer, desirable: bool) -> None:
    messages = chat_of("a", "earlier", "b", "Answer")
    row = encode_feedback(messages, desirable, chatml, "k.jsonl:3")
    assert (row.desirable, row.rejected) == (desirable, ())
    assert trained(row, chatml) == "Answer<|im_end|>"
    assert row.input_ids[: row.n_prompt] == chatml.prompt_ids(messages[:3])
    with pytest.raises(DataError, match="the chat ends with nothing"):
        encode_feedback((), desirable, chatml, "k.jsonl:3")


def test_untrained_turns_are_history(chatml: ChatTokenizer) -> None:
    messages = chat_of("a", "First", "b", "Second", "c", "Third")
    [row] = encode(messages, chatml, "a:1", untrained=frozenset({1, 3}))
    assert trained(row, chatml) == "Third<|im_end|>"
    assert row.source == "a:1 turn 3"
    assert row.input_ids[: row.n_prompt] == chatml.prompt_ids(messages[:5])
    [row] = encode(messages, chatml, "a:1", untrained=frozenset({3}))
    assert trained(row, chatml) == "First<|im_end|>Third<|im_end|>"
    assert row.n_prompt == len(chatml.prompt_ids(messages[:1]))
    assert "Second" in chatml.decode(row.input_ids)
    with pytest.raises(DataError, match=r"a:1: every assistant turn is marked"):
        encode(messages, chatml, "a:1", untrained=frozenset({1, 3, 5}))


def test_an_untrained_turn_need_not_be_trainable(chatml: ChatTokenizer) -> None:
    messages = (Message(role="assistant", content="Welcome!"), *chat_of("a", "b"))
    [row] = encode(messages, chatml, "a:1", untrained=frozenset({0}))
    assert trained(row, chatml) == "b<|im_end|>"
    with pytest.raises(DataError, match="starts with the assistant"):
        encode(messages, chatml, "a:1")


def test_tools_are_in_the_prompt_and_calls_are_trained(directory: Path) -> None:
    chat = ChatTokenizer(directory, template=TOOLS)
    answer = Message(role="tool", content="42", tool_call_id="call00001")
    messages = (*chat_of("Add."), CALL, answer, Message(role="assistant", content="It is 42."))
    [row] = encode(messages, chat, "t:1", tools=[ADD["function"]])
    assert row.input_ids[: row.n_prompt] == chat.prompt_ids(messages[:1], row.tools)
    assert chat.decode(row.input_ids[: row.n_prompt]).startswith('{"type": "function"')
    assert trained(row, chat) == (
        '{"arguments": {"city": "café"}, "name": "add"}<|im_end|>It is 42.<|im_end|>'
    )
    assert encode(messages, chat, "t:1", tools=row.tools) == [row]


@pytest.mark.parametrize(
    ("template", "tools", "expected"),
    [
        (CHATML, [ADD], "drops or changes tool: 'add' is not in the prompt"),
        (CHATML, [], "drops or changes the assistant's text: 'add' is not in the trained answer"),
        (TOOLS.replace("c.function |", "c.function.name |"), [ADD],
         "'city' is not in the trained answer"),
        (TOOLS.replace("c.function |", "{'city': c.function.name} |"), [ADD],
         "'café' is not in the trained answer"),
        (TOOLS, [{"type": "function"}], r"^t:1: tools\[0\] = .*: no function with a name"),
        (TOOLS, [{"name": "add", "parameters": "none"}],
         r"^t:1: tools\[0\]\.function\.parameters = 'none'; accepted: a JSON schema, or null"),
        ("chatml", [ADD], "the chatml template has no place for tools"),
    ],
    ids=range(7),
)  # fmt: skip
def test_tools_a_template_would_drop(
    directory: Path, template: str, tools: list[dict[str, Any]], expected: str
) -> None:
    chat = ChatTokenizer(directory, template=template)
    with pytest.raises(DataError, match=expected):
        encode((*chat_of("Add."), CALL), chat, "t:1", tools=tools)


def test_thoughts_go_in_front_where_the_template_has_no_place(chatml: ChatTokenizer) -> None:
    messages = (
        *chat_of("2 + 2?"), think("Two and two.", "4"),
        *chat_of("And 5 + 5?"), think("Five and five.", "10"),
    )  # fmt: skip
    assert not chatml.reads_reasoning
    [row] = encode(messages, chatml, "r:1")
    assert trained(row, chatml) == (
        "<think>\nTwo and two.\n</think>\n\n4<|im_end|>"
        "<think>\nFive and five.\n</think>\n\n10<|im_end|>"
    )
    sent = as_sent(messages, chatml)
    assert [each.reasoning for each in sent] == [None] * 4
    check(sent, chatml, encode(sent, chatml, "r:1"))
    assert encode(sent, chatml, "r:1") == [row]


def test_thoughts_a_template_shows_are_left_to_it(directory: Path) -> None:
    chat = ChatTokenizer(directory, template=THOUGHTS)
    messages = (
        *chat_of("2 + 2?"), think("Two and two.", "4"),
        *chat_of("And 5 + 5?"), think("Five and five.", "10"),
    )  # fmt: skip
    assert chat.reads_reasoning
    rows = encode(messages, chat, "r:1")
    assert [trained(row, chat) for row in rows] == [
        "<think>\nTwo and two.\n</think>\n\n4<|im_end|>",
        "<think>\nFive and five.\n</think>\n\n10<|im_end|>",
    ]
    assert [row.messages for row in rows] == [messages[:1], messages[:3]]
    assert "Two and two" not in chat.decode(rows[1].input_ids)


def test_thoughts_in_the_answer_are_trained_as_they_are(chatml: ChatTokenizer) -> None:
    [row] = encode(chat_of("a", "<think>why</think>\nb"), chatml, "r:1")
    assert trained(row, chatml) == "<think>why</think>\nb<|im_end|>"


def test_a_lost_answer_is_not_hidden_by_thoughts_that_hold_it(directory: Path) -> None:
    shown = (
        "('<think>\n' + m.reasoning_content + '\n</think>' if m.reasoning_content else m.content)"
    )
    chat = ChatTokenizer(directory, template=CHATML.replace("m.content", shown))
    assert chat.reads_reasoning
    with pytest.raises(DataError, match="drops or changes the assistant's text: '4' is not in"):
        encode((*chat_of("2 + 2?"), think("It is 4.", "4")), chat, "r:1")
