"""The access log: what a line holds, and that nobody can write another."""

from __future__ import annotations

import asyncio
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

import serve.exchange
from serve import access
from serve.asgi import Disconnected, Message
from serve.exchange import Exchange
from tests.serve.live import Live, eventually

FIELDS = {
    "time",
    "request_id",
    "key",
    "method",
    "path",
    "asked",
    "alias",
    "version",
    "status",
    "duration_ms",
    "first_byte_ms",
    "n_prompt_tokens",
    "n_completion_tokens",
    "streamed",
}


def logged(exchange: Exchange, capfd: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """The one line that was written."""
    access.log(exchange)
    line, end, rest = capfd.readouterr().out.partition("\n")
    assert (end, rest) == ("\n", "")
    return dict(json.loads(line))


async def answer(exchange: Exchange, *messages: Message, leaves_after: int | None = None) -> None:
    """Send messages through the exchange; the client leaves after so many of them."""

    async def sink(message: Message) -> None:
        pass

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    send = exchange.watch(sink)
    for index, message in enumerate(messages):
        if index == leaves_after:
            await exchange.heed(receive)()
        await send(message)
    await exchange.heed(receive)()  # as every server says after the end
    exchange.duration_s = 0.25


def start(status: int = 200, kind: bytes = b"application/json") -> Message:
    headers = [(b"Content-Type", kind)]
    return {"type": "http.response.start", "status": status, "headers": headers}


def part(more: bool = False) -> Message:
    return {"type": "http.response.body", "body": b"secret words", "more_body": more}


def test_a_line_says_who_asked_for_what_and_how_it_went(capfd: pytest.CaptureFixture[str]) -> None:
    exchange = Exchange("POST", "/v1/completions", "id-1", key="web", asked="prod", alias="prod")
    exchange.version, exchange.n_prompt_tokens, exchange.n_completion_tokens = "a@1", 3, 4
    kind = b"text/event-stream; charset=utf-8"
    asyncio.run(answer(exchange, start(200, kind), part(more=True), part()))
    line = logged(exchange, capfd)
    assert set(line) == FIELDS
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"])
    assert 0 <= line.pop("first_byte_ms") <= 1000
    assert line | {"time": ""} == {
        "time": "",
        "request_id": "id-1",
        "key": "web",
        "method": "POST",
        "path": "/v1/completions",
        "asked": "prod",
        "alias": "prod",
        "version": "a@1",
        "status": 200,
        "duration_ms": 250.0,
        "n_prompt_tokens": 3,
        "n_completion_tokens": 4,
        "streamed": True,
    }
    assert "secret" not in json.dumps(line)


@pytest.mark.parametrize(
    ("messages", "leaves_after", "status"),
    [
        ((start(), part()), None, 200),
        ((start(404), part()), None, 404),
        ((start(), part(more=True), part()), 2, 499),
        ((start(), part(more=True)), 1, 499),
        ((start(), part()), 0, 499),
        ((start(), part(more=True)), None, 499),
        ((), None, 499),
    ],
)
def test_a_client_that_left_is_told_apart(
    capfd: pytest.CaptureFixture[str],
    messages: tuple[Message, ...],
    leaves_after: int | None,
    status: int,
) -> None:
    exchange = Exchange("POST", "/v1/completions", "id")
    asyncio.run(answer(exchange, *messages, leaves_after=leaves_after))
    assert logged(exchange, capfd)["status"] == status


def test_a_body_that_arrives_is_no_departure_and_json_no_stream(
    capfd: pytest.CaptureFixture[str],
) -> None:
    exchange = Exchange("POST", "/v1/completions", "id")

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def scenario() -> None:
        await exchange.heed(receive)()
        await answer(exchange, start(), part())

    asyncio.run(scenario())
    line = logged(exchange, capfd)
    assert (line["status"], line["streamed"]) == (200, False)


def test_a_client_that_does_not_read_is_given_up(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it would keep the turn of its version for as long as it likes."""

    async def stuck(message: Message) -> None:
        await asyncio.Event().wait()

    async def begin() -> None:
        await exchange.watch(stuck)(start())

    exchange = Exchange("POST", "/v1/completions", "id")
    monkeypatch.setattr(serve.exchange, "SEND_S", 0)
    with pytest.raises(Disconnected):
        asyncio.run(begin())
    assert logged(exchange, capfd)["status"] == 499


def test_an_answer_that_never_came_is_the_servers_fault(capfd: pytest.CaptureFixture[str]) -> None:
    assert logged(Exchange("GET", "/v1/models", "id"), capfd)["status"] == 500


@pytest.mark.parametrize(
    "name", ['x\n{"status":200}', "\x1b[2J\x9b31m", "a\u2028b\u0085c", "\ud800", 'q"\\', "é" * 500]
)
def test_no_name_breaks_a_line_or_reaches_a_terminal(
    capfd: pytest.CaptureFixture[str], name: str
) -> None:
    exchange = Exchange(name, name, "id", asked=name)
    access.log(exchange)
    out = capfd.readouterr().out
    assert re.fullmatch(r"[ -~]+\n", out)
    assert len(out) < 4096  # what a pipe takes in one piece
    line = json.loads(out)
    assert line["asked"] == line["path"] == line["method"] == name[:128]


def test_health_checks_are_not_logged(capfd: pytest.CaptureFixture[str]) -> None:
    access.log(Exchange("GET", "/health", "id", status=200))
    assert capfd.readouterr().out == ""


def test_a_log_that_cannot_be_written_harms_nobody(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    reader = os.open(tmp_path, os.O_RDONLY)
    monkeypatch.setattr(access, "_STDOUT", reader)
    access.log(Exchange("GET", "/v1/models", "id"))
    os.close(reader)


@pytest.mark.vllm
def test_a_live_server_logs_who_left(live: Live) -> None:
    body = {"model": live.versions[0], "prompt": [10], "max_tokens": 400, "ignore_eos": True}
    with (
        live.client() as client,
        client.stream(
            "POST",
            "/v1/completions",
            json={**body, "stream": True},
            headers={"x-request-id": "one-that-leaves"},
        ) as answer,
    ):
        next(answer.iter_lines())
    log = live.store.home.parent / "server.log"

    def found() -> list[dict[str, Any]]:
        lines = log.read_text(errors="replace").splitlines()
        return [json.loads(line) for line in lines if '"one-that-leaves"' in line]

    assert eventually(lambda: bool(found()))
    (line,) = found()
    assert (line["status"], line["streamed"], line["version"]) == (499, True, live.versions[0])
    assert line["first_byte_ms"] > 0
