"""Proof that a template and a tokenizer kept what was said.

Training on text that a template dropped or rewrote would be training on something else, in silence.
Looks at rendered text only; knows no tokens.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harness.errors import DataError
from harness.types import Message

SHOWN = 120
"""Characters of a text that an error quotes."""
_OPEN, _CLOSE = "<think>", "</think>"


def require_asked(
    history: Sequence[Message], tools: Sequence[Mapping[str, Any]], served: str, source: str
) -> None:
    """Raises DataError unless the served prompt shows every tool, and all that was said to the
    assistant. (Templates may leave out its own earlier thoughts.)"""
    for each in history:
        wanted = each.content.strip()
        if each.role != "assistant" and not _shows(served, wanted):
            raise _dropped(source, f"{each.role}'s text", wanted, "prompt", served)
    for tool in tools:
        if not _shows(served, name := tool["function"]["name"]):
            raise _dropped(source, "tool", name, "prompt", served)


def require_answered(answer: Message, rendered: str, trained: str, stop: str, source: str) -> None:
    """Raises DataError unless the trained tokens spell what the template made of the turn, up to
    its stop token, and thoughts, answer and calls are all there.

    `rendered` is the turn as the template wrote it, `trained` the text of the trained tokens,
    which ends with `stop`.
    """
    said = trained.removesuffix(stop)
    if rendered.startswith(trained) and missing(answer, said) is None:
        return
    if wanted := missing(answer, rendered):
        raise _dropped(source, "assistant's text", wanted, "trained answer", rendered)
    # Tokenizers may write other spaces around their tokens, and composed letters.
    spelled = _letters(rendered).startswith(_letters(trained))
    if spelled and missing(answer, said) is None:
        return
    if spelled and stop in answer.content:
        raise DataError(
            f"{source}: the answer holds the stop token {stop!r}, so only {said[-SHOWN:]!r} of "
            "it would be trained",
            hint="write it differently, or end turns with another token in the template",
        )
    raise DataError(
        f"{source}: the tokenizer cannot write the answer: of {rendered[:SHOWN]!r} it makes "
        f"{trained[:SHOWN]!r}",
        hint="leave the row out, or use a base whose tokenizer knows these letters",
    )


def _letters(text: str) -> str:
    return "".join(unicodedata.normalize("NFKC", text).split())


def missing(answer: Message, text: str) -> str | None:
    """The first of the answer's parts that `text` lacks: thoughts, then what is said, then each
    call's name, argument names and argument texts in any order."""
    for wanted in filter(None, _said(answer)):
        form = next((form for form in _forms(wanted) if form in text), None)
        if form is None:
            return wanted
        text = text.partition(form)[2]
    called = (each for call in answer.tool_calls for each in (call.name, *_texts(call.arguments)))
    return next((each for each in called if not _shows(text, each)), None)


def _said(answer: Message) -> Iterator[str]:
    if answer.reasoning:
        yield answer.reasoning.strip()
    thoughts, tag, rest = answer.content.partition(_CLOSE)
    if tag and thoughts.lstrip().startswith(_OPEN):
        # Thoughts in the answer's text; templates that know the tags lay them out anew.
        yield thoughts.strip().removeprefix(_OPEN).strip()
        yield rest.strip()
    else:
        yield answer.content.strip()


def _texts(value: Any) -> Iterator[str]:
    """Every key and text in a JSON value. Numbers have too many spellings to look for."""
    if isinstance(value, str):
        yield value.strip()
    elif isinstance(value, dict):
        for key, each in value.items():
            yield key
            yield from _texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)


def _shows(text: str, wanted: str) -> bool:
    return wanted in text or any(form in text for form in _forms(wanted))


def _forms(wanted: str) -> Iterator[str]:
    """As it is, as a tokenizer normalises it, and as a template may write it in JSON."""
    yield wanted
    yield unicodedata.normalize("NFC", wanted)
    yield json.dumps(wanted, ensure_ascii=False)[1:-1]
    yield json.dumps(wanted)[1:-1]


def _dropped(source: str, what: str, wanted: str, place: str, text: str) -> DataError:
    who = what if what.startswith("tool") else f"the {what}"
    return DataError(
        f"{source}: the chat template drops or changes {who}: {wanted[:SHOWN]!r} is not in the "
        f"{place} {text[:SHOWN]!r}",
        hint="use a template that keeps every message's content as it is (chat.template), or "
        "write the text as the template leaves it",
    )
