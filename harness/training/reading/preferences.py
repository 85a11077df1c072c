"""Rows that say which answer is better: preference pairs, ranked lists, feedback.

Knows nothing of files, nor of what a trainer does with the two answers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, NamedTuple

from harness.training.reading.chats import context, text
from harness.training.reading.example import BadRow, show
from harness.training.reading.messages import conversation, listed, message, turns
from harness.types import Message

LABELS = ("label", "kto_tag", "tag", "rating")
"""Columns that may hold feedback."""
_GOOD = ("true", "1", "+1", "1.0", "good", "desirable")
_BAD = ("false", "0", "-1", "0.0", "-1.0", "bad", "undesirable")
_TRANSCRIPT = re.compile(r"\n\n(Human|Assistant):[ \t]*")
"""Turns of Anthropic's hh-rlhf, which writes a chat as one text."""


class Pair(NamedTuple):
    """A better and a worse answer after the same messages."""

    messages: tuple[Message, ...]
    better: Message
    worse: Message
    number: int | None = None
    """Its place in a ranked list, from 1."""


def pair(row: dict[str, Any]) -> Pair:
    """chosen and rejected: texts, single turns or whole chats that differ in the last turn.
    Raises BadRow."""
    chosen, rejected = (_answers(row, key) for key in ("chosen", "rejected"))
    before = context(row)
    if len(chosen) == len(rejected) == 1:
        shared = before
    else:
        shared = _joined(before, _shared(chosen, rejected))
    return _pair(shared, chosen[-1], rejected[-1])


def ranked(row: dict[str, Any]) -> Iterator[Pair | tuple[int, BadRow]]:
    """Neighbours in a list of answers, best first; for neighbours that are the same, their number
    and why they are no pair. Raises BadRow."""
    answers = listed(row.get("answers"))
    if not isinstance(answers, list) or not all(isinstance(each, str) for each in answers):
        raise BadRow(f"answers = {show(answers)}; accepted: a list of texts, the best first")
    if len(answers) < 2:
        raise BadRow(f"answers: {len(answers)} of them; accepted: two or more, the best first")
    messages = context(row)
    replies = [Message(role="assistant", content=each) for each in answers]
    for number, (better, worse) in enumerate(pairwise(replies), 1):
        try:
            yield _pair(messages, better, worse)._replace(number=number)
        except BadRow as bad:
            yield number, bad


def has_feedback(row: dict[str, Any]) -> bool:
    """Whether a column of the row judges its answer."""
    return any(row.get(key) is not None and _verdict(key, row[key]) is not None for key in LABELS)


def feedback(row: dict[str, Any]) -> bool:
    """Whether the row's answer is one to give. Raises BadRow."""
    key = next((key for key in LABELS if row.get(key) is not None), "label")
    verdict = _verdict(key, row.get(key))
    if verdict is None:
        accepted = "1, -1" if key == "rating" else "true, false, 1, 0, -1, good, bad"
        raise BadRow(f"{key} = {show(row.get(key))}; accepted: {accepted}")
    return verdict


def _verdict(key: str, value: Any) -> bool | None:
    if not isinstance(value, bool | int | float | str):
        return None
    text = str(value).strip().lower()
    if text in ("0", "0.0") and key == "rating":  # in a rating of ±1, neither
        return None
    return True if text in _GOOD else False if text in _BAD else None


def _pair(messages: tuple[Message, ...], better: Message, worse: Message) -> Pair:
    if not messages or messages[-1].role == "system":
        raise BadRow("the answers answer nothing: no prompt, and no turns before them")
    if messages[-1].role == "assistant":
        raise BadRow("an assistant's turn stands before the answers")
    for name, each in (("chosen", better), ("rejected", worse)):
        if each.role != "assistant":
            raise BadRow(f"{name} ends with the {each.role}'s turn; accepted: the assistant's")
    if better == worse:
        raise BadRow("the better and the worse answer are the same")
    return Pair(messages, better, worse)


def _answers(row: dict[str, Any], key: str) -> tuple[Message, ...]:
    value = row.get(key)
    if isinstance(value, str) and value.startswith("\n\nHuman:"):
        return _transcript(value)
    if isinstance(value, dict):
        return (message(value, key),)
    messages = turns(value)
    if messages is not None:
        return conversation(messages, key).messages
    return (Message(role="assistant", content=text(row, key)),)


def _transcript(value: str) -> tuple[Message, ...]:
    _, *parts = _TRANSCRIPT.split(value)
    return tuple(
        Message(role="user" if speaker == "Human" else "assistant", content=said.strip())
        for speaker, said in zip(parts[::2], parts[1::2], strict=True)
    )


def _shared(chosen: tuple[Message, ...], rejected: tuple[Message, ...]) -> tuple[Message, ...]:
    for place, (one, other) in enumerate(zip(chosen[:-1], rejected[:-1], strict=False)):
        if one != other:
            raise BadRow(f"chosen and rejected differ at turn {place}, before the last turn")
    if len(chosen) != len(rejected):
        raise BadRow(f"chosen has {len(chosen)} turns, rejected {len(rejected)}")
    return chosen[:-1]


def _joined(before: tuple[Message, ...], shared: tuple[Message, ...]) -> tuple[Message, ...]:
    """The turns before the answers, where both the row's prompt and its chats have them."""
    system = before[:1] if before and before[0].role == "system" else ()
    asked = before[len(system) :]
    if system and shared[0].role != "system":
        shared = (*system, *shared)
    said = {each.content.strip() for each in shared if each.role == "user"}
    for each in asked:
        if each.role == "user" and each.content.strip() not in said:
            raise BadRow(f"prompt = {show(each.content)}: chosen and rejected do not hold it")
    return shared
