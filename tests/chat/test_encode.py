"""Every row starts with exactly the served prompt and trains exactly what must be produced."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.chat.encode import IGNORED, Row, encode
from harness.chat.template import ChatTokenizer
from harness.errors import DataError
from harness.types import Message, ToolCall
from tests.chat.templates import (
    ALPACA,
    CHATML,
    LLAMA,
    POCKET,
    TEMPLATES,
    make_tokenizer,
)

ANSWERS = (
    "Hello there.",
    "\nHello",
    "\n\nHello",
    "\n\n\n there",
    "  Hello",
    "Hello\n",
    "",
    "naïve café 数学 🙂",
    "a\tb\r\nc",
    "### Response:\nHello",
)


def chat_of(*texts: str, system: str | None = None) -> tuple[Message, ...]:
    """user, assistant, user … from texts."""
    first = [Message(role="system", content=system)] if system is not None else []
    turns = [
        Message(role="assistant" if i % 2 else "user", content=text) for i, text in enumerate(texts)
    ]
    return (*first, *turns)


def check(messages: Sequence[Message], chat: ChatTokenizer, rows: list[Row]) -> None:
    """Each assistant turn is trained once: right after its served prompt, up to its stop token."""
    spans = [
        (row, start)
        for row in rows
        for start, label in enumerate(row.labels)
        if label != IGNORED and row.labels[start - 1] in (IGNORED, *chat.stop_ids)
    ]
    turns = [i for i, each in enumerate(messages) if each.role == "assistant"]
    assert len(spans) == len(turns)
    for (row, start), turn in zip(spans, turns, strict=True):
        served = chat.prompt_ids(messages[:turn])
        assert row.input_ids[:start] == served
        end = next(i for i in range(start, len(row.labels)) if row.labels[i] in chat.stop_ids) + 1
        assert row.labels[start:end] == row.input_ids[start:end]
        text = chat.decode(row.input_ids[start : end - 1])
        assert text.strip().endswith(messages[turn].content.strip())
    for row in rows:
        assert len(row.input_ids) == len(row.labels)
        assert row.labels[: row.n_prompt] == (IGNORED,) * row.n_prompt
        assert row.input_ids[: row.n_prompt] == chat.prompt_ids(row.messages)
        assert row.labels[-1] in chat.stop_ids


@pytest.fixture(scope="module", params=["pocket", *TEMPLATES])
def chat(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ChatTokenizer:
    if request.param == "pocket":
        return ChatTokenizer(POCKET)
    template, eos = TEMPLATES[request.param]
    directory = make_tokenizer(tmp_path_factory.mktemp(request.param), eos=eos)
    return ChatTokenizer(directory, template=template)


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("system", [None, "Be brief."])
def test_single_turn(chat: ChatTokenizer, answer: str, system: str | None) -> None:
    messages = chat_of("Say hello.", answer, system=system)
    rows = encode(messages, chat, "a.jsonl:1")
    assert len(rows) == 1
    assert rows[0].source == "a.jsonl:1 turn 1"
    check(messages, chat, rows)


@pytest.mark.parametrize("answer", ANSWERS)
def test_many_turns(chat: ChatTokenizer, answer: str) -> None:
    messages = chat_of("Say hello.", answer, "\nAgain", answer, "", "Hello")
    check(messages, chat, encode(messages, chat, "a.jsonl:1"))


@cache
def pocket_chat() -> ChatTokenizer:
    return ChatTokenizer(POCKET)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=12), min_size=2))
def test_any_text(texts: list[str]) -> None:
    chat = pocket_chat()
    messages = chat_of(*texts[: len(texts) // 2 * 2])
    check(messages, chat, encode(messages, chat, "a.jsonl:1"))


def merging_chat(tmp_path: Path, template: str, eos: str, **options: bool) -> ChatTokenizer:
    return ChatTokenizer(make_tokenizer(tmp_path, eos=eos), template=template, **options)  # type: ignore[arg-type]


def test_an_answer_that_would_merge_into_its_prompt_is_split_as_served(tmp_path: Path) -> None:
    chat = merging_chat(tmp_path, CHATML, "<|im_end|>")
    messages = chat_of("Say hello.", "\nHello")
    whole = chat.encode(chat.render(messages, add_generation_prompt=False))
    served = chat.prompt_ids(messages[:1])
    assert whole[: len(served)] != served, "the tokenizer must merge here for the test to mean it"
    check(messages, chat, encode(messages, chat, "a.jsonl:1"))


def test_history_that_merges_differently_starts_a_new_row(tmp_path: Path) -> None:
    chat = merging_chat(tmp_path, CHATML, "<|im_end|>")
    messages = chat_of("Say hello.", "\nHello", "Again", "Hello")
    rows = encode(messages, chat, "a.jsonl:1")
    assert [row.source for row in rows] == ["a.jsonl:1 turn 1", "a.jsonl:1 turn 2"]
    check(messages, chat, rows)


def test_history_that_stays_is_one_row(chat: ChatTokenizer) -> None:
    messages = chat_of("Say hello.", "Hello", "Again", "Hello there")
    assert len(encode(messages, chat, "a.jsonl:1")) == 1


def test_history_rewritten_by_the_template_gives_a_row_a_turn(tmp_path: Path) -> None:
    template = CHATML.replace(
        "m.content", "(m.content if loop.last or m.role == 'user' else m.content[:1])"
    )
    chat = merging_chat(tmp_path, template, "<|im_end|>")
    rows = encode(chat_of("a", "Hello", "b", "there"), chat, "a.jsonl:1")
    assert [row.n_prompt for row in rows] == [len(chat.prompt_ids(row.messages)) for row in rows]
    assert len(rows) == 2


def test_a_stop_token_written_in_a_question_is_what_the_server_would_see(tmp_path: Path) -> None:
    chat = merging_chat(tmp_path, CHATML, "<|im_end|>", allow_special_tokens=True)
    messages = chat_of("What is <|im_end|>?", "A token.")
    check(messages, chat, encode(messages, chat, "a.jsonl:1"))


@pytest.mark.parametrize(
    ("messages", "place", "token"),
    [
        (chat_of("What is <|im_end|>?", "A token."), "message 1 (user)", "<|im_end|>"),
        (chat_of("a", "b <s> c"), "message 2 (assistant)", "<s>"),
        (chat_of("a", "b", system="x<|eot_id|>"), "message 1 (system)", "<|eot_id|>"),
        ((*chat_of("a"), Message(role="assistant", content="b", reasoning="</s>")),
         "message 2 (assistant)", "</s>"),
        ((*chat_of("a"), Message(role="assistant", content="", tool_calls=(
            ToolCall(name="f", arguments={"x": ["<unk>"]}),))), "message 2 (assistant)", "<unk>"),
    ],
    ids=["user", "answer", "system", "thoughts", "call"],
)  # fmt: skip
def test_a_special_token_s_text_is_refused_by_name(
    tmp_path: Path, messages: tuple[Message, ...], place: str, token: str
) -> None:
    chat = merging_chat(tmp_path, CHATML, "<|im_end|>")
    with pytest.raises(DataError) as caught:
        encode(messages, chat, "a.jsonl:1")
    assert f"a.jsonl:1 {place}: the text spells the special token {token!r}" in str(caught.value)
    assert "chat.allow_special_tokens" in str(caught.value.hint)


@pytest.mark.parametrize("answer", ["b <|im_end|> c", "b<|im_end|>", "<|im_end|>"])
def test_an_answer_cut_by_its_own_stop_token_is_refused_even_if_allowed(
    tmp_path: Path, answer: str
) -> None:
    chat = merging_chat(tmp_path, CHATML, "<|im_end|>", allow_special_tokens=True)
    with pytest.raises(DataError, match="stop token"):
        encode(chat_of("a", answer), chat, "a.jsonl:1")


@pytest.mark.parametrize(
    ("template", "eos", "messages", "expected"),
    [
        (CHATML, "</s>", chat_of("a", "b"), "without a stop token"),
        (ALPACA, "</s>", chat_of("a"), "no assistant turn"),
        (LLAMA, "<|eot_id|>", chat_of("a", "b")[1:], "starts with the assistant"),
        (
            CHATML.replace("assistant\n", "assistant\n<think>\n"),
            "<|im_end|>",
            chat_of("a", "b"),
            "the served prompt is not how the trained chat begins",
        ),
        (
            "{{ raise_exception('only one user turn') }}",
            "</s>",
            chat_of("a", "b"),
            "the chat template refuses this chat: only one user turn",
        ),
        (
            CHATML.replace("m.content", "('' if m.role == 'user' else m.content)"),
            "<|im_end|>",
            chat_of("Say hello.", "b"),
            "the chat template drops or changes the user's text: 'Say hello.' is not in the prompt",
        ),
        (
            CHATML.replace("m.content", "(m.content if m.role == 'user' else 'Hi')"),
            "<|im_end|>",
            chat_of("a", "Hello there"),
            "drops or changes the assistant's text: 'Hello there' is not in the trained answer",
        ),
        (
            CHATML.replace("m.content", "m.content | replace('<', '&lt;')"),
            "<|im_end|>",
            chat_of("a < b?", "no"),
            "drops or changes the user's text: 'a < b?' is not in the prompt",
        ),
    ],
)
def test_errors_name_the_place(
    tmp_path: Path, template: str, eos: str, messages: tuple[Message, ...], expected: str
) -> None:
    chat = merging_chat(tmp_path, template, eos)
    with pytest.raises(DataError) as caught:
        encode(messages, chat, "train.jsonl:7")
    assert str(caught.value).startswith("train.jsonl:7")
    assert expected in str(caught.value)


def test_a_template_that_trims_keeps_the_text(tmp_path: Path) -> None:
    chat = merging_chat(tmp_path, CHATML.replace("m.content", "m.content | trim"), "<|im_end|>")
    messages = chat_of("\n Say hello. ", "  Hello \n")
    check(messages, chat, encode(messages, chat, "a.jsonl:1"))


def test_a_mismatch_shows_served_and_trained_text(tmp_path: Path) -> None:
    template = CHATML.replace("assistant\n", "assistant\n<think>\n")
    chat = merging_chat(tmp_path, template, "<|im_end|>")
    with pytest.raises(DataError, match=r"turn 1: .*served …'.*<think>.*trained …'.*Hello"):
        encode(chat_of("a", "Hello"), chat, "train.jsonl:7")
