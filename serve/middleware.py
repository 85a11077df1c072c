"""In front of vLLM's application: few routes, keys, versions and aliases as model names.

A pure ASGI class that vLLM constructs by name (`--middleware`). It only orders what its neighbours
do: who asks (keys), for what (aliases, request), whether it is there (loader) and whose turn it is
(admission); then vLLM answers, and the exchange is counted and logged.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import os
import re
import secrets
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from harness.errors import EnvironmentFault
from harness.store import Store
from serve import access, admin
from serve.admission import Turns
from serve.aliases import Aliases
from serve.asgi import (
    App,
    Disconnected,
    Message,
    Receive,
    Refusal,
    Scope,
    Send,
    call,
    inward,
    outward,
    place,
    read_body,
    replay,
    send_bytes,
    send_json,
)
from serve.bounds import check_length
from serve.config import Served
from serve.drain import Drain
from serve.engine import Engine
from serve.exchange import Exchange
from serve.keys import LOCAL, Caller, Keys
from serve.loader import Loader
from serve.metrics import Metrics
from serve.models import MAX_NAME, Models
from serve.models import ROUTE as MODELS
from serve.rendering import Rendering
from serve.replica import Presence
from serve.request import asked_for_usage, model_name, parse, rewritten, split_key
from serve.usage import counted

GENERATING = ("/v1/chat/completions", "/v1/completions", "/v1/responses", "/tokenize")
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_METRICS_TYPE = b"text/plain; version=0.0.4; charset=utf-8"

_log = logging.getLogger(__name__)


class _Room(NamedTuple):
    """What is there once the engine is."""

    engine: Engine
    loader: Loader
    models: Models


class VersionMiddleware:
    """Serves versions and aliases by name."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._served = Served.from_environment(os.environ)
        self._store = Store(self._served.home)
        self._aliases = Aliases(self._store.aliases_path)
        self._keys = Keys(self._served.keys, os.environ)
        self._metrics = Metrics()
        self._turns = Turns(self._served.max_running)
        self._presence = Presence(self._served, self._store.replicas)
        self._drain = Drain(self._served.drain_s)
        self._application: Any = None
        self._opened: _Room | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._start(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
        else:
            await self._exchange(scope, receive, send)

    async def _start(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take hold of the engine before the first request, or refuse to start."""
        self._application = scope["app"]
        try:
            engine = Engine(scope["app"].state)
            self._drain.install(scope["app"].state)
        except EnvironmentFault as fault:
            await receive()
            _log.error("%s; next: %s", fault, fault.hint)
            await send({"type": "lifespan.startup.failed", "message": str(fault)})
            return
        loader = Loader(engine, self._store, self._served, self._tokenize, self._metrics)
        length = engine.max_model_len
        models = Models(self._served, self._store, self._aliases, loader, length)
        self._opened = _Room(engine, loader, models)
        async with self._presence.announced(send) as send:
            await self._app(scope, receive, send)

    async def _exchange(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, whatever happens, and account for it."""
        given = dict(scope["headers"]).get(b"x-request-id", b"")
        request_id = given.decode() if _REQUEST_ID.fullmatch(given) else secrets.token_hex(16)
        exchange = Exchange(scope["method"], scope["path"][:MAX_NAME], request_id)
        send, receive = exchange.watch(self._drain.watch(send)), exchange.heed(receive)
        try:
            with self._drain.request(scope["path"]):
                await self._route(exchange, scope, receive, send)
        except Refusal as refusal:
            await send_json(send, refusal.status, refusal.body())
        except Disconnected:
            return
        except Exception as error:
            _log.error("%s: %s", request_id, place(error))
            if exchange.status is not None:
                raise  # the answer has begun: all that is left is to break it off
            failure = Refusal(500, f"the server failed; its log has the place: {request_id}")
            await send_json(send, failure.status, failure.body())
        finally:
            exchange.duration_s = time.monotonic() - exchange.started
            self._metrics.observe(exchange)
            access.log(exchange)

    async def _route(self, exchange: Exchange, scope: Scope, receive: Receive, send: Send) -> None:
        method, path = scope["method"], scope["path"]
        if method == "GET" and path == "/health":
            await self._app(inward(scope), receive, outward(send, _identity(scope)))
            return
        caller = self._keys.caller(scope["headers"])
        exchange.key = caller.name
        if caller is LOCAL and b"origin" in dict(scope["headers"]):
            raise Refusal(403, "web pages are not answered by a server without keys")
        if method == "POST" and path in GENERATING:
            await self._generate(exchange, caller, scope, receive, send)
        elif method == "GET" and path == MODELS:
            listed = await asyncio.to_thread(self._room().models.listed, caller)
            await send_json(send, 200, listed)
        elif method == "GET" and path.startswith(f"{MODELS}/"):
            name = path.removeprefix(f"{MODELS}/")
            await send_json(send, 200, self._room().models.card(caller, name))
        elif not await self._administer(caller, scope, receive, send):
            raise Refusal(404, f"no route {method[:MAX_NAME]} {path[:MAX_NAME]!r}")

    async def _administer(self, caller: Caller, scope: Scope, receive: Receive, send: Send) -> bool:
        """Whether it was a route for administrators, which is then answered."""
        route = f"{scope['method']} {scope['path']}"
        if route not in ("GET /metrics", "GET /admin/status", "POST /admin/warm"):
            return False
        caller.require_admin()
        _, loader, models = self._room()
        if route == "GET /metrics":
            status, beneath = await self._call("GET", "/metrics", b"")
            text = self._metrics.render(beneath if status == 200 else b"", self._drain.n_running)
            await send_bytes(send, 200, _METRICS_TYPE, text)
        elif route == "GET /admin/status":
            found = await admin.status(
                self._served, self._presence, self._aliases, loader, draining=self._drain.draining
            )
            await send_json(send, 200, found)
        else:
            version = model_name(parse(await read_body(scope, receive)))
            models.require(caller, version, version)
            started = time.monotonic()
            async with self._turns.turn(version, receive):
                await loader.ensure(version)
            seconds = time.monotonic() - started
            await send_json(send, 200, {"version": version, "seconds": seconds})
        return True

    async def _generate(
        self, exchange: Exchange, caller: Caller, scope: Scope, receive: Receive, send: Send
    ) -> None:
        sent = await read_body(scope, receive)
        fields = parse(sent)
        check_length(scope["path"], fields, len(sent))
        exchange.asked = asked = model_name(fields)
        caller.require_model(asked)
        table = self._aliases.table()
        key = split_key(fields, dict(scope["headers"])) if asked in table.splits else ""
        if asked == self._served.base_name:  # whatever a file says: it is no alias
            version = asked
        else:
            version = table.pick(asked, key) or asked
            exchange.alias = asked if asked in table.aliases else None
        self._room().models.require(caller, asked, version)
        exchange.version = version
        named = {b"x-harness-version": version.encode("latin-1", "replace")}
        send = outward(_unless_dead(self._room().engine, send), named)
        send = counted(exchange, send, asked=asked_for_usage(fields))

        async def forward(rendering: Rendering) -> None:
            body = rewritten(fields, scope["path"], version, rendering)
            await self._app(inward(scope, body), replay(body, receive), send)

        if version == self._served.base_name:
            await forward(Rendering(kwargs=self._served.kwargs))
            return
        turn, loader = self._turns.turn(version, receive), self._room().loader
        async with turn, loader.using(version) as rendering:
            await forward(rendering)

    def _room(self) -> _Room:
        if self._opened is None:
            raise Refusal(503, "the server has not started yet")
        return self._opened

    async def _call(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        return await call(self._app, method, path, body, application=self._application)

    async def _tokenize(self, body: Mapping[str, Any]) -> tuple[int, ...]:
        """Token ids that vLLM makes of a chat. Raises Refusal 409, without vLLM's words: they may
        repeat the chat, which is training data."""
        value = msgspec.json.encode({"model": self._served.base_name, **body})
        status, answer = await self._call("POST", "/tokenize", value)
        if status != 200:
            raise Refusal(409, f"vLLM answers {status}")
        return tuple(msgspec.json.decode(answer)["tokens"])


def _unless_dead(engine: Engine, send: Send) -> Send:
    """A `send` that makes 503 of vLLM's 500 where the engine has died: a load balancer may then ask
    another replica in the moment before this one's port is closed."""

    async def forward(message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] == 500 and engine.dead:
            message = {**message, "status": 503}
        await send(message)

    return forward


def _identity(scope: Scope) -> dict[bytes, bytes]:
    """What tells whoever started a server here that this one answers; other machines are told
    nothing."""
    try:
        here = ipaddress.ip_address(scope["client"][0]).is_loopback
    except (KeyError, TypeError, ValueError):
        here = False
    return {b"x-harness-pid": b"%d" % os.getpid()} if here else {}
