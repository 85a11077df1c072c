"""A row as a person reads it: every token, whether it is prompt, trained or the stop.

Pure: from a row and a decoder. Colours carry the masks on a terminal, marks carry them elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
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
_BROKEN = "\ufffd"
"""What a tokenizer decodes a part of a character to."""
_MOST_BYTES = 4
LEGEND = "prompt «trained» ⟦stop⟧ ‹rejected›"


class Token(NamedTuple):
    """One token of a row."""

    id: int
    text: str
    """Where several tokens make one character, the last has it and the others are empty."""
    part: Part


def tokens_of(
    row: Row, decode: Callable[[Iterable[int]], str], stop_ids: Collection[int]
) -> list[Token]:
    """The tokens of a row in order, those of a rejected answer after the others. An answer that
    feedback calls bad is a rejected one too."""
    given: Part = "rejected" if row.desirable is False else "trained"
    parts: list[Part] = [
        "prompt" if label == IGNORED else "stop" if number in stop_ids else given
        for number, label in zip(row.input_ids, row.labels, strict=True)
    ]
    parts += ["rejected"] * len(row.rejected)
    ids = row.input_ids + row.rejected
    return list(map(Token, ids, _texts(ids, parts, decode), parts))


def _texts(
    ids: Sequence[int], parts: Sequence[Part], decode: Callable[[Iterable[int]], str]
) -> Iterator[str]:
    """The text of each token; a character that is cut into several comes with its last."""
    pending: list[int] = []
    for place, number in enumerate(ids):
        pending.append(number)
        text = decode(pending)
        last = place + 1 == len(ids) or parts[place + 1] != parts[place]
        if text.endswith(_BROKEN) and len(pending) < _MOST_BYTES and not last:
            yield ""
        else:
            yield text
            pending = []


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
