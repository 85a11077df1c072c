"""In front of vLLM's application: few routes, keys, versions and aliases as model names.

A pure ASGI class that vLLM constructs by name (`--middleware`). It only orders what its neighbours
do: who asks (keys), for what (aliases, request), whether it is there (loader) and whose turn it is
(admission); then vLLM answers, and the exchange is counted and logged.
"""

from __future__ import annotations

import asyncio
import difflib
import logging
import os
import re
import secrets
import time
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from harness.errors import EnvironmentFault
from harness.store import Store
from serve import access, admin
from serve.admission import Turns
from serve.aliases import Aliases
from serve.asgi import (
    App,
    Disconnected,
    Receive,
    Refusal,
    Scope,
    Send,
    call,
    read_body,
    replay,
    send_bytes,
    send_json,
    with_body,
    with_header,
)
from serve.config import Served
from serve.engine import Engine
from serve.exchange import Exchange
from serve.keys import Caller, Keys
from serve.loader import Loader
from serve.metrics import Metrics
from serve.rendering import Rendering
from serve.request import model_name, parse, rewritten, split_key

MAX_BODY_BYTES = 8_000_000
GENERATING = ("/v1/chat/completions", "/v1/completions", "/v1/responses", "/tokenize")
MODELS = "/v1/models"
_MAX_NAME = 128
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_METRICS_TYPE = b"text/plain; version=0.0.4; charset=utf-8"

