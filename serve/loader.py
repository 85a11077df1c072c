"""Brings adapter versions into the engine on first use and takes idle ones out again.

A version is loaded only when its files are the published ones and it was trained for this base
(config and weights), and its chats become the token ids it was trained on. Knows nothing of HTTP
but the status a refusal carries.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from time import monotonic
from typing import Protocol

from harness.errors import HarnessError
from harness.store import VERSION, AdapterFacts, Store, base_digest, check_adapter
from harness.types import Manifest
from serve.asgi import Refusal
from serve.config import Served
from serve.metrics import Metrics
from serve.rendering import Rendering, Tokenize, prove

REFUSED_S = 5.0
"""How long a refused version is not tried again."""
ROOM_S = 30.0
"""How long a load waits for a loaded version to become idle."""

_log = logging.getLogger(__name__)


class AdapterMemory(Protocol):
    """What the loader needs of an engine."""

    async def load(self, version: str, path: Path) -> None: ...

    async def unload(self, version: str) -> None: ...


class Loader:
    """Which versions are in the engine, who uses them, and what was refused."""

    def __init__(
        self,
        engine: AdapterMemory,
        store: Store,
        served: Served,
        tokenize: Tokenize,
        metrics: Metrics,
    ) -> None:
        self._engine = engine
        self._store = store
        self._served = served
        self._tokenize = tokenize
        self._metrics = metrics
        self._loaded: dict[str, Rendering] = {}  # least recently used first
        self._users: Counter[str] = Counter()
        self._loading: dict[str, asyncio.Task[Rendering]] = {}
        self._refused: dict[str, tuple[float, Refusal]] = {}
        self._base: asyncio.Task[str] | None = None
        self._turn = asyncio.Lock()
        self._released = asyncio.Event()

    def loaded(self) -> list[str]:
        """Versions in the engine, least recently used first."""
        return list(self._loaded)

    def in_flight(self) -> dict[str, int]:
        """Version → requests that use it now."""
        return dict(self._users)

    def refused(self) -> dict[str, str]:
        """Version → why it was refused, of those that are not tried again at once."""
        now = monotonic()
        return {name: str(why) for name, (until, why) in self._refused.items() if now < until}

    def knows(self, version: str) -> bool:
        """Whether `version` is loaded or published; a loaded one outlives its folder."""
        return version in self._loaded or (
            VERSION.fullmatch(version) is not None and self._store.has(version)
        )

    @contextlib.asynccontextmanager
    async def using(self, version: str) -> AsyncIterator[Rendering]:
        """Have `version` in the engine for the block. Raises Refusal when it cannot be."""
        self._users[version] += 1
        try:
            yield await self.ensure(version)
        finally:
            self._users[version] -= 1
            if not self._users[version]:
                del self._users[version]
                self._released.set()

    async def ensure(self, version: str) -> Rendering:
        """Load `version` unless it is loaded. Any number of callers cause one load, which goes on
        when they leave. Raises Refusal 404, 409 (made for another server) or 503."""
        if version in self._loaded:
            self._loaded[version] = self._loaded.pop(version)
            return self._loaded[version]
        if version not in self._loading:
            self._raise_if_refused(version)
            task = asyncio.create_task(self._load(version))
            self._loading[version] = task
            task.add_done_callback(lambda done: self._finished(version, done))
        return await asyncio.shield(self._loading[version])

    def _raise_if_refused(self, version: str) -> None:
        until, refusal = self._refused.get(version, (0.0, None))
        if refusal and monotonic() < until:
            raise refusal.with_traceback(None)
        self._refused.pop(version, None)

    def _finished(self, version: str, task: asyncio.Task[Rendering]) -> None:
        del self._loading[version]
        error = None if task.cancelled() else task.exception()
        if isinstance(error, Refusal):
            _log.warning("%s: refused (%d): %s", version, error.status, error)
            self._metrics.refused(version)
            if error.status != 404:  # it may be published at any moment
                self._remember(version, error)

    def _remember(self, version: str, refusal: Refusal) -> None:
        now = monotonic()
        still = {name: entry for name, entry in self._refused.items() if now < entry[0]}
        self._refused = still | {version: (now + REFUSED_S, refusal)}

    async def _load(self, version: str) -> Rendering:
        started = monotonic()
        manifest = await asyncio.to_thread(check, version, self._store, self._served)
        version_dir = self._store.version_dir(version).absolute()
        rendering = await prove(manifest, version_dir, self._served, self._tokenize)
        _same(version, "base weights", manifest.base.weights, await self._base_digest())
        async with self._turn:
            try:
                await self._make_room()
                await self._engine.load(version, version_dir)
            except Refusal:
                raise
            except Exception as error:
                raise Refusal(
                    503, f"{version}: the engine could not load it: {error}", param="model"
                ) from error
            self._loaded[version] = rendering
        self._metrics.loaded(version, monotonic() - started)
        _log.info("%s: loaded in %.0f ms", version, 1000 * (monotonic() - started))
        return rendering

    async def _base_digest(self) -> str:
        """Digest of the base, taken once: the engine keeps what it read at the start. Raises
        Refusal 503 when its files cannot be read; the next load tries again."""
        if self._base is None:
            self._base = asyncio.create_task(asyncio.to_thread(base_digest, self._served.base_dir))
        try:
            return await self._base
        except OSError as error:
            self._base = None
            raise Refusal(503, f"the base's files cannot be read: {error}") from None

    async def _make_room(self) -> None:
        deadline = monotonic() + ROOM_S
        while len(self._loaded) >= self._served.max_versions:
            idle = next((each for each in self._loaded if each not in self._users), None)
            if idle:
                del self._loaded[idle]
                await self._engine.unload(idle)
                self._metrics.evicted(idle)
                _log.info("%s: unloaded to make room", idle)
                continue
            self._released.clear()
            try:
                await asyncio.wait_for(self._released.wait(), deadline - monotonic())
            except TimeoutError:
                raise Refusal(
                    503,
                    f"all {len(self._loaded)} adapter versions in memory are in use; "
                    "raise --max-cpu-loras",
                ) from None


def check(version: str, store: Store, served: Served) -> Manifest:
    """The manifest of a version whose published files are intact and made for this server, as far
    as that can be told without reading the base's weights. Raises Refusal."""
    if not store.has(version):
        raise Refusal(404, f"no version {version!r} in the store", param="model")
    try:
        manifest = store.manifest(version)
    except HarnessError as error:
        status = 503 if store.has(version) else 404
        raise _refusal(status, version, store.version_dir(version), error) from None
    if manifest.version != version:
        raise Refusal(503, f"{version}: its manifest is that of {manifest.version}", param="model")
    _check_fits(manifest, served)
    folder = store.version_dir(version)
    try:
        store.verify(version)
    except (HarnessError, OSError) as error:
        raise _refusal(503, version, folder, error) from None
    try:
        facts = check_adapter(folder, served.base_dir)
    except OSError as error:
        raise _refusal(503, version, folder, error) from None
    except HarnessError as error:  # as published, so trying again cannot help
        raise _refusal(409, version, folder, error) from None
    _check_facts(manifest, facts, served)
    return manifest


