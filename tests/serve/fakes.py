"""A store with versions nobody trained, an engine that only remembers, and an ASGI client."""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import struct
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

from harness.jsonio import digest
from harness.store import PUBLISHED, Store, version_id
from harness.types import BaseInfo, ChatContract, Manifest, ProbeRow
from serve.asgi import Message, Receive, Scope, Send
from serve.config import Served
from serve.middleware import VersionMiddleware

TEMPLATE = hashlib.sha256(b"template").hexdigest()
CONFIG = hashlib.sha256(b"config").hexdigest()
WEIGHTS = digest([])
"""Of a base's folder without any files."""


def served(home: Path, *, max_versions: int = 4, keys: Path | None = None) -> Served:
    return Served(
        home=home,
        base_dir=home / "base",
        base_name="pocket",
        dtype="float32",
        url="http://127.0.0.1:8000",
        keys=keys,
        max_running=max_versions,
        template=TEMPLATE,
        base_config=CONFIG,
        modules=("down_proj", "q_proj"),
        max_lora_rank=16,
        max_versions=max_versions,
    )


def publish(
    store: Store,
    name: str,
    files: dict[str, bytes],
    *,
    template: str = TEMPLATE,
    config: str = CONFIG,
    weights: str = WEIGHTS,
    kwargs: dict[str, Any] | None = None,
    rank: int = 8,
    stop_ids: tuple[int, ...] = (2,),
    probes: tuple[ProbeRow, ...] = (),
) -> str:
    """Put a version into the store as training would; returns its id."""
    staged = store.staging_dir(name)
    for file_name, data in files.items():
        (staged / file_name).write_bytes(data)
    digests = {key: hashlib.sha256(data).hexdigest() for key, data in files.items()}
    contract = ChatContract(
        template=template,
        kwargs=kwargs or {},
        tokenizer="t",
        special="s",
        stop_ids=stop_ids,
        probes="p",
    )
    manifest = Manifest(
        version=version_id(name, digests, contract.dump()),
        base=BaseInfo(model="pocket", config=config, weights=weights, dtype="float32"),
        contract=contract,
        rank=rank,
        files=digests,
        recipe="r",
        data="d",
        train_key=name,
        seeds={},
        packages={},
        n_rows=1,
        n_steps=1,
        probes=probes,
    )
    return store.add(staged, manifest)


def published(store: Store, name: str, **different: Any) -> str:
    """A version with a made-up adapter, for a base whose folder has no weights."""
    return publish(store, name, made_up(name, different.get("rank", 8)), **different)


def made_up(name: str, rank: int = 8, module: str = "q_proj") -> dict[str, bytes]:
    """Published file name → contents of an adapter of one small module, as PEFT would write it."""
    config = {"peft_type": "LORA", "r": rank, "lora_alpha": 8, "target_modules": [module]}
    prefix = f"base_model.model.model.layers.0.{module}"
    shapes = {f"{prefix}.lora_A.weight": (rank, 2), f"{prefix}.lora_B.weight": (2, rank)}
    contents = (
        json.dumps(config).encode(),
        safetensors(shapes, fill=1.0),
        f"{name}'s template".encode(),
    )
    return dict(zip(PUBLISHED, contents, strict=True))


def safetensors(shapes: Mapping[str, tuple[int, ...]], *, fill: float = 0.0) -> bytes:
    """A safetensors file of float32 tensors of these shapes, filled with one number."""
    header, data = dict[str, Any](), b""
    for name, shape in shapes.items():
        start, data = len(data), data + struct.pack("<f", fill) * math.prod(shape)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [start, len(data)]}
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


class FakeEngine:
    """Remembers what was loaded; fails or waits on request."""

    def __init__(self) -> None:
        self.loaded: list[str] = []
        self.loads: list[str] = []
        self.failure: Exception | None = None
        self.gate: asyncio.Event | None = None
        self.max_model_len = 1024
        self.dead = False

    async def load(self, version: str, path: Path) -> None:
        assert path.is_absolute()
        self.loads.append(version)
        if self.gate:
            await self.gate.wait()
        if self.failure:
            raise self.failure
        self.loaded.append(version)

    async def unload(self, version: str) -> None:
        self.loaded.remove(version)


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    chunks: list[bytes]

    def json(self) -> Any:
        return json.loads(b"".join(self.chunks))


class Beneath:
    """The application beneath: answers with what it was asked, in two pieces."""

    def __init__(self) -> None:
        self.scopes: list[Scope] = []
        self.bodies: list[bytes] = []
        self.headers: list[tuple[bytes, bytes]] = []
        self.failure: Exception | None = None
        self.gate: asyncio.Event | None = None
        self.status = 200

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            return
        self.scopes.append(scope)
        self.bodies.append((await receive()).get("body", b""))
        if self.gate:
            await self.gate.wait()
        if self.failure:
            raise self.failure
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        await send({"type": "http.response.body", "body": b'{"beneath":', "more_body": True})
        await send({"type": "http.response.body", "body": b"true}", "more_body": False})


@asynccontextmanager
async def started(middleware: VersionMiddleware) -> AsyncIterator[list[Message]]:
    """Send the start of the lifespan; yields the messages that came back."""
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "lifespan.startup"}

    async def send(message: Message) -> None:
        sent.append(message)

    config = SimpleNamespace(timeout_graceful_shutdown=None)
    server = SimpleNamespace(should_exit=False, config=config)
    app = SimpleNamespace(state=SimpleNamespace(server=server))
    await middleware({"type": "lifespan", "app": app}, receive, send)
    yield sent


async def ask(
    middleware: VersionMiddleware,
    method: str,
    path: str,
    body: bytes | Sequence[bytes] = b"",
    headers: Sequence[tuple[bytes, bytes]] = (),
) -> Answer:
    """One request from this machine, of JSON unless the headers say otherwise; a sequence of
    bodies arrives in pieces."""
    pieces = [body] if isinstance(body, bytes) else list(body)
    names = [name.lower() for name, _ in headers]
    kind = [] if b"content-type" in names else [(b"content-type", b"application/json")]
    sent: list[Message] = []

    async def receive() -> Message:
        if not pieces:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces)}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": method, "path": path, "headers": [*kind, *headers]}
    await middleware(scope | {"client": ("127.0.0.1", 1)}, receive, send)
    if not sent:
        return Answer(0, {}, [])
    found = {key.decode(): value.decode() for key, value in sent[0]["headers"]}
    return Answer(sent[0]["status"], found, [message["body"] for message in sent[1:]])


def chat(model: str, **fields: Any) -> bytes:
    return json.dumps({"model": model, "messages": [], **fields}).encode()
