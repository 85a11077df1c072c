"""One OpenAI-compatible endpoint: completions of token ids, and chat.

The only place of the evaluation that opens sockets, retries or times out. Knows nothing of items,
judges or caches; every failure reaches the caller as EndpointError with the endpoint's own words.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Coroutine, Iterable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from harness.errors import EndpointError, HarnessError
from harness.types import Message

if TYPE_CHECKING:
    from openai import AsyncOpenAI

T = TypeVar("T")
NO_KEY = "none"
"""Sent where an endpoint needs no key; the client library insists on one."""


class Answer(NamedTuple):
    """One completion as the endpoint gave it."""

    text: str
    finish_reason: str
    prompt_ids: tuple[int, ...] | None
    """None where the endpoint does not return token ids."""
    token_ids: tuple[int, ...] | None
    n_tokens: int
    duration_s: float
    digits: dict[int, float] | None
    """Log-probabilities of the digits 1–5 where the text's last digit stands, if asked for."""
    prompt_logprobs: tuple[float | None, ...] | None
    """Log-probability of each prompt id after those before it, if asked for; None for the first."""


class Client:
    """An async context manager with bounded concurrency."""

    def __init__(
        self,
        endpoint: str,
        *,
        api_key: str = NO_KEY,
        concurrency: int = 4,
        timeout_s: float = 300.0,
        retries: int = 2,
    ) -> None:
        self.endpoint = endpoint
        self._api_key, self._timeout_s, self._retries = api_key, timeout_s, retries
        self._limit = asyncio.Semaphore(concurrency)

    async def __aenter__(self) -> Client:
        import openai

        self._errors = openai
        self._client: AsyncOpenAI = openai.AsyncOpenAI(
            base_url=f"{self.endpoint.rstrip('/').removesuffix('/v1')}/v1",
            api_key=self._api_key,
            timeout=self._timeout_s,
            max_retries=self._retries,
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._client.close()

    async def complete(
        self, model: str, prompts: Sequence[Sequence[int]], **options: Any
    ) -> list[Answer]:
        """Complete prompts given as token ids, in one request; one answer a prompt, in order.

        `options` go to /v1/completions as they are. Raises EndpointError.
        """
        body = {"return_token_ids": True, **options.pop("extra_body", {})}
        response, duration_s = await self._call(
            self._client_completions, model, prompt=[list(ids) for ids in prompts], **options,
            extra_body=body,
        )  # fmt: skip
        choices = sorted(response["choices"], key=lambda choice: choice["index"])
        if len(choices) != len(prompts):
            raise EndpointError(
                f"{self.endpoint}: {len(choices)} answers to {len(prompts)} prompts from {model}"
            )
        return [_answer(choice, choice["text"], duration_s) for choice in choices]

    async def chat(self, model: str, messages: Sequence[Message], **options: Any) -> Answer:
        """One chat completion. Raises EndpointError."""
        response, duration_s = await self._call(
            self._client_chat, model, messages=[message.dump() for message in messages], **options
        )
        if not response.get("choices"):
            raise EndpointError(f"{self.endpoint}: an answer without choices from {model}")
        choice = response["choices"][0]
        text = (choice.get("message") or {}).get("content") or ""
        prompt_ids = response.get("prompt_token_ids")
        n_tokens = (response.get("usage") or {}).get("completion_tokens")
        return _answer(choice | {"prompt_token_ids": prompt_ids}, text, duration_s, n_tokens)

    async def _client_completions(self, **options: Any) -> Any:
        return await self._client.completions.with_raw_response.create(**options)

    async def _client_chat(self, **options: Any) -> Any:
        return await self._client.chat.completions.with_raw_response.create(**options)

    async def _call(self, method: Any, model: str, **options: Any) -> tuple[dict[str, Any], float]:
        async with self._limit:
            started = time.perf_counter()
            try:
                raw = await method(model=model, **options)
                response = raw.http_response.json()
            except self._errors.APIStatusError as error:
                raise EndpointError(
                    f"{self.endpoint} answered {error.status_code} for model {model!r}: "
                    f"{_first_line(error.message)}"
                ) from None
            except self._errors.APIConnectionError as error:
                raise EndpointError(
                    f"{self.endpoint}: {type(error).__name__}: {_first_line(str(error))}",
                    hint="is the server running? harness serve",
                ) from None
            except (self._errors.OpenAIError, ValueError) as error:
                raise EndpointError(
                    f"{self.endpoint}: not an OpenAI-compatible answer: {_first_line(str(error))}"
                ) from None
            if not isinstance(response, dict):
                raise EndpointError(f"{self.endpoint}: not an OpenAI-compatible answer")
            return response, time.perf_counter() - started


async def all_of(coroutines: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Run all at once; the first HarnessError stops the others and is raised by itself."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(each) for each in coroutines]
    except* HarnessError as errors:
        raise _first(errors) from None
    return [task.result() for task in tasks]


def _first(group: BaseExceptionGroup[HarnessError]) -> HarnessError:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error


def key_from_env(variable: str, endpoint: str) -> str:
    """The API key in an environment variable. Raises EndpointError when it is not set."""
    key = os.environ.get(variable)
    if not key:
        raise EndpointError(
            f"judge.api_key_env = {variable!r}: not set, but {endpoint} is not our own server",
            hint=f"export {variable}=… (any word will do where the endpoint needs no key)",
        )
    return key


def _first_line(text: str) -> str:
    return text.strip().splitlines()[0][:300] if text.strip() else "no message"


def _answer(
    choice: dict[str, Any], text: str, duration_s: float, n_tokens: int | None = None
) -> Answer:
    token_ids = choice.get("token_ids")
    prompt_ids = choice.get("prompt_token_ids")
    return Answer(
        text=text,
        finish_reason=choice.get("finish_reason") or "unknown",
        prompt_ids=None if prompt_ids is None else tuple(prompt_ids),
        token_ids=None if token_ids is None else tuple(token_ids),
        n_tokens=len(token_ids) if token_ids is not None else n_tokens or 0,
        duration_s=duration_s,
        digits=_digits(choice.get("logprobs")),
        prompt_logprobs=_of_prompt(choice.get("prompt_logprobs"), prompt_ids),
    )


def _of_prompt(
    places: list[dict[str, Any] | None] | None, prompt_ids: Sequence[int] | None
) -> tuple[float | None, ...] | None:
    if places is None or prompt_ids is None:
        return None
    return tuple(
        None if place is None else float(place[str(token)]["logprob"])
        for place, token in zip(places, prompt_ids, strict=True)
    )


def _digits(logprobs: Any) -> dict[int, float] | None:
    """Log-probabilities of 1–5 at the last digit token, from either route's shape."""
    if not isinstance(logprobs, dict):
        return None
    if logprobs.get("content"):
        places = [
            (place["token"], {top["token"]: top["logprob"] for top in place["top_logprobs"]})
            for place in logprobs["content"]
        ]
    else:
        places = list(
            zip(logprobs.get("tokens") or (), logprobs.get("top_logprobs") or (), strict=False)
        )
    for token, top in reversed(places):
        if token.strip() in _SCORES:
            found = {key.strip(): value for key, value in (top or {}).items()}
            return {int(key): found[key] for key in _SCORES if key in found}
    return None


_SCORES = ("1", "2", "3", "4", "5")
