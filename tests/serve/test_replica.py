"""A server among the store's replicas: there while it serves, and never in the way of serving."""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.store import Store
from harness.store.replicas import Replica
from serve.asgi import Message
from serve.config import Served
from serve.replica import Presence
from tests.serve.fakes import served

STARTED: Message = {"type": "lifespan.startup.complete"}
ENDED: Message = {"type": "lifespan.shutdown.complete"}


def presence(store: Store, room: Served | None = None) -> Presence:
    return Presence(room or served(store.home), store.replicas, beat_s=0.01)


def ids(store: Store) -> list[str]:
    return [each.id for each in store.replicas.living()]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


async def ignore(message: Message) -> None:
    """A `send` that nobody listens to."""


def test_the_file_is_there_from_the_start_to_the_end_of_serving(tmp_path: Path) -> None:
    store = Store(tmp_path)
    own = presence(store)
    seen_at_end = []

    async def send(message: Message) -> None:
        if message == ENDED:  # the process may end as soon as this is known
            seen_at_end.append(ids(store))

    async def scenario() -> None:
        async with own.announced(send) as forward:
            await asyncio.sleep(0.05)
            assert ids(store) == []
            await forward(STARTED)
            await until(lambda: ids(store) == [own.id])
            await forward(ENDED)
            assert ids(store) == []

    asyncio.run(scenario())
    assert seen_at_end == [[]]


def test_a_server_that_fails_leaves_no_file(tmp_path: Path) -> None:
    store = Store(tmp_path)
    own = presence(store)

    async def scenario() -> None:
        async with own.announced(ignore) as forward:
            await forward(STARTED)
            await until(lambda: ids(store) == [own.id])
            raise RuntimeError("the engine died")

    with pytest.raises(RuntimeError, match="the engine died"):
        asyncio.run(scenario())
    assert ids(store) == []


def test_it_says_where_and_what_it_is(tmp_path: Path) -> None:
    store = Store(tmp_path)
    room = served(tmp_path).model_copy(update={"url": "http://10.0.0.7:8000/v1/"})
    own = presence(store, room)

    async def scenario() -> None:
        async with own.announced(ignore) as forward:
            await forward(STARTED)
            await until(lambda: ids(store) == [own.id])
            [file] = store.replicas.living()
            assert (file.url, file.base_name) == ("http://10.0.0.7:8000", "pocket")
            assert (file.base_config, file.dtype) == (room.base_config, room.dtype)

    asyncio.run(scenario())


def test_it_beats_and_comes_back_when_its_file_was_taken_away(tmp_path: Path) -> None:
    store = Store(tmp_path)
    own = presence(store)
    path = tmp_path / "replicas" / f"{own.id}.json"

    async def scenario() -> None:
        async with own.announced(ignore) as forward:
            await forward(STARTED)
            await until(path.exists)
            first = path.stat().st_mtime_ns
            await until(lambda: path.stat().st_mtime_ns > first)
            path.unlink()
            await until(path.exists)

    asyncio.run(scenario())


def test_a_store_that_cannot_be_written_is_said_once_and_serving_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "replicas").write_text("no folder")
    own = presence(Store(tmp_path))

    async def scenario() -> None:
        async with own.announced(ignore) as forward:
            await forward(STARTED)
            await until(lambda: bool(caplog.records))
            await asyncio.sleep(0.1)
            assert len(caplog.records) == 1
            (tmp_path / "replicas").unlink()
            await until(lambda: ids(Store(tmp_path)) == [own.id])

    with caplog.at_level(logging.ERROR):
        asyncio.run(scenario())


def test_an_error_that_names_another_file_every_time_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, tried = Store(tmp_path), []

    def refuse(replica: Replica) -> None:
        tried.append(replica)
        raise OSError(errno.EROFS, "Read-only file system", f".clock-{len(tried)}")

    monkeypatch.setattr(store.replicas, "register", refuse)

    async def scenario() -> None:
        async with presence(store).announced(ignore) as forward:
            await forward(STARTED)
            await until(lambda: len(tried) > 2)

    asyncio.run(scenario())
    assert len(caplog.records) == 1


def test_a_server_without_an_address_for_others_tells_nobody(tmp_path: Path) -> None:
    own = presence(Store(tmp_path), served(tmp_path).model_copy(update={"url": None}))

    async def scenario() -> None:
        async with own.announced(ignore) as forward:
            await forward(STARTED)
            await asyncio.sleep(0.05)

    asyncio.run(scenario())
    assert not (tmp_path / "replicas").exists()
