"""Chats to training rows: the tokens a server would feed the model, then what it must produce.

For every assistant turn the serving prompt is rendered and must be a text prefix of the chat
rendered with the turn. Only the completion is labelled, its stop token included. Supervised,
preference and feedback rows are made alike. Knows nothing of files, formats or trainers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from harness.chat.kept import SHOWN, require_answered, require_asked
from harness.chat.template import ChatTokenizer
from harness.chat.wire import request_tools
from harness.errors import DataError
from harness.types import Message

IGNORED = -100
"""Label of a token that is not trained (the ignore index of torch's cross entropy)."""


class Row(NamedTuple):
    """One training example."""

    input_ids: tuple[int, ...]
    labels: tuple[int, ...]
    """The token id where it is trained, −100 elsewhere; as long as `input_ids`."""
    source: str
    """file:line and the first assistant turn in it that this row trains."""
    messages: tuple[Message, ...]
    """The chat up to, not including, that turn, as a client sends it."""
    n_prompt: int
    """Tokens of that turn's serving prompt; the first label stands right after them."""
    tools: tuple[dict[str, Any], ...] = ()
    """Function definitions the template was given."""
    rejected: tuple[int, ...] = ()
    """Preference data: the worse completion after the same prompt, stop token included."""
    desirable: bool | None = None
    """Feedback data: whether the completion is one to give."""


Tools = Sequence[Mapping[str, Any]]


class _Turn(NamedTuple):
    prompt: tuple[int, ...]
    completion: tuple[int, ...]
    source: str
    messages: tuple[Message, ...]
    tools: tuple[dict[str, Any], ...]


def encode(
    messages: Sequence[Message],
    chat: ChatTokenizer,
    source: str,
    *,
    tools: Tools = (),
    untrained: frozenset[int] = frozenset(),
) -> list[Row]:
    """One row for the whole chat where each turn's serving prompt starts with the tokens of the
    turns before it; a row of its own for each turn where it does not.

    `source` is file:line, `tools` the function definitions given to the template, `untrained` the
    places in `messages` of assistant turns that are history only. Raises DataError that names
    the source, the turn, and the served and the trained text, for a turn that could not be
    served as it would be trained.
    """
    messages, definitions = _admit(messages, tools, chat, source)
    answers = [place for place, each in enumerate(messages) if each.role == "assistant"]
    if untrained.issuperset(answers):
        raise _nothing_to_train(source, answers)
    rows: list[Row] = []
    for number, place in enumerate(answers, 1):
        if place in untrained:
            continue
        turn = _turn(messages[: place + 1], definitions, chat, f"{source} turn {number}")
        if rows and turn.prompt[: len(rows[-1].input_ids)] == rows[-1].input_ids:
            rows[-1] = _extend(rows[-1], turn)
        else:
            rows.append(_start(turn))
    return rows


def as_sent(messages: Sequence[Message], chat: ChatTokenizer) -> tuple[Message, ...]:
    """The chat as a client sends it, which is what rows hold: thoughts stand in front of the
    answer where the template has no place for them, as they do in what the model then says."""
    if not any(each.reasoning for each in messages) or chat.reads_reasoning:
        return tuple(messages)
    return tuple(_with_thoughts(each) for each in messages)


def encode_preference(
    messages: Sequence[Message],
    rejected: Message,
    chat: ChatTokenizer,
    source: str,
    *,
    tools: Tools = (),
) -> Row:
    """A row with the better answer, which ends `messages`, and the worse one after the same
    prompt. Both must pass every check of `encode`; raises DataError, also where they are the
    same tokens."""
    (*messages, worse), definitions = _admit([*messages, rejected], tools, chat, source)
    place = _last_turn(messages, source)
    *history, better = messages
    chosen = _turn((*history, better), definitions, chat, f"{place} (chosen)")
    other = _turn((*history, worse), definitions, chat, f"{place} (rejected)")
    if chosen.completion == other.completion:
        raise DataError(
            f"{place}: chosen and rejected are the same answer: {better.content[:SHOWN]!r}",
            hint="leave the pair out; it prefers nothing",
        )
    return _start(chosen)._replace(source=place, rejected=other.completion)


def encode_feedback(
    messages: Sequence[Message],
    desirable: bool,
    chat: ChatTokenizer,
    source: str,
    *,
    tools: Tools = (),
) -> Row:
    """A row with one answer, which ends `messages`, and whether it is one to give. Raises
    DataError as `encode`."""
    messages, definitions = _admit(messages, tools, chat, source)
    place = _last_turn(messages, source)
    return _start(_turn(messages, definitions, chat, place))._replace(desirable=desirable)


def _admit(
    messages: Sequence[Message], tools: Tools, chat: ChatTokenizer, source: str
) -> tuple[tuple[Message, ...], tuple[dict[str, Any], ...]]:
    """The chat and the tools as a request carries them."""
    if not chat.allow_special_tokens:
        for number, each in enumerate(messages, 1):
            _require_plain(each, chat, f"{source} message {number}")
    try:
        return as_sent(messages, chat), tuple(request_tools(tools))
    except DataError as error:
        raise DataError(f"{source}: {error}", hint=error.hint) from None


def _require_plain(message: Message, chat: ChatTokenizer, place: str) -> None:
    if chat.special_texts is None:
        return
    calls = (json.dumps(call.arguments, ensure_ascii=False) for call in message.tool_calls)
    names = (call.name for call in message.tool_calls)
    for text in (message.content, message.reasoning, message.name, *names, *calls):
        if text and (found := chat.special_texts.search(text)):
            start = max(0, found.start() - SHOWN // 2)
            raise DataError(
                f"{place} ({message.role}): the text spells the special token {found[0]!r}: "
                f"…{text[start : found.end() + SHOWN // 2]!r}…",
                hint="write it differently, or set chat.allow_special_tokens: true to have it "
                "read as that token in training and serving",
            )


def _with_thoughts(message: Message) -> Message:
    if not message.reasoning or message.role != "assistant":
        return message
    content = f"<think>\n{message.reasoning}\n</think>\n\n{message.content}"
    return message.model_copy(update={"content": content, "reasoning": None})


def _nothing_to_train(source: str, answers: Sequence[int]) -> DataError:
    if not answers:
        return DataError(
            f"{source}: no assistant turn, so nothing to train on",
            hint="every example needs at least one assistant message",
        )
    return DataError(
        f"{source}: every assistant turn is marked as not to train, so nothing is left",
        hint="mark at least one to be trained, or leave the example out",
    )


def _last_turn(messages: Sequence[Message], source: str) -> str:
    """file:line and the number of the assistant turn that ends the chat."""
    if not messages or messages[-1].role != "assistant":
        said = f"a {messages[-1].role}'s message" if messages else "nothing"
        raise DataError(
            f"{source}: the chat ends with {said}, and the answer to learn from must end it",
            hint="end the chat with the assistant's message",
        )
    return f"{source} turn {sum(each.role == 'assistant' for each in messages)}"


def _turn(
    messages: Sequence[Message],
    tools: tuple[dict[str, Any], ...],
    chat: ChatTokenizer,
    source: str,
) -> _Turn:
    *history, answer = messages
    if not history:
        raise DataError(
            f"{source}: the chat starts with the assistant, and a server cannot be asked "
            "without a prompt",
            hint="put a user or system message before it",
        )
    try:
        served = chat.render(history, add_generation_prompt=True, tools=tools)
        trained = chat.render(messages, add_generation_prompt=False, tools=tools)
    except DataError as error:
        raise DataError(f"{source}: {error}", hint=error.hint) from None
    if not trained.startswith(served):
        raise _mismatch(source, served, trained)
    require_asked(history, tools, served, source)
    prompt, completion = _split(served, trained, chat, source)
    completion = _until_stop(completion, chat, source)
    spelled, stop = chat.decode(completion), chat.decode(completion[-1:])
    require_answered(answer, trained[len(served) :], spelled, stop, source)
    return _Turn(prompt, completion, source, tuple(history), tools)


def _split(
    served: str, trained: str, chat: ChatTokenizer, source: str
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Ids of the served prompt and of the rest. Where a merge crosses the border, the rest is
    tokenised by itself: the prompt stays what is served."""
    prompt, whole = chat.encode_all([served, trained])
    if whole[: len(prompt)] == prompt:
        return prompt, whole[len(prompt) :]
    completion = chat.encode(trained[len(served) :])
    if chat.decode(prompt + completion) != chat.decode(whole):
        raise DataError(
            f"{source}: the answer cannot be tokenised apart from its prompt, which ends "
            f"{served[-SHOWN:]!r}",
            hint="end the template's generation prompt at a token border",
        )
    return prompt, completion


def _until_stop(completion: tuple[int, ...], chat: ChatTokenizer, source: str) -> tuple[int, ...]:
    found = [completion.index(each) for each in chat.stop_ids if each in completion]
    if not found:
        raise DataError(
            f"{source}: the trained answer ends without a stop token, so the model would never "
            f"stop: {chat.decode(completion)[-SHOWN:]!r}; {_stops(chat)}",
            hint="end the assistant turn with one of them in the template, or add its end token "
            "to chat.stop",
        )
    place = min(found)
    rest = [each for each in completion[place + 1 :] if each not in chat.stop_ids]
    if rest and (text := chat.decode(rest)).strip():
        raise DataError(
            f"{source}: text after the stop token would never be produced: {text[:SHOWN]!r}; "
            f"{_stops(chat)}",
            hint="remove the special-token text from the answer, or end the turn with the stop "
            "token in the template",
        )
    return completion[: place + 1]


def _stops(chat: ChatTokenizer) -> str:
    return f"stop tokens: {[chat.decode([each]) for each in chat.stop_ids]}"


def _mismatch(source: str, served: str, trained: str) -> DataError:
    pairs = enumerate(zip(served, trained, strict=False))
    start = next((i for i, (a, b) in pairs if a != b), min(len(served), len(trained)))
    show = slice(max(0, start - SHOWN // 2), start + SHOWN // 2)
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
        tools=turn.tools,
    )


def _extend(row: Row, turn: _Turn) -> Row:
    n_new = len(turn.prompt) - len(row.input_ids)
    return row._replace(
        input_ids=turn.prompt + turn.completion,
        labels=row.labels + (IGNORED,) * n_new + turn.completion,
    )
