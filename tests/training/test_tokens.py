"""A row as a person reads it: parts told apart with and without colour, nothing that controls."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console

from harness.chat.encode import IGNORED, Row
from harness.training.tokens import show, tokens_of, visible
from harness.types import Message

TEXTS = {1: "<s>", 2: "</s>", 3: "Ask\n", 4: "Red", 5: ".", 6: "\x1b[31m", 7: "Blue"}
STOPS = {2}


def decode(ids: Iterable[int]) -> str:
    return "".join(TEXTS[each] for each in ids)


def row(ids: tuple[int, ...], n_prompt: int, rejected: tuple[int, ...] = ()) -> Row:
    return Row(
        input_ids=ids,
        labels=(IGNORED,) * n_prompt + ids[n_prompt:],
        source="rows.jsonl:1 turn 1",
        messages=(Message(role="user", content="Ask"),),
        n_prompt=n_prompt,
        rejected=rejected,
    )


def printed(which: Row, *, colour: bool) -> str:
    console = Console(
        force_terminal=colour, color_system="standard" if colour else None, width=200, record=True
    )
    with console.capture() as captured:
        console.print(show(tokens_of(which, decode, STOPS)))
    return captured.get()


def test_parts_follow_the_labels() -> None:
    tokens = tokens_of(row((1, 3, 4, 5, 2), 2, rejected=(7, 2)), decode, STOPS)
    assert [token.part for token in tokens] == [
        "prompt", "prompt", "trained", "trained", "stop", "rejected", "rejected",
    ]  # fmt: skip
    assert [token.id for token in tokens] == [1, 3, 4, 5, 2, 7, 2]


def test_a_stop_in_the_prompt_is_prompt() -> None:
    tokens = tokens_of(row((1, 2, 4, 2), 2), decode, STOPS)
    assert [token.part for token in tokens] == ["prompt", "prompt", "trained", "stop"]


def test_marks_stand_in_for_colours() -> None:
    text = printed(row((1, 3, 4, 5, 2), 2, rejected=(7, 2)), colour=False)
    assert text == "<s>Ask↵\n«Red.»⟦</s>⟧‹Blue</s>›\n"


def test_neighbouring_tokens_differ_in_colour() -> None:
    text = printed(row((1, 3, 4, 5, 2), 2), colour=True)
    assert "\x1b[1;32mRed" in text
    assert "\x1b[32m." in text
    assert "\x1b[1;37;41m</s>" in text


def test_no_control_character_is_shown_as_itself() -> None:
    assert "\x1b" not in printed(row((1, 6, 2), 1), colour=False)
    assert visible("a\x1b\x07\x9b\u202eb\n数🙂") == "a\\x1b\\x07\\x9b\\u202eb\n数🙂"


def test_a_character_of_several_tokens_is_whole() -> None:
    pieces = {1: b"a", 2: "🙂".encode()[:2], 3: "🙂".encode()[2:], 4: b"\xff"}

    def decode_bytes(ids: Iterable[int]) -> str:
        return b"".join(pieces[each] for each in ids).decode(errors="replace")

    tokens = tokens_of(row((1, 2, 3, 1, 4, 1), 1), decode_bytes, ())
    assert [token.text for token in tokens][:4] == ["a", "", "🙂", "a"]
    assert [token.id for token in tokens] == [1, 2, 3, 1, 4, 1]
    assert "".join(token.text for token in tokens) == "a🙂a\ufffda"


def test_an_answer_that_feedback_calls_bad_is_rejected() -> None:
    given = row((1, 3, 4, 5, 2), 2)
    assert printed(given._replace(desirable=True), colour=False) == "<s>Ask↵\n«Red.»⟦</s>⟧\n"
    assert printed(given._replace(desirable=False), colour=False) == "<s>Ask↵\n‹Red.›⟦</s>⟧\n"
