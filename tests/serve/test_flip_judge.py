"""The flip traffic sees what it is there to see: a server with each fault, and one without."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.serve.flip import Outcome, Plan, answers, run

SAYS = {"one@000000000001": "first", "two@000000000002": "second"}


class Faulty(ThreadingHTTPServer):
    """Answers for an alias as versions would, but for one `fault`."""

    daemon_threads = True

    def __init__(self, fault: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.fault = fault
        self.pointed = [*SAYS][-1]
        self.n = 0

    def move(self, version: str) -> None:
        if self.fault != "stale":
            self.pointed = version


class _Handler(BaseHTTPRequestHandler):
    server: Faulty
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        version = body["model"] if body["model"] in SAYS else self.server.pointed
        text, named = SAYS[version], version
        if body["model"] == "alias":
            self.server.n += 1
            if self.server.fault == "text" and self.server.n % 5 == 0:
                text = "something else"
            if self.server.fault == "name" and self.server.n % 5 == 0:
                named = "pocket"
            if self.server.fault == "status" and self.server.n % 5 == 0:
                self._send(503, version, "application/json", b'{"error":{}}')
                return
        if body.get("stream"):
            self._stream(version, named, text)
        else:
            choices = [{"message": {"role": "assistant", "content": text}}]
            answer = json.dumps({"model": named, "choices": choices}).encode()
            self._send(200, version, "application/json", answer)

    def _stream(self, version: str, named: str, text: str) -> None:
        lines = [{"model": named, "choices": [{"delta": {"content": each}}]} for each in text]
        data = "".join(f"data: {json.dumps(each)}\n\n" for each in lines)
        end = "" if self.server.fault == "end" else "data: [DONE]\n\n"
        self._send(200, version, "text/event-stream", (data + end).encode())

    def _send(self, status: int, version: str, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("x-harness-version", version)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *values: Any) -> None:
        return


@contextlib.contextmanager
def serving(fault: str) -> Iterator[tuple[Faulty, str]]:
    with Faulty(fault) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server, f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def outcome_of(fault: str) -> Outcome:
    with serving(fault) as (server, url):
        assert answers(url, [*SAYS]) == SAYS
        return run(url, Plan("alias", SAYS, server.move, seconds=1, every_s=0.1, n_clients=4))


def test_an_honest_server_is_flawless() -> None:
    outcome = outcome_of("none")
    assert outcome.flawless
    assert outcome.n_flips > 1
    assert sum(outcome.answered.values()) == outcome.n_requests == len(outcome.latencies_s)
    assert outcome.latency_s(0.5) <= outcome.latency_s(1.0) == outcome.latencies_s[-1]


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("status", "errors"),
        ("end", "errors"),
        ("text", "wrong"),
        ("name", "wrong"),
        ("stale", "stale"),
    ],
)
def test_each_fault_is_counted_as_what_it_is(fault: str, kind: str) -> None:
    outcome = outcome_of(fault)
    found = {name: len(getattr(outcome, name)) for name in ("errors", "wrong", "stale")}
    assert found.pop(kind) > 0
    assert set(found.values()) == {0}
    assert not outcome.flawless
