"""A row as a person reads it: every token, whether it is prompt, trained or the stop.

Pure: from a row and a decoder. Colours carry the masks on a terminal, marks carry them elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Literal, NamedTuple

from rich.text import Text

from harness.chat.encode import IGNORED, Row

Part = Literal["prompt", "trained", "stop", "rejected"]

STYLES: dict[Part, tuple[str, str]] = {
    "prompt": ("bright_black", "white"),
    "trained": ("green", "bold green"),
    "stop": ("bold white on red", "bold white on red"),
    "rejected": ("magenta", "bold magenta"),
}
"""Two shades a part, so that neighbouring tokens are told apart."""
_MARKS: dict[Part, tuple[str, str]] = {
    "prompt": ("", ""),
    "trained": ("«", "»"),
    "stop": ("⟦", "⟧"),
    "rejected": ("‹", "›"),
}
LEGEND = "prompt «trained» ⟦stop⟧ ‹rejected›"


class Token(NamedTuple):
    """One token of a row."""

    id: int
    text: str
    part: Part


def tokens_of(
    row: Row, decode: Callable[[Iterable[int]], str], stop_ids: Collection[int]
) -> list[Token]:
    """The tokens of a row in order, those of a rejected answer after the others."""
    found = []
    for number, label in zip(row.input_ids, row.labels, strict=True):
        trained: Part = "stop" if number in stop_ids else "trained"
        found.append(Token(number, decode([number]), "prompt" if label == IGNORED else trained))
    return found + [Token(each, decode([each]), "rejected") for each in row.rejected]


def show(tokens: Iterable[Token]) -> Text:
    """The tokens in colour; the marks of `LEGEND` where parts change, for places without it."""
    text, last, shade = Text(), "prompt", 0
    for token in tokens:
        if token.part != last:
            _mark(text, last, end=True)
            _mark(text, token.part, end=False)
        shade = 1 - shade
        text.append(visible(token.text.replace("\n", "↵\n")), STYLES[token.part][shade])
        last = token.part
    _mark(text, last, end=True)
    return text


def _mark(text: Text, part: str, *, end: bool) -> None:
    text.append(_MARKS[part][end], "bold")  # type: ignore[index]


def visible(text: str) -> str:
    """The text with control characters written out, so that none reaches the terminal."""
    return "".join(
        each if each == "\n" or each.isprintable() else each.encode("unicode_escape").decode()
        for each in text
    )
