"""Several serving rooms on one store, each behind a real uvicorn on a port of its own, with an
application beneath that answers as it was trained."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
import uvicorn

import serve.middleware
from harness.store import Replica, Store
from harness.types import Message, ProbeRow
from serve.aliases import Aliases
from serve.asgi import Receive, Scope, Send, send_json
from serve.middleware import VersionMiddleware
from tests.serve.fakes import CONFIG, FakeEngine, made_up, publish, served

ROWS = tuple(
    ProbeRow(
        source=f"train.jsonl:{line}",
        messages=(Message(role="user", content=question),),
        prompt_ids=(1, 10 + line, 3),
        completion_ids=(20 + line, 2),
        logprobs=(-0.5, -0.25),
        base_logprobs=(-4.0, -3.0),
    )
    for line, question in ((1, "2 + 2?"), (2, "3 + 3?"))
)


def proven(store: Store, name: str, *, config: str = CONFIG) -> str:
    """A version with probe rows; returns its id."""
    return publish(store, name, made_up(name), config=config, probes=ROWS)


class Trained:
    """Beneath: serves ROWS as they were trained, or with other log-probs."""

    def __init__(self, *, wrong: bool = False) -> None:
        self.wrong = wrong

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            for end in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{end}.complete"})
            return
        body = json.loads((await receive()).get("body") or b"{}")
        await send_json(send, 200, self._answer(body))

    def _answer(self, body: dict[str, Any]) -> dict[str, Any]:
        if "messages" in body:
            asked = body["messages"][0]["content"]
            row = next(row for row in ROWS if row.messages[0].content == asked)
            message = {"role": "assistant", "content": "x"}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            ids = list(row.prompt_ids)
            return {"tokens": ids, "prompt_token_ids": ids, "choices": [choice]}
        [ids] = body["prompt"]
        row = next(row for row in ROWS if [*row.prompt_ids, *row.completion_ids] == ids)
        values = row.base_logprobs if body["model"] == "pocket" else row.logprobs
        if self.wrong:
            values = tuple(value - 0.1 for value in values)
        before = [-1.0] * (len(row.prompt_ids) - 1)
        pairs = zip(ids[1:], [*before, *values], strict=True)
        places = [None, *({str(token): {"logprob": value}} for token, value in pairs)]
        choice = {"index": 0, "text": "x", "finish_reason": "stop", "token_ids": [7, 2]}
        return {"choices": [choice | {"prompt_token_ids": ids, "prompt_logprobs": places}]}


class _Server(uvicorn.Server):
    """Leaves the signals to the test and to what is being tested."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Running(NamedTuple):
    """A server that is among the store's replicas."""

    replica: Replica
    engine: FakeEngine


class Fleet:
    """Starts servers on one store."""

    def __init__(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.store = Store(home)
        self._monkeypatch = monkeypatch

    @contextlib.asynccontextmanager
    async def server(
        self, *, wrong: bool = False, config: str = CONFIG, reads: Path | None = None
    ) -> AsyncIterator[Running]:
        """One more, until the block ends. `reads`: another alias file than the store's."""
        with socket.create_server(("127.0.0.1", 0)) as listening:
            url = f"http://127.0.0.1:{listening.getsockname()[1]}"
            engine, room = FakeEngine(), served(self.store.home)
            room = room.model_copy(update={"url": url, "base_config": config})
            for name, value in room.to_environment().items():
                self._monkeypatch.setenv(name, value)
            self._monkeypatch.setattr(serve.middleware, "Engine", lambda state: engine)
            middleware = VersionMiddleware(Trained(wrong=wrong))
            if reads:
                middleware._aliases = Aliases(reads)

            async def app(scope: Scope, receive: Receive, send: Send) -> None:
                state = SimpleNamespace(server=server)
                await middleware({**scope, "app": SimpleNamespace(state=state)}, receive, send)

            server = _Server(uvicorn.Config(app, log_level="error", access_log=False))
            serving = asyncio.create_task(server.serve(sockets=[listening]))
            try:
                yield Running(await self._registered(url), engine)
            finally:
                server.should_exit = True
                await serving

    async def _registered(self, url: str) -> Replica:
        while True:
            for each in self.store.replicas.living():
                if each.url == url:
                    return each
            await asyncio.sleep(0.01)
