from __future__ import annotations

import pytest

from harness.training.quality.normalise import (
    fingerprint,
    normalise,
    prompt_group,
    prompt_of,
    same_prompt,
    words,
)
from harness.types import ToolCall
from tests.training.quality.examples import chat, example, said


def test_form_case_space_quotes_and_invisible_characters_do_not_matter() -> None:
    assert normalise("  It’s\u200b “ＦＩＮＥ”\n—\tnow ") == 'it\'s "fine" - now'


@pytest.mark.parametrize(
    "invisible", [*"\u200b\u00ad\ufeff\u202e\u2066\ufe0f\u034f\u3164\U000e0041"]
)
def test_no_invisible_character_tells_words_apart(invisible: str) -> None:
    assert normalise(f"n{invisible}ever mind{invisible}") == "never mind"


def test_plain_text_takes_the_same_way_as_all_other() -> None:
    assert normalise("A\tB  c") == normalise("A\tB\u00a0c") == "a b c"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Don't stop-now", ["don", "t", "stop", "now"]),
        ("布洛芬 and 对乙", ["布", "洛", "芬", "and", "对", "乙"]),
        ("ﬁve カタ naïve", ["five", "カ", "タ", "naïve"]),
        ("…!?", []),
    ],
)
def test_words_have_no_punctuation_and_unspaced_scripts_are_cut_by_character(
    text: str, expected: list[str]
) -> None:
    assert words(text) == expected


def test_prompts_are_the_same_without_outer_punctuation_only() -> None:
    assert same_prompt("Name a colour.") == same_prompt(' "name a Colour" ')
    assert same_prompt("2+2?") != same_prompt("2-2?")
    assert same_prompt("???") == "???"


def test_the_prompt_is_what_users_say_before_the_last_answer() -> None:
    turns = chat(
        ("system", "Be brief."),
        ("user", "One"),
        ("assistant", "a"),
        ("user", "Two"),
        ("assistant", "b"),
    )
    assert prompt_of(turns) == "One\n\nTwo"
    assert prompt_of(chat(("system", "Greet."), ("assistant", "Hello."))) == "Greet."


def test_a_fingerprint_is_of_everything_that_is_trained_on() -> None:
    one = example("Hi", "Hello there")
    assert len(fingerprint(one)) == 16
    assert fingerprint(one) == fingerprint(example("hi ", "HELLO  there", "other:9"))
    call = one.messages[-1].model_copy(update={"tool_calls": (ToolCall(name="f", arguments={}),)})
    others = [
        example("Hi", "Hello there!"),
        one._replace(desirable=True),
        one._replace(desirable=False),
        one._replace(rejected=said("assistant", "No")),
        one._replace(messages=(one.messages[0], call)),
        one._replace(tools=({"name": "f"},)),
        chat(("user", "Hi"), ("user", "Hello there")),
    ]
    assert len({fingerprint(each) for each in [one, *others]}) == 1 + len(others)


def test_a_prompt_group_ignores_answer_and_system_text() -> None:
    one = chat(("system", "A"), ("user", "Name it."), ("assistant", "x"))
    assert prompt_group(one) == prompt_group(example("name it", "y"))
    assert prompt_group(one) != prompt_group(example("name them", "x"))
    assert len(prompt_group(one)) == 8
