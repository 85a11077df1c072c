"""Numbers, states and hostile text as they are printed, the same on every page.

A missing number is a dash, never a zero. Text from models is shown with every character that
could hide, reorder or run something made visible. Knows nothing of HTML, Markdown or terminals.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Sequence
from typing import Any, Final

from harness.types import Status

MISSING: Final = "—"
STATUS_WORDS: Final[dict[Status, str]] = {
    "pass": "Pass",
    "fail": "Fail",
    "inconclusive": "Inconclusive",
    "untrusted": "Untrusted",
}
SEVERITY: Final[tuple[Status, ...]] = ("pass", "inconclusive", "fail", "untrusted")

_HIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Unicode categories without a glyph: controls, formats (bidi, zero-width), surrogates, private
use, unassigned, line and paragraph separators."""
_SPACES: Final = re.compile(r"\t| +$| {2,}", re.MULTILINE)


def number(value: float | None, digits: int = 2) -> str:
    """3.456 → "3.46"; a real minus sign; a dash for None. With three digits or more, what they
    would round to nothing is shown by its power: 0.00002 → "2.0e−05"."""
    if value is None:
        return MISSING
    if 0 < abs(value) < 0.1**digits / 2 and digits > 2:
        return f"{value:.1e}".replace("-", "−")
    text = f"{value:.{digits}f}"
    return text.lstrip("-") if float(text) == 0 else text.replace("-", "−")


def signed(value: float | None, digits: int = 2) -> str:
    """Like `number`, with a plus sign above zero."""
    text = number(value, digits)
    positive = value is not None and value > 0 and text.strip("0.") != ""
    return f"+{text}" if positive else text


def share(value: float | None) -> str:
    """0.592 → "59.2%"; a dash for None."""
    return MISSING if value is None else f"{value:.1%}"


def score(value: float | None) -> str:
    """A score as it was given, 4 → "4"; one that is a mean with two decimals; a dash for None."""
    return number(value, 0 if value is None or float(value).is_integer() else 2)


def scores_of(samples: Sequence[int | None]) -> str:
    """The whole scores behind one that is a mean or is expected; a dash for none."""
    noun = "whole score" if len(samples) == 1 else "samples"
    return f"{noun} {', '.join(map(score, samples))}"


def points(value: float) -> str:
    """A difference of two scores: −3 → "−3", 0.5 → "+0.50"."""
    return signed(value, 0 if float(value).is_integer() else 2)


def confidence(tail: float) -> str:
    """0.05 → "95%"; a tail that looks have divided with three figures, 0.00555 → "99.445%"."""
    return f"{100 - float(f'{100 * tail:.3g}'):.8g}%"


def p_value(value: float | None) -> str:
    """Three decimals, and "<0.001" below them."""
    if value is None:
        return MISSING
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def plural(n: int, noun: str) -> str:
    """1 item, 2 items."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def neutral(text: str) -> str:
    """The text with every character that has no glyph replaced by its code, as in ⟨U+202E⟩, so
    that nothing can hide, reorder its surroundings or drive a terminal. Line feed and tab stay.
    """
    # Printable: no such category, and no space but " ".
    if text.replace("\n", "").replace("\t", "").isprintable():
        return text
    return text.translate(_NEUTRAL)


class _Neutral(dict[int, str]):
    """Code point → what is printed for it; each is looked up once."""

    def __missing__(self, code: int) -> str:
        is_shown = chr(code) in "\n\t" or unicodedata.category(chr(code)) not in _HIDDEN
        self[code] = chr(code) if is_shown else f"⟨U+{code:04X}⟩"
        return self[code]


_NEUTRAL: Final = _Neutral()


def neutral_json(value: Any, indent: int | None = None) -> str:
    """The value as JSON, with JSON's own escape for every character that `neutral` replaces."""
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    if neutral(text) == text:
        return text
    return "".join(map(_escaped_character, text))


def _escaped_character(character: str) -> str:
    if _NEUTRAL[ord(character)] == character:
        return character
    return json.dumps(character)[1:-1]


def visible(text: str) -> str:
    """`neutral`, and the white space that matters made visible: tabs, runs, line ends."""
    return _SPACES.sub(lambda match: match[0].replace("\t", "⇥\t").replace(" ", "·"), neutral(text))


def clipped(text: str, limit: int) -> tuple[str, int]:
    """The first `limit` characters and how many were left out."""
    return text[:limit], max(0, len(text) - limit)


def one_line(text: str, limit: int) -> str:
    """The text on one line of at most `limit` characters, neutral."""
    line = " ".join(neutral(text[: 4 * limit]).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"
