"""Token counts are noted from any answer, and only mere counts are taken out."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from serve.asgi import Message
from serve.exchange import Exchange
from serve.usage import counted

EVENTS = b"text/event-stream; charset=utf-8"
JSON = b"application/json"
TEXT = b'data: {"choices":[{"delta":{"content":"\\"usage\\": {"}}]}\n\n'
COUNTS = b'data: {"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":3,"x":null}}\n\n'
BOTH = b'data: {"choices":[{}],"usage":{"prompt_tokens":7,"completion_tokens":1}}\n\n'
DONE = b"data: [DONE]\n\n"


def passed(
    kind: bytes, *pieces: bytes, asked: bool = False
) -> tuple[list[bytes], tuple[int | None, int | None]]:
    """What a client gets of an answer in these pieces, and the counts noted."""
    exchange = Exchange("POST", "/v1/chat/completions", "1")
    got: list[Message] = []

    async def send(message: Message) -> None:
        got.append(message)

    async def answer() -> None:
        forward = counted(exchange, send, asked=asked)
        headers = [(b"content-type", kind)]
        await forward({"type": "http.response.start", "status": 200, "headers": headers})
        for piece in pieces:
            await forward({"type": "http.response.body", "body": piece, "more_body": True})
        await forward({"type": "http.response.body"})

    asyncio.run(answer())
    assert got[0]["type"] == "http.response.start"
    assert got[-1] == {"type": "http.response.body"}
    bodies = [message["body"] for message in got[1:-1]]
    return bodies, (exchange.n_prompt_tokens, exchange.n_completion_tokens)


def test_mere_counts_go_unless_they_were_asked_for() -> None:
    assert passed(EVENTS, TEXT, COUNTS, DONE) == ([TEXT, DONE], (7, 3))
    assert passed(EVENTS, TEXT, COUNTS, DONE, asked=True) == ([TEXT, COUNTS, DONE], (7, 3))


def test_events_in_one_piece_are_told_apart() -> None:
    assert passed(EVENTS, TEXT + COUNTS + DONE) == ([TEXT + DONE], (7, 3))
    assert passed(EVENTS, COUNTS + DONE) == ([DONE], (7, 3))


def test_a_chunk_with_text_stays_though_it_counts() -> None:
    assert passed(EVENTS, BOTH, COUNTS) == ([BOTH], (7, 3))


def test_the_last_event_of_a_response_counts_and_stays() -> None:
    usage = b'"usage":{"input_tokens":5,"output_tokens":2}'
    event = b'event: response.completed\ndata: {"response":{"output":[],' + usage + b"}}\n\n"
    created = b'event: response.created\ndata: {"response":{"usage":null}}\n\n'
    assert passed(EVENTS, created, event) == ([created, event], (5, 2))


@pytest.mark.parametrize("pieces", [1, 2, 7])
def test_a_whole_body_counts_however_it_comes(pieces: int) -> None:
    body = b'{"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":3}}'
    size = -(-len(body) // pieces)
    parts = [body[start : start + size] for start in range(0, len(body), size)]
    assert passed(JSON, *parts) == (parts, (7, 3))


@pytest.mark.parametrize(
    "piece",
    [
        b"",
        b": keep-alive\n\n",
        b'data: {"usage": "many"}\n\n',
        b'data: {"usage": ' + b"[" * 5000,
        b'data: "usage"\n\n',
        b'data: {"choices":[],"usage":null}\n\n',
        b'data: {"choices":[],"usage":{"prompt_tokens":"\xff"}}\n\n',
    ],
)
@pytest.mark.parametrize("kind", [EVENTS, JSON, b""])
def test_what_counts_nothing_passes_as_it_is(kind: bytes, piece: bytes) -> None:
    assert passed(kind, piece) == ([piece], (None, None))


def test_a_final_piece_that_only_counts_still_ends_the_answer() -> None:
    got: list[Any] = []

    async def send(message: Message) -> None:
        got.append(message)

    async def answer() -> None:
        forward = counted(Exchange("POST", "/", "1"), send, asked=False)
        headers = [(b"content-type", EVENTS)]
        await forward({"type": "http.response.start", "status": 200, "headers": headers})
        await forward({"type": "http.response.body", "body": COUNTS, "more_body": False})

    asyncio.run(answer())
    assert got[-1] == {"type": "http.response.body", "body": b"", "more_body": False}
