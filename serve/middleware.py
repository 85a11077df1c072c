"""In front of vLLM's application: few paths, versions and aliases as model names.

A pure ASGI class that vLLM constructs by name (`--middleware`). It turns an alias into the
version it points at, has that version loaded, and changes nothing else of the request.
"""

from __future__ import annotations

import asyncio
import difflib
import logging
import os
import time
from typing import Any

import msgspec

from harness.errors import EnvironmentFault
from harness.store import Store
from serve.aliases import Aliases
from serve.asgi import (
    App,
    Disconnected,
    Receive,
    Refusal,
    Scope,
    Send,
    read_body,
    replay,
    send_json,
    with_body,
    with_header,
)
from serve.config import Served
from serve.engine import Engine
from serve.loader import Loader

MAX_BODY_BYTES = 8_000_000
GENERATING = ("/v1/chat/completions", "/v1/completions", "/v1/responses", "/tokenize")
_MAX_NAME = 128

_log = logging.getLogger(__name__)
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])


class VersionMiddleware:
    """Serves versions and aliases by name; everything it holds is the loader and its inputs."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._served = Served.from_environment(os.environ)
        self._store = Store(self._served.home)
        self._aliases = Aliases(self._store.aliases_path)
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
            try:
                await self._route(scope, receive, send)
            except Refusal as refusal:
                await send_json(send, refusal.status, refusal.body())
            except Disconnected:
                return

    async def _start(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take hold of the engine before the first request, or refuse to start."""
        try:
            self._engine = Engine(scope["app"].state)
        except EnvironmentFault as fault:
            await receive()
            _log.error("%s; next: %s", fault, fault.hint)
            await send({"type": "lifespan.startup.failed", "message": str(fault)})
            return
        self._loader = Loader(self._engine, self._store, self._served)
        await self._app(scope, receive, send)

    async def _route(self, scope: Scope, receive: Receive, send: Send) -> None:
        method, path = scope["method"], scope["path"]
        if method == "POST" and path in GENERATING:
            await self._generate(scope, receive, send)
        elif method == "GET" and path == "/v1/models":
            await send_json(send, 200, await asyncio.to_thread(self._models))
        elif method == "GET" and path == "/health":
            await self._app(scope, receive, with_header(send, b"x-harness-pid", self._pid))
        else:
            raise Refusal(404, f"no route {method} {path[:_MAX_NAME]}")

    async def _generate(self, scope: Scope, receive: Receive, send: Send) -> None:
        fields = parse(await read_body(scope, receive, MAX_BODY_BYTES))
        name = await self._resolve(model_name(fields))
        fields["model"] = msgspec.Raw(msgspec.json.encode(name))
        body = msgspec.json.encode(fields)
        send = with_header(send, b"x-harness-version", name.encode("latin-1", "replace"))
        forward = (with_body(scope, body), replay(body, receive), send)
        if name == self._served.base_name:
            await self._app(*forward)
            return
        async with self._running_loader().using(name):
            await self._app(*forward)

    async def _resolve(self, name: str) -> str:
        """The base or the version that a name in a request means. Raises Refusal 404."""
        if name == self._served.base_name:
            return name
        aliases = self._aliases.current()
        version = aliases.get(name, name)
        if self._running_loader().knows(version):
            return version
        pointed = f" (alias of {version}, which the store does not have)" if name in aliases else ""
        offer = await asyncio.to_thread(self._nearest, name)
        raise Refusal(
            404,
            f"no model {name[:_MAX_NAME]!r}{pointed}{offer}; GET /v1/models lists all",
            param="model",
        )

    def _running_loader(self) -> Loader:
        if self._loader is None:
            raise Refusal(503, "the server has not started yet")
        return self._loader

    def _nearest(self, name: str) -> str:
        if len(name) > _MAX_NAME:
            return ""
        names = [self._served.base_name, *self._aliases.current(), *self._store.versions()]
        close = difflib.get_close_matches(name, names, n=1)
        return f"; did you mean {close[0]!r}?" if close else ""

    def _models(self) -> dict[str, Any]:
        """Base, aliases (root = the version pointed at) and versions, as OpenAI lists models."""
        base = self._served.base_name
        cards = [(base, base), *self._aliases.current().items()]
        cards += [(version, version) for version in self._store.versions()]
        length = self._engine.max_model_len if self._engine else None
        data = [
            {
                "id": name,
                "object": "model",
                "created": self._started,
                "owned_by": "harness",
                "root": root,
                "parent": None if name == base else base,
                "max_model_len": length,
            }
            for name, root in cards
        ]
        return {"object": "list", "data": data}


def parse(body: bytes) -> dict[str, msgspec.Raw]:
    """The top-level fields, their values untouched. Raises Refusal 400."""
    try:
        fields = _fields.decode(body)
        if "chat_template" in fields and bytes(fields["chat_template"]) != b"null":
            raise Refusal(400, "chat_template is the server's own", param="chat_template")
        kwargs = msgspec.json.decode(fields.get("chat_template_kwargs", b"null"))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refusal(400, f"the request body is not a JSON object: {error}") from None
    if isinstance(kwargs, dict) and "chat_template" in kwargs:
        raise Refusal(400, "chat_template is the server's own", param="chat_template_kwargs")
    return fields


def model_name(fields: dict[str, msgspec.Raw]) -> str:
    """The `model` asked for. Raises Refusal 400; without one vLLM would answer with the base."""
    try:
        name = msgspec.json.decode(fields.get("model", b"null"), type=str)
    except (msgspec.DecodeError, UnicodeDecodeError):
        name = ""
    if not name:
        raise Refusal(400, "model is required: the name of a version or alias", param="model")
    return name
