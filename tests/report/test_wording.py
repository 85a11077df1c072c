from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from harness.report import wording


@pytest.mark.parametrize(
    ("value", "shown"),
    [(3.456, "3.46"), (-0.054, "−0.05"), (-0.001, "0.00"), (0.0, "0.00"), (None, "—")],
)
def test_number(value: float | None, shown: str) -> None:
    assert wording.number(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"), [(0.18, "+0.18"), (-0.18, "−0.18"), (0.001, "0.00"), (None, "—")]
)
def test_signed(value: float | None, shown: str) -> None:
    assert wording.signed(value) == shown


def test_missing_is_never_a_number() -> None:
    shown = {wording.share(None), wording.p_value(None), wording.number(None), wording.signed(None)}
    assert shown == {"—"}


def test_confidence_and_p() -> None:
    assert wording.confidence(0.05) == "95%"
    assert wording.confidence(0.025) == "97.5%"
    assert wording.p_value(0.0004) == "<0.001"
    assert wording.p_value(0.0416) == "0.042"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x00b", "a⟨U+0000⟩b"),
        ("\x1b[31m", "⟨U+001B⟩[31m"),
        ("a\rb", "a⟨U+000D⟩b"),
        ("\x7f", "⟨U+007F⟩"),
        ("\u202eabc", "⟨U+202E⟩abc"),
        ("a\u200bb", "a⟨U+200B⟩b"),
        ("\ud800", "⟨U+D800⟩"),
        ("\U000e0041", "⟨U+E0041⟩"),
        ("\u2028", "⟨U+2028⟩"),
        ("Grüße 东京 שלום 👍 e\u0301\n\t", "Grüße 东京 שלום 👍 e\u0301\n\t"),
    ],
)
def test_neutral(text: str, shown: str) -> None:
    assert wording.neutral(text) == shown


@given(st.text(st.characters(exclude_categories=())))
def test_neutral_leaves_nothing_without_a_glyph(text: str) -> None:
    shown = wording.neutral(text)
    left = {unicodedata.category(each) for each in shown if each not in "\n\t"}
    assert not left & {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    assert wording.neutral(shown) == shown


@given(st.text(st.characters(exclude_categories=())))
@example("\x7f")
def test_neutral_json_is_the_same_value(text: str) -> None:
    shown = wording.neutral_json({text: [text, 1.5, None]}, indent=1)
    assert json.loads(shown) == json.loads(json.dumps({text: [text, 1.5, None]}))
    assert wording.neutral(shown) == shown


def test_visible_white_space() -> None:
    assert wording.visible("a b  c \n\td ") == "a b··c·\n⇥\td·"


@given(st.text(), st.integers(1, 50))
def test_one_line_is_one_short_line(text: str, limit: int) -> None:
    line = wording.one_line(text, limit)
    assert len(line) <= limit
    assert "\n" not in line
    assert "\t" not in line


def test_tiny_numbers_are_not_rounded_to_nothing() -> None:
    assert wording.number(2e-5, 3) == "2.0e−05"
    assert wording.signed(2e-5, 3) == "+2.0e−05"
    assert wording.number(0.0, 3) == "0.000"
    assert wording.number(2e-5) == "0.00"
    assert wording.signed(2e-5) == "0.00"