def _refusal(status: int, version: str, folder: Path, error: Exception) -> Refusal:
    """Without the path of the store, which is not the clients' business."""
    return Refusal(status, f"{version}: {str(error).replace(f'{folder}/', '')}", param="model")


def _check_fits(manifest: Manifest, served: Served) -> None:
    _same(manifest.version, "base config.json", manifest.base.config, served.base_config)
    if manifest.rank > served.max_lora_rank:
        raise Refusal(
            409,
            f"{manifest.version}: rank {manifest.rank}, this server was started with "
            f"--max-lora-rank {served.max_lora_rank}",
            param="model",
        )


def _check_facts(manifest: Manifest, facts: AdapterFacts, served: Served) -> None:
    version = manifest.version
    if facts.rank != manifest.rank:
        raise Refusal(
            409, f"{version}: rank {facts.rank}, its manifest says {manifest.rank}", param="model"
        )
    foreign = sorted(facts.modules.difference(served.modules)) if served.modules else []
    if foreign:
        accepted = ", ".join(served.modules)
        raise Refusal(
            409,
            f"{version}: changes {', '.join(foreign)}; this server accepts: {accepted}",
            param="model",
        )


def _same(version: str, what: str, trained: str, here: str | None) -> None:
    """Raises Refusal 409 with both sides of the difference."""
    if trained != here:
        raise Refusal(
            409, f"{version}: trained with {what} {trained}, this server has {here}", param="model"
        )
