"""Ending in order: who is still answered, and when the server is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest

import serve.drain
from harness.errors import EnvironmentFault
from harness.server import Server, ServerSpec, serve_forever
from serve.asgi import Message, Refusal
from serve.drain import Drain
from tests.serve.live import POCKET_BASE, eventually


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve.drain, "LAME_DUCK_S", 0.05)
    monkeypatch.setattr(serve.drain, "STOP_ASKED", threading.Event())


@contextlib.asynccontextmanager
async def installed(limit_s: float) -> AsyncIterator[tuple[Drain, SimpleNamespace]]:
    """A drain that holds the signals, and the server it ends."""
    config = SimpleNamespace(timeout_graceful_shutdown=None)
    server = SimpleNamespace(should_exit=False, config=config)
    drain = Drain(limit_s)
    drain.install(SimpleNamespace(server=server))
    assert config.timeout_graceful_shutdown  # a client that never reads holds nothing up
    try:
        yield drain, server
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().remove_signal_handler(number)


async def until(server: SimpleNamespace) -> None:
    async with asyncio.timeout(10):
        while not server.should_exit:
            await asyncio.sleep(0.01)


async def headers(drain: Drain, status: int) -> dict[bytes, bytes]:
    """Of a response sent through the drain."""
    sent: list[Message] = []

    async def sink(message: Message) -> None:
        sent.append(message)

    await drain.watch(sink)({"type": "http.response.start", "status": status, "headers": []})
    return dict(sent[0]["headers"])


def test_running_requests_end_and_new_ones_are_refused() -> None:
    async def story() -> None:
        async with installed(30) as (drain, server):
            with drain.request("/v1/completions"):
                assert drain.n_running == 1
                assert await headers(drain, 200) == {}
                os.kill(os.getpid(), signal.SIGTERM)
                await asyncio.sleep(0.2)
                assert drain.draining
                assert serve.drain.STOP_ASKED.is_set()
                for path in ("/health", "/v1/completions"):
                    with pytest.raises(Refusal, match="shutting down") as caught:
                        drain.request(path).__enter__()
                    assert caught.value.status == 503
                with drain.request("/metrics"):
                    assert drain.n_running == 1
                assert not server.should_exit
                assert await headers(drain, 200) == {b"connection": b"close"}
                assert await headers(drain, 503) == {
                    b"connection": b"close",
                    b"retry-after": serve.drain.RETRY_S,
                }
            await until(server)
            assert server.config.timeout_graceful_shutdown > 0

    asyncio.run(story())


def test_an_idle_server_stays_a_moment_to_be_asked() -> None:
    async def story() -> None:
        async with installed(30) as (_, server):
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.sleep(0)
            assert not server.should_exit
            await until(server)

    asyncio.run(story())


@pytest.mark.parametrize("limit_s", [0, 0.1])
def test_what_does_not_end_in_time_is_cut(limit_s: float) -> None:
    async def story() -> None:
        async with installed(limit_s) as (drain, server):
            with drain.request():
                os.kill(os.getpid(), signal.SIGTERM)
                await until(server)
                assert server.config.timeout_graceful_shutdown == 0

    asyncio.run(story())


@pytest.mark.parametrize("numbers", [[signal.SIGTERM, signal.SIGTERM], [signal.SIGINT]])
def test_a_second_signal_or_an_interrupt_ends_at_once(numbers: list[signal.Signals]) -> None:
    async def story() -> None:
        async with installed(600) as (drain, server):
            with drain.request():
                for number in numbers:
                    os.kill(os.getpid(), number)
                    await asyncio.sleep(0.1)
                assert server.should_exit
                assert server.config.timeout_graceful_shutdown == 0
                assert serve.drain.STOP_ASKED.is_set()

    asyncio.run(story())


@pytest.mark.parametrize(
    "state", [SimpleNamespace(), SimpleNamespace(server=SimpleNamespace(should_exit=False))]
)
def test_a_vllm_that_keeps_its_server_elsewhere_is_refused(state: SimpleNamespace) -> None:
    with pytest.raises(EnvironmentFault, match=r"app\.state\.server") as caught:
        Drain(1).install(state)
    assert caught.value.hint


@pytest.mark.vllm
def test_a_stream_ends_before_the_server_that_was_asked_to_stop(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    long = {"model": "pocket", "prompt": [10] * 20, "max_tokens": 450, "ignore_eos": True}
    lines: list[str] = []
    refused: list[httpx.Response] = []

    def watch(server: Server) -> None:
        with httpx.Client(base_url=server.base_url, timeout=60, trust_env=False) as client:
            url = f"{server.api_url}/completions"
            with client.stream("POST", url, json={**long, "stream": True}) as answer:
                for line in answer.iter_lines():
                    lines.append(line)
                    if len(lines) == 5:
                        os.kill(os.getpid(), signal.SIGTERM)
                        assert eventually(lambda: client.get("/health").status_code == 503)
                        refused.append(client.get("/health"))
                        refused.append(client.post("/v1/completions", json=long))

    def start(server: Server) -> None:
        thread.append(threading.Thread(target=watch, args=(server,)))
        thread[0].start()

    thread: list[threading.Thread] = []
    spec = ServerSpec(
        home=tmp_path / "home",
        base_dir=POCKET_BASE,
        base_name="pocket",
        max_context=512,
        drain_s=60,
    )
    assert serve_forever(spec, on_ready=start) == 0
    thread[0].join()
    assert lines[-2:] == ["data: [DONE]", ""]
    for response in refused:
        assert response.status_code == 503
        assert response.headers["connection"] == "close"
        assert int(response.headers["retry-after"]) > 0
    logged = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert [(each["status"], each["streamed"]) for each in logged] == [(503, False), (200, True)]
    assert logged[1]["n_completion_tokens"] == 450
