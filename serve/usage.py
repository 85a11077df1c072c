"""Token counts of an answer, taken from its own words while it passes.

vLLM counts a stream only when asked to (`stream_options.include_usage`), so `serve.request` always
asks; the extra chunk is taken out again for a client that did not. Everything else passes byte for
byte, in the pieces it came in. Knows nothing of versions.
"""

from __future__ import annotations

import msgspec

from serve.asgi import Message, Send
from serve.exchange import Exchange

_EVENT_END = b"\n\n"


class _Usage(msgspec.Struct):
    """Counts under the names of completions and chats, and of /v1/responses."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None


class _Answer(msgspec.Struct):
    """A whole answer or one event of a stream."""

    usage: _Usage | None = None
    choices: list[msgspec.Raw] | None = None
    response: _Answer | None = None


_answer = msgspec.json.Decoder(_Answer)


def counted(exchange: Exchange, send: Send, *, asked: bool) -> Send:
    """A `send` that notes the token counts of an answer on its exchange. Unless the client `asked`
    for them, a stream goes on without the chunk that only counts; what vLLM puts there beside
    them (`system_fingerprint`, its own timings) goes with it."""
    streamed = False
    pieces: list[bytes] = []

    async def forward(message: Message) -> None:
        nonlocal streamed
        if message["type"] == "http.response.start":
            kind = dict(message.get("headers", ())).get(b"content-type", b"")
            streamed = kind.startswith(b"text/event-stream")
        elif message["type"] == "http.response.body" and streamed:
            body = message.get("body", b"")
            kept = _heard(exchange, body, drop=not asked)
            if body and not kept and message.get("more_body", False):
                return
            if len(kept) < len(body):
                message = {**message, "body": kept}
        elif message["type"] == "http.response.body":
            pieces.append(message.get("body", b""))
            if not message.get("more_body", False):
                _note(exchange, b"".join(pieces))
        await send(message)

    return forward


def _heard(exchange: Exchange, body: bytes, *, drop: bool) -> bytes:
    """Note what a piece of a stream counts; returns it, without mere counts where to `drop`."""
    if b'"usage"' not in body:  # in text the quotes would be escaped
        return body
    events = body.split(_EVENT_END)
    mere = [_note(exchange, event) for event in events]
    if not (drop and any(mere)):
        return body
    kept = (event for event, is_mere in zip(events, mere, strict=True) if not is_mere)
    return _EVENT_END.join(kept)


def _note(exchange: Exchange, text: bytes) -> bool:
    """Note the counts in a JSON object, or in an event that carries one. Whether there is nothing
    else in it."""
    try:
        answer = _answer.decode(text[max(text.find(b"{"), 0) :])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    usage = answer.usage or (answer.response.usage if answer.response else None)
    if usage is None:
        return False
    prompt = usage.input_tokens if usage.prompt_tokens is None else usage.prompt_tokens
    output = usage.output_tokens if usage.completion_tokens is None else usage.completion_tokens
    exchange.n_prompt_tokens, exchange.n_completion_tokens = prompt, output
    return answer.choices == []