_log = logging.getLogger(__name__)


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
        self._started = int(time.time())
        self._pid = b"%d" % os.getpid()  # tells whoever started a server that it is this one
        self._engine: Engine | None = None
        self._loader: Loader | None = None

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
        try:
            self._engine = Engine(scope["app"].state)
        except EnvironmentFault as fault:
            await receive()
            _log.error("%s; next: %s", fault, fault.hint)
            await send({"type": "lifespan.startup.failed", "message": str(fault)})
            return
        self._loader = Loader(
            self._engine, self._store, self._served, self._tokenize, self._metrics
        )
        await self._app(scope, receive, send)

    async def _exchange(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, whatever happens, and account for it."""
        given = dict(scope["headers"]).get(b"x-request-id", b"")
        request_id = given.decode() if _REQUEST_ID.fullmatch(given) else secrets.token_hex(16)
        exchange = Exchange(scope["method"], scope["path"][:_MAX_NAME], request_id)
        send = exchange.watch(send)
        try:
            await self._route(exchange, scope, receive, send)
        except Refusal as refusal:
            await send_json(send, refusal.status, refusal.body())
        except Disconnected:
            return
        finally:
            exchange.duration_s = time.monotonic() - exchange.started
            self._metrics.observe(exchange)
            access.log(exchange)

    async def _route(self, exchange: Exchange, scope: Scope, receive: Receive, send: Send) -> None:
        method, path = scope["method"], scope["path"]
        if method == "GET" and path == "/health":
            await self._app(scope, receive, with_header(send, b"x-harness-pid", self._pid))
            return
        caller = self._keys.caller(scope["headers"])
        exchange.key = caller.name
        if method == "POST" and path in GENERATING:
            await self._generate(exchange, caller, scope, receive, send)
        elif method == "GET" and (path == MODELS or path.startswith(f"{MODELS}/")):
            name = path.removeprefix(MODELS).removeprefix("/")
            await send_json(send, 200, await asyncio.to_thread(self._models, caller, name))
        elif not await self._administer(caller, scope, receive, send):
            raise Refusal(404, f"no route {method} {path[:_MAX_NAME]}")

    async def _administer(self, caller: Caller, scope: Scope, receive: Receive, send: Send) -> bool:
        """Whether it was a route for administrators, which is then answered."""
        route = f"{scope['method']} {scope['path']}"
        if route not in ("GET /metrics", "GET /admin/status", "POST /admin/warm"):
            return False
        caller.require_admin()
        loader = self._running_loader()
        if route == "GET /metrics":
            await send_bytes(send, 200, _METRICS_TYPE, self._metrics.render())
        elif route == "GET /admin/status":
            await send_json(send, 200, admin.status(self._served, self._aliases, loader))
        else:
            version = model_name(parse(await read_body(scope, receive, MAX_BODY_BYTES)))
            started = time.monotonic()
            await loader.ensure(version)
            seconds = time.monotonic() - started
            await send_json(send, 200, {"version": version, "seconds": seconds})
        return True

    async def _generate(
        self, exchange: Exchange, caller: Caller, scope: Scope, receive: Receive, send: Send
    ) -> None:
        fields = parse(await read_body(scope, receive, MAX_BODY_BYTES))
        exchange.asked = asked = model_name(fields)
        caller.require_model(asked)
        table = self._aliases.table()
        version = table.pick(asked, split_key(fields, dict(scope["headers"]))) or asked
        exchange.alias = asked if asked in table.aliases else None
        self._require_known(caller, asked, version)
        exchange.version = version
        send = with_header(send, b"x-harness-version", version.encode("latin-1", "replace"))

        async def forward(rendering: Rendering) -> None:
            body = rewritten(fields, scope["path"], version, rendering)
            await self._app(with_body(scope, body), replay(body, receive), send)

        if version == self._served.base_name:
            await forward(Rendering(kwargs=self._served.kwargs))
            return
        async with self._turns.turn(version), self._running_loader().using(version) as rendering:
            await forward(rendering)

    def _require_known(self, caller: Caller, asked: str, version: str) -> None:
        """Raises Refusal 404 for what is neither the base nor a version."""
        if version == self._served.base_name or self._running_loader().knows(version):
            return
        pointed = "" if asked == version else f" (alias of {version}, which the store has not)"
        aliases = self._aliases.current()
        names = [
            self._served.base_name,
            *aliases,
            *aliases.values(),
            *self._running_loader().loaded(),
        ]
        close = difflib.get_close_matches(asked[:_MAX_NAME], filter(caller.may_use, names), n=1)
        offer = f"; did you mean {close[0]!r}?" if close else ""
        raise Refusal(
            404,
            f"no model {asked[:_MAX_NAME]!r}{pointed}{offer}; GET {MODELS} lists all",
            param="model",
        )

    def _running_loader(self) -> Loader:
        if self._loader is None:
            raise Refusal(503, "the server has not started yet")
        return self._loader

    async def _tokenize(self, body: Mapping[str, Any]) -> tuple[int, ...]:
        """Token ids that vLLM makes of a chat. Raises Refusal 409 with vLLM's words."""
        value = msgspec.json.encode({"model": self._served.base_name, **body})
        status, answer = await call(self._app, "POST", "/tokenize", value)
        if status != 200:
            raise Refusal(409, answer.decode(errors="replace")[:300])
        return tuple(msgspec.json.decode(answer)["tokens"])

    def _models(self, caller: Caller, name: str) -> dict[str, Any]:
        """The models that `caller` may use, as OpenAI lists them, or the one of that name. Raises
        Refusal 404."""
        cards = self._cards(caller)
        if not name:
            return {"object": "list", "data": list(cards)}
        for card in cards:
            if card["id"] == name:
                return card
        raise Refusal(404, f"no model {name[:_MAX_NAME]!r}; GET {MODELS} lists all", param="model")

    def _cards(self, caller: Caller) -> Iterable[dict[str, Any]]:
        """Base, aliases (root = the version pointed at) and versions."""
        base, table = self._served.base_name, self._aliases.table()
        names = [(base, base), *table.aliases.items()]
        names += [(version, version) for version in self._store.versions()]
        length = self._engine.max_model_len if self._engine else None
        for name, root in names:
            if caller.may_use(name):
                yield {
                    "id": name,
                    "object": "model",
                    "created": self._started,
                    "owned_by": "harness",
                    "root": root,
                    "parent": None if name == base else base,
                    "max_model_len": length,
                    **({"split": table.splits[name]} if name in table.splits else {}),
                }
