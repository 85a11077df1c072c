"""One OpenAI-compatible endpoint: completions of token ids, and chat.

The only place of the evaluation that opens sockets, retries or times out. Knows nothing of items,
judges or caches; every failure reaches the caller as EndpointError with the endpoint's own words,
from which the API key has been taken out.
"""

from __future__ import annotations

import asyncio
import os
import re
import time
import urllib.parse
from collections.abc import Callable, Coroutine, Iterable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from harness.chat.wire import request_messages
from harness.errors import EndpointError
from harness.evaluation.answers import Answer, read_chat, read_completions
from harness.types import Message

if TYPE_CHECKING:
    import httpx2
    from openai import AsyncOpenAI

T = TypeVar("T")
API_KEY = "HARNESS_API_KEY"
"""The variable of the key that is shown to a `harness serve` with keys."""
NO_KEY = "none"
"""Sent where an endpoint needs no key; the client library insists on one."""
_SECRET_LENGTH = 8
"""A shorter key is a word like `x` or `1`, given to an endpoint that needs none; it is hidden in
errors where it stands alone, and an answer that contains it is left as it is."""


class Client:
    """An async context manager with bounded concurrency.

    `timeout_s` limits each attempt as a whole. Raises EndpointError for what is not a URL.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        api_key: str = NO_KEY,
        concurrency: int = 4,
        timeout_s: float = 300.0,
        retries: int = 2,
    ) -> None:
        self.endpoint, self._url = endpoint, api_url(endpoint)
        self._api_key, self._timeout_s, self._retries = api_key, timeout_s, retries
        self._limit = asyncio.Semaphore(concurrency)

    async def __aenter__(self) -> Client:
        import openai

        self._errors = openai
        self._client: AsyncOpenAI = openai.AsyncOpenAI(
            base_url=self._url,
            api_key=self._api_key,
            timeout=self._timeout_s,
            max_retries=self._retries,
            http_client=_http_client(self._timeout_s, trust_env=not is_loopback(self.endpoint)),
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
        answers = await self._call(
            self._client.completions.with_raw_response.create,
            lambda data, duration_s: read_completions(data, len(prompts), duration_s),
            model,
            prompt=[list(ids) for ids in prompts],
            extra_body=body,
            **options,
        )
        return [self._without_key(answer) for answer in answers]

    async def chat(self, model: str, messages: Sequence[Message], **options: Any) -> Answer:
        """One chat completion. Raises EndpointError."""
        answer = await self._call(
            self._client.chat.completions.with_raw_response.create,
            read_chat,
            model,
            messages=request_messages(messages),
            **options,
        )
        return self._without_key(answer)

    async def _call(
        self, method: Any, read: Callable[[bytes, float], T], model: str, **options: Any
    ) -> T:
        async with self._limit:
            started = time.perf_counter()
            try:
                raw = await method(model=model, **options)
                return read(raw.http_response.content, time.perf_counter() - started)
            except self._errors.APIStatusError as error:
                raise EndpointError(
                    f"{self.endpoint} answered {error.status_code} for model {model!r}: "
                    f"{own_words(error.message, self._api_key)}",
                    status=error.status_code,
                ) from None
            except self._errors.APIConnectionError as error:
                said = own_words(str(error), self._api_key)
                raise EndpointError(
                    f"{self.endpoint}: {type(error).__name__}: {said}",
                    hint="is the server running? harness serve",
                ) from None
            except (self._errors.OpenAIError, ValueError) as error:
                raise EndpointError(
                    f"{self.endpoint}: not an OpenAI-compatible answer for model {model!r}: "
                    f"{own_words(str(error), self._api_key)}"
                ) from None

    def _without_key(self, answer: Answer) -> Answer:
        if len(self._api_key) < _SECRET_LENGTH or self._api_key not in answer.text:
            return answer
        return answer._replace(text=answer.text.replace(self._api_key, "***"))


def _http_client(limit_s: float, *, trust_env: bool) -> httpx2.AsyncClient:
    """The client library's own, with a limit on the whole of an attempt: its timeouts are per
    read, so an endpoint that sends a byte now and then would never meet them."""
    import httpx2
    import openai

    class Limited(openai.DefaultAsyncHttpxClient):
        async def send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:
            try:
                async with asyncio.timeout(limit_s):
                    return await super().send(request, **options)
            except TimeoutError:
                raise httpx2.ReadTimeout("no whole answer in time", request=request) from None

    return Limited(trust_env=trust_env)


async def all_of(coroutines: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Run all at once; the first error stops the others and is raised by itself."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(each) for each in coroutines]
    except* Exception as errors:
        raise _first(errors) from None
    return [task.result() for task in tasks]


def _first(group: BaseExceptionGroup[Exception]) -> Exception:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error


def api_url(endpoint: str) -> str:
    """The address of an endpoint's API, which ends with /v1 whether or not `endpoint` does.

    Raises EndpointError for what is not a URL of a web server.
    """
    import httpx

    try:
        parts = urllib.parse.urlsplit(endpoint)
        host, _ = parts.hostname or "", parts.port  # reading the port checks it
        host.encode("idna")
        httpx.URL(endpoint)
        problem = "" if parts.scheme in ("http", "https") and host else "no http:// and host"
    except (ValueError, httpx.InvalidURL) as error:
        problem = str(error)
    if problem:
        raise EndpointError(
            f"endpoint {endpoint!r} is not a URL: {problem}",
            hint="accepted: http://host:port or https://host, as in https://api.openai.com",
        )
    return f"{endpoint.rstrip('/').removesuffix('/v1')}/v1"


def is_loopback(endpoint: str) -> bool:
    """An address of this machine, which no proxy of the environment must stand before."""
    host = urllib.parse.urlsplit(endpoint).hostname or ""
    return host in ("localhost", "::1") or host.startswith("127.")


def require_access(endpoint: str, api_key: str) -> None:
    """Ask an endpoint for its models, so that a wrong address or key is known before anything is
    spent. Endpoints without that route pass. Raises EndpointError."""
    import httpx

    url, headers = f"{api_url(endpoint)}/models", {"authorization": f"Bearer {api_key}"}
    try:
        with (
            httpx.Client(timeout=20, trust_env=not is_loopback(endpoint)) as client,
            client.stream("GET", url, headers=headers) as response,
        ):
            status = response.status_code
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        said = own_words(str(error) or type(error).__name__, api_key)
        raise EndpointError(
            f"judge.endpoint = {endpoint!r}: {said}",
            hint="is the address right and the server running?",
        ) from None
    if status in (401, 403):
        raise EndpointError(
            f"judge.endpoint = {endpoint!r} refuses the key (status {status})",
            hint="correct the key in the variable that judge.api_key_env names",
        )


def key_from_env(variable: str, endpoint: str) -> str:
    """The API key in an environment variable. Raises EndpointError when it is not set, or cannot
    be sent in a header."""
    key = os.environ.get(variable)
    if not key:
        raise EndpointError(
            f"judge.api_key_env = {variable!r}: not set, but {endpoint} is not our own server",
            hint=f"export {variable}=… (any word will do where the endpoint needs no key)",
        )
    if not _is_sendable(key):
        raise EndpointError(
            f"judge.api_key_env = {variable!r}: holds a space, a line break or a letter beyond "
            "ASCII, which no key does",
            hint=f"export {variable}=… with the key alone",
        )
    return key


def server_key() -> str:
    """The key in API_KEY, or NO_KEY. Raises EndpointError for what no header can carry."""
    key = os.environ.get(API_KEY) or NO_KEY
    if not _is_sendable(key):
        raise EndpointError(
            f"{API_KEY}: holds a space, a line break or a letter beyond ASCII, which no key does",
            hint=f"export {API_KEY}=… with the key alone",
        )
    return key


def _is_sendable(key: str) -> bool:
    return key.isascii() and key.isprintable() and " " not in key


def own_words(text: str, key: str) -> str:
    """The first line of an endpoint's own words, fit for a record: without the key, and without
    the lone surrogates that UTF-8 cannot hold."""
    text = text.encode("utf-8", "replace").decode()
    if key != NO_KEY:
        secret = re.escape(key)
        alone = secret if len(key) >= _SECRET_LENGTH else rf"(?<!\w){secret}(?!\w)"
        text = re.sub(alone, "***", text)
    return text.strip().splitlines()[0][:300] if text.strip() else "no message"
