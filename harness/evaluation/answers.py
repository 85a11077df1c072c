"""What an endpoint may answer, read in one place: completions of token ids, and chat.

Types are strict and unknown fields are ignored, so that past this module an answer is either
well-formed or a ValueError that says where it is not. Knows nothing of sockets, items or judges.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

Ids = tuple[int, ...]
_SCORES = ("1", "2", "3", "4", "5")


class Answer(NamedTuple):
    """One completion as the endpoint gave it."""

    text: str
    finish_reason: str
    prompt_ids: Ids | None
    """None where the endpoint does not return token ids."""
    token_ids: Ids | None
    n_tokens: int
    duration_s: float
    digits: dict[int, float] | None
    """Log-probabilities of the digits 1–5 where the text's last digit stands, if asked for."""
    prompt_logprobs: tuple[float | None, ...] | None
    """Log-probability of each prompt id after those before it, if asked for; None for the first."""


class _Shape(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True)


class _Part(_Shape):
    type: Literal["text"]
    text: str


class _Message(_Shape):
    content: str | tuple[_Part, ...] | None = None

    @property
    def text(self) -> str:
        if isinstance(self.content, tuple):
            return "".join(part.text for part in self.content)
        return self.content or ""


class _Top(_Shape):
    token: str
    logprob: float


class _Place(_Shape):
    token: str
    top_logprobs: tuple[_Top, ...] = ()


class _ChatLogprobs(_Shape):
    content: tuple[_Place, ...] | None = None


class _TextLogprobs(_Shape):
    tokens: tuple[str, ...] = ()
    top_logprobs: tuple[dict[str, float] | None, ...] | None = None


class _PromptLogprob(_Shape):
    logprob: float


class _Completion(_Shape):
    index: int
    text: str
    finish_reason: str | None = None
    token_ids: Ids | None = None
    prompt_token_ids: Ids | None = None
    logprobs: _TextLogprobs | None = None
    prompt_logprobs: tuple[dict[str, _PromptLogprob] | None, ...] | None = None


class _Completions(_Shape):
    choices: tuple[_Completion, ...]


class _ChatChoice(_Shape):
    message: _Message
    finish_reason: str | None = None
    token_ids: Ids | None = None
    logprobs: _ChatLogprobs | None = None


class _Usage(_Shape):
    completion_tokens: int | None = None


class _Chat(_Shape):
    choices: tuple[_ChatChoice, ...]
    prompt_token_ids: Ids | None = None
    usage: _Usage | None = None


_S = TypeVar("_S", bound=_Shape)


def read_completions(body: bytes, n_prompts: int, duration_s: float) -> list[Answer]:
    """The answers of one /v1/completions response, in the order of its prompts.

    Raises ValueError for any other shape, and where an answer is missing or comes twice.
    """
    choices = sorted(_parse(_Completions, body).choices, key=lambda each: each.index)
    if [each.index for each in choices] != list(range(n_prompts)):
        raise ValueError(f"{len(choices)} answers to {n_prompts} prompts, or one of them twice")
    return [
        Answer(
            text=each.text,
            finish_reason=each.finish_reason or "unknown",
            prompt_ids=each.prompt_token_ids,
            token_ids=each.token_ids,
            n_tokens=len(each.token_ids or ()),
            duration_s=duration_s,
            digits=_digits(_text_places(each.logprobs)) if each.logprobs else None,
            prompt_logprobs=_of_prompt(each.prompt_logprobs, each.prompt_token_ids),
        )
        for each in choices
    ]


def read_chat(body: bytes, duration_s: float) -> Answer:
    """The first choice of one /v1/chat/completions response. Raises ValueError."""
    chat = _parse(_Chat, body)
    if not chat.choices:
        raise ValueError("an answer without choices")
    choice = chat.choices[0]
    n_tokens = chat.usage.completion_tokens if chat.usage else None
    return Answer(
        text=choice.message.text,
        finish_reason=choice.finish_reason or "unknown",
        prompt_ids=chat.prompt_token_ids,
        token_ids=choice.token_ids,
        n_tokens=len(choice.token_ids) if choice.token_ids is not None else n_tokens or 0,
        duration_s=duration_s,
        digits=_digits(_chat_places(choice.logprobs)) if choice.logprobs else None,
        prompt_logprobs=None,
    )


def _parse(shape: type[_S], body: bytes) -> _S:
    try:
        return shape.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"{where}: {first['msg']}" if where else first["msg"]) from None


_Places = Iterable[tuple[str, Mapping[str, float]]]
"""Of each place in an answer: its token, and tokens that could stand there → log-probability."""


def _text_places(logprobs: _TextLogprobs) -> _Places:
    tops = logprobs.top_logprobs or ()
    if tops and len(tops) != len(logprobs.tokens):
        raise ValueError(f"logprobs: {len(tops)} top_logprobs of {len(logprobs.tokens)} tokens")
    return [(token, top or {}) for token, top in zip(logprobs.tokens, tops, strict=False)]


def _chat_places(logprobs: _ChatLogprobs) -> _Places:
    return [
        (place.token, {top.token: top.logprob for top in place.top_logprobs})
        for place in logprobs.content or ()
    ]


def _digits(places: _Places) -> dict[int, float] | None:
    """Log-probabilities of 1–5 at the last token with a digit; None if it has more than that.

    What cannot be a log-probability (not finite, above 0 by more than rounding) is left out.
    """
    for token, top in reversed(list(places)):
        if not any(letter.isdigit() for letter in token):
            continue
        if token.strip() not in _SCORES:
            return None
        found = {
            key.strip(): value
            for key, value in top.items()
            if math.isfinite(value) and value <= _ROUNDING
        }
        return {int(key): found[key] for key in _SCORES if key in found}
    return None


_ROUNDING = 1e-3


def _of_prompt(
    places: Sequence[Mapping[str, _PromptLogprob] | None] | None, prompt_ids: Ids | None
) -> tuple[float | None, ...] | None:
    if places is None or prompt_ids is None:
        return None
    if len(places) != len(prompt_ids):
        raise ValueError(f"prompt_logprobs: {len(places)} places of {len(prompt_ids)} prompt ids")
    return tuple(
        None if place is None else _of_token(place, token)
        for place, token in zip(places, prompt_ids, strict=True)
    )


def _of_token(place: Mapping[str, _PromptLogprob], token: int) -> float | None:
    if str(token) not in place:
        raise ValueError(f"prompt_logprobs: none for prompt id {token} at its own place")
    value = place[str(token)].logprob
    return value if math.isfinite(value) else None
