"""Chats to training rows: the tokens a server would feed the model, then what it must produce.

For every assistant turn the serving prompt is rendered and must be a text prefix of the chat
rendered with the turn. Only the completion is labelled, its stop token included. Knows nothing
of files, formats or trainers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from harness.chat.template import ChatTokenizer
from harness.errors import DataError
from harness.types import Message

IGNORED = -100
"""Label of a token that is not trained (the ignore index of torch's cross entropy)."""
_SHOWN = 120


class Row(NamedTuple):
    """One training example."""

    input_ids: tuple[int, ...]
    labels: tuple[int, ...]
    """The token id where it is trained, −100 elsewhere; as long as `input_ids`."""
    source: str
    """file:line and the first assistant turn in it that this row trains."""
    messages: tuple[Message, ...]
    """The chat up to, not including, that turn."""
    n_prompt: int
    """Tokens of that turn's serving prompt; the first label stands right after them."""
    tools: tuple[dict[str, Any], ...] = ()
    """Function definitions the template was given."""
    rejected: tuple[int, ...] = ()
    """Preference data: the worse completion after the same prompt, stop token included."""
    desirable: bool | None = None
    """Feedback data: whether the completion is one to give."""


class _Turn(NamedTuple):
    prompt: tuple[int, ...]
    completion: tuple[int, ...]
    source: str
    messages: tuple[Message, ...]


def encode(messages: Sequence[Message], chat: ChatTokenizer, source: str) -> list[Row]:
    """One row for the whole chat where each turn's serving prompt starts with the tokens of the
    turns before it; a row of its own for each turn where it does not.

    `source` is file:line. Raises DataError that names it, the turn, and the served and the
    trained text, for a turn that could not be served as it would be trained.
    """
    rows: list[Row] = []
    places = [index for index, each in enumerate(messages) if each.role == "assistant"]
    if not places:
        raise DataError(
            f"{source}: no assistant turn, so nothing to train on",
            hint="every example needs at least one assistant message",
        )
    for number, place in enumerate(places, 1):
        turn = _encode_turn(messages[: place + 1], chat, f"{source} turn {number}")
        if rows and turn.prompt[: len(rows[-1].input_ids)] == rows[-1].input_ids:
            rows[-1] = _extend(rows[-1], turn)
        else:
            rows.append(_start(turn))
    return rows


def _encode_turn(messages: Sequence[Message], chat: ChatTokenizer, source: str) -> _Turn:
    history = tuple(messages[:-1])
    if not history:
        raise DataError(
            f"{source}: the chat starts with the assistant, and a server cannot be asked "
            "without a prompt",
            hint="put a user or system message before it",
        )
    try:
        served = chat.render(history, add_generation_prompt=True)
        trained = chat.render(messages, add_generation_prompt=False)
    except DataError as error:
        raise DataError(f"{source}: {error}", hint=error.hint) from None
    if not trained.startswith(served):
        raise _mismatch(source, served, trained)
    _require_text(history, messages[-1], served, trained[len(served) :], source)
    prompt, completion = _split(served, trained, chat, source)
    return _Turn(prompt, _until_stop(completion, chat, source), source, history)


def _require_text(
    history: Sequence[Message], answer: Message, served: str, completion: str, source: str
) -> None:
    """A template that drops or rewrites what was said would train on something else."""
    asked = [each for each in history if each.role == "user"][-1:]
    for message, text, place in [(each, served, "prompt") for each in asked] + [
        (answer, completion, "trained answer")
    ]:
        wanted = message.content.strip()
        if wanted not in text:
            raise DataError(
                f"{source}: the chat template drops or changes the {message.role}'s text: "
                f"{wanted[:_SHOWN]!r} is not in the {place} {text[:_SHOWN]!r}",
                hint="use a template that keeps every message's content as it is "
                "(chat.template), or write the text as the template leaves it",
            )


def _split(
    served: str, trained: str, chat: ChatTokenizer, source: str
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Ids of the served prompt and of the rest. Where a merge crosses the border, the rest is
    tokenised by itself: the prompt stays what is served."""
    prompt, whole = chat.encode(served), chat.encode(trained)
    if whole[: len(prompt)] == prompt:
        return prompt, whole[len(prompt) :]
    completion = chat.encode(trained[len(served) :])
    if chat.decode(prompt + completion) != chat.decode(whole):
        raise DataError(
            f"{source}: the answer cannot be tokenised apart from its prompt, which ends "
            f"{served[-_SHOWN:]!r}",
            hint="end the template's generation prompt at a token border",
        )
    return prompt, completion


def _until_stop(completion: tuple[int, ...], chat: ChatTokenizer, source: str) -> tuple[int, ...]:
    place = next((i for i, each in enumerate(completion) if each in chat.stop_ids), None)
    text = chat.decode(completion)
    stops = [chat.decode([each]) for each in chat.stop_ids]
    if place is None:
        raise DataError(
            f"{source}: the trained answer ends without a stop token, so the model would never "
            f"stop: {text[-_SHOWN:]!r}; stop tokens: {stops}",
            hint="end the assistant turn with one of them in the template, or add its end token "
            "to chat.stop",
        )
    rest = chat.decode(each for each in completion[place + 1 :] if each not in chat.stop_ids)
    if rest.strip():
        raise DataError(
            f"{source}: text after the stop token would never be produced: {rest[:_SHOWN]!r}; "
            f"stop tokens: {stops}",
            hint="remove the special-token text from the answer, or end the turn with the stop "
            "token in the template",
        )
    return completion[: place + 1]


def _mismatch(source: str, served: str, trained: str) -> DataError:
    pairs = enumerate(zip(served, trained, strict=False))
    start = next((i for i, (a, b) in pairs if a != b), min(len(served), len(trained)))
    show = slice(max(0, start - _SHOWN // 2), start + _SHOWN // 2)
    return DataError(
        f"{source}: the served prompt is not how the trained chat begins; "
        f"served …{served[show]!r}…, trained …{trained[show]!r}…",
        hint="use a chat template (chat.template) or chat.kwargs, such as enable_thinking: false, "
        "with which both begin alike",
    )


def _start(turn: _Turn) -> Row:
    return Row(
        input_ids=turn.prompt + turn.completion,
        labels=(IGNORED,) * len(turn.prompt) + turn.completion,
        source=turn.source,
        messages=turn.messages,
        n_prompt=len(turn.prompt),
    )


def _extend(row: Row, turn: _Turn) -> Row:
    n_new = len(turn.prompt) - len(row.input_ids)
    return row._replace(
        input_ids=turn.prompt + turn.completion,
        labels=row.labels + (IGNORED,) * n_new + turn.completion,
    )
