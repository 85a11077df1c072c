"""A scripted OpenAI-style endpoint for faults that a real server cannot be asked to make."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

Reply = tuple[int, Any]
"""Status, and a JSON value or raw text."""


class Fake(NamedTuple):
    """A running endpoint and what it was asked."""

    url: str
    requests: list[dict[str, Any]]


def says(text: str, finish_reason: str = "stop") -> Reply:
    """A chat completion."""
    message = {"role": "assistant", "content": text}
    return 200, {"choices": [{"index": 0, "message": message, "finish_reason": finish_reason}]}


def hangs(seconds: float) -> Reply:
    """Answers too late."""
    time.sleep(seconds)
    return says("score 5")


@contextmanager
def endpoint(answer: Callable[[dict[str, Any]], Reply]) -> Iterator[Fake]:
    """Serve `answer(request body)` on a free loopback port for the block."""
    requests: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            requests.append(body | {"authorization": self.headers.get("authorization")})
            status, value = answer(body)
            data = value.encode() if isinstance(value, str) else json.dumps(value).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            """Silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield Fake(f"http://127.0.0.1:{server.server_port}", requests)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
