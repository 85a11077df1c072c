"""Loading, refusing and making room, against an engine that only remembers."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import Any

import pytest

import serve.loader
from harness.store import Store, base_digest
from serve.asgi import Refusal
from serve.loader import Loader
from serve.metrics import Metrics
from tests.serve.fakes import (
    CONFIG,
    WEIGHTS,
    FakeEngine,
    made_up,
    publish,
    published,
    safetensors,
    served,
)

BASE = {"model.layers.0.q_proj.weight": (2, 2)}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "home")


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


def make(engine: FakeEngine, store: Store, max_versions: int = 4) -> Loader:
    async def tokenize(body: Mapping[str, Any]) -> tuple[int, ...]:
        raise AssertionError("these versions have no probe rows")

    about = served(store.home, max_versions=max_versions)
    return Loader(engine, store, about, tokenize, Metrics())


async def refused(waiting: Coroutine[Any, Any, Any]) -> Refusal:
    with pytest.raises(Refusal) as caught:
        await waiting
    return caught.value


def test_a_hundred_first_requests_cause_one_load(store: Store, engine: FakeEngine) -> None:
    version = published(store, "bot")
    loader = make(engine, store)

    async def scenario() -> None:
        await asyncio.gather(*(loader.ensure(version) for _ in range(100)))
        await loader.ensure(version)

    asyncio.run(scenario())
    assert engine.loads == [version]


def test_a_load_goes_on_when_its_client_leaves(store: Store, engine: FakeEngine) -> None:
    version = published(store, "bot")
    loader = make(engine, store)

    async def scenario() -> None:
        engine.gate = asyncio.Event()
        client = asyncio.create_task(loader.ensure(version))
        while not engine.loads:
            await asyncio.sleep(0.001)
        client.cancel()
        with pytest.raises(asyncio.CancelledError):
            await client
        engine.gate.set()
        await loader.ensure(version)

    asyncio.run(scenario())
    assert engine.loads == engine.loaded == [version]


def test_the_engines_words_reach_the_client_and_it_is_not_asked_again_at_once(
    store: Store, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = published(store, "bot")
    loader = make(engine, store)

    async def scenario() -> None:
        engine.failure = ValueError("target modules {'x'} not found")
        first = await refused(loader.ensure(version))
        second = await refused(loader.ensure(version))
        assert first.status == second.status == 503
        assert "target modules {'x'} not found" in str(second)
        assert engine.loads == [version]
        engine.failure = None
        monkeypatch.setattr(serve.loader, "monotonic", lambda: 1e12)
        await loader.ensure(version)

    asyncio.run(scenario())
    assert engine.loaded == [version]


def test_refusals_are_forgotten_so_that_any_number_of_them_costs_nothing(
    store: Store, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    loader, now = make(engine, store), 0.0
    monkeypatch.setattr(serve.loader, "monotonic", lambda: now)
    engine.failure = ValueError("no")

    async def scenario() -> None:
        nonlocal now
        for number in range(20):
            await refused(loader.ensure(published(store, f"bot-{number}")))
            now += serve.loader.REFUSED_S
            assert len(loader._refused) == 1

    asyncio.run(scenario())


def test_an_engine_that_fails_to_unload_refuses_the_next(store: Store, engine: FakeEngine) -> None:
    first, second = published(store, "a"), published(store, "b")
    loader = make(engine, store, max_versions=1)

    async def failing(version: str) -> None:
        raise RuntimeError("engine dead")

    async def scenario() -> None:
        await loader.ensure(first)
        engine.unload = failing  # type: ignore[method-assign]
        refusal = await refused(loader.ensure(second))
        assert refusal.status == 503
        assert "engine dead" in str(refusal)

    asyncio.run(scenario())


def test_a_version_published_after_it_was_missed_is_served(
    store: Store, engine: FakeEngine
) -> None:
    version = published(store, "bot")
    hidden = store.home / "hidden"
    store.version_dir(version).rename(hidden)
    loader = make(engine, store)

    async def scenario() -> None:
        assert (await refused(loader.ensure(version))).status == 404
        hidden.rename(store.version_dir(version))
        await loader.ensure(version)

    asyncio.run(scenario())


def test_the_least_recently_used_idle_version_makes_room(store: Store, engine: FakeEngine) -> None:
    first, second, third, fourth = (published(store, name) for name in "abcd")
    loader = make(engine, store, max_versions=2)

    async def scenario() -> None:
        await loader.ensure(first)
        await loader.ensure(second)
        await loader.ensure(first)
        await loader.ensure(third)
        assert engine.loaded == [first, third]
        async with loader.using(first):
            await loader.ensure(fourth)
            assert engine.loaded == [first, fourth]

    asyncio.run(scenario())


def test_a_load_waits_for_room_and_never_evicts_what_is_in_use(
    store: Store, engine: FakeEngine
) -> None:
    first, second = published(store, "a"), published(store, "b")
    loader = make(engine, store, max_versions=1)

    async def scenario() -> None:
        async with loader.using(first):
            waiting = asyncio.create_task(loader.ensure(second))
            await asyncio.sleep(0.05)
            assert engine.loaded == [first]
        await waiting
        assert engine.loaded == [second]

    asyncio.run(scenario())


def test_no_room_for_too_long_is_a_refusal_with_the_next_step(
    store: Store, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serve.loader, "ROOM_S", 0.02)
    first, second = published(store, "a"), published(store, "b")
    loader = make(engine, store, max_versions=1)

    async def scenario() -> None:
        async with loader.using(first):
            refusal = await refused(loader.ensure(second))
            assert refusal.status == 503
            assert "--max-cpu-loras" in str(refusal)

    asyncio.run(scenario())
    assert engine.loaded == [first]


@pytest.mark.parametrize(
    ("different", "words"),
    [
        ({"config": "0" * 64}, ["config.json", "0" * 64, CONFIG]),
        ({"weights": "0" * 64}, ["weights", "0" * 64, WEIGHTS]),
        ({"rank": 17}, ["rank 17", "--max-lora-rank 16"]),
    ],
)
def test_a_version_made_for_another_server_is_refused_with_both_sides(
    store: Store, engine: FakeEngine, different: dict[str, Any], words: list[str]
) -> None:
    version = published(store, "bot", **different)
    refusal = asyncio.run(refused(make(engine, store).ensure(version)))
    assert refusal.status == 409
    assert all(word in str(refusal) for word in words)
    assert engine.loads == []


def test_the_base_is_what_it_was_at_the_first_load_and_is_read_once(
    store: Store, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    base_dir = served(store.home).base_dir
    base_dir.mkdir(parents=True)
    (base_dir / "config.json").write_text("{}")
    (base_dir / "model.safetensors").write_bytes(safetensors(BASE))
    names: list[Path] = []

    def counted(path: Path) -> str:
        names.append(path)
        return base_digest(path)

    monkeypatch.setattr(serve.loader, "base_digest", counted)
    weights = base_digest(base_dir)
    first, second, third = (published(store, name, weights=weights) for name in "abc")
    loader = make(engine, store)

    async def scenario() -> None:
        await asyncio.gather(loader.ensure(first), loader.ensure(second))
        (base_dir / "model.safetensors").write_bytes(safetensors(BASE, fill=1.0))
        await loader.ensure(third)

    asyncio.run(scenario())
    assert names == [base_dir]


def test_a_base_that_cannot_be_read_is_tried_again(
    store: Store, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = published(store, "bot")
    loader = make(engine, store)

    def fail(path: Path) -> str:
        raise OSError("stale file handle")

    async def scenario() -> None:
        with monkeypatch.context() as faulty:
            faulty.setattr(serve.loader, "base_digest", fail)
            refusal = await refused(loader.ensure(version))
        assert refusal.status == 503
        assert "stale file handle" in str(refusal)
        monkeypatch.setattr(serve.loader, "monotonic", lambda: 1e12)
        await loader.ensure(version)

    asyncio.run(scenario())


def test_an_adapter_of_the_output_head_is_refused(store: Store, engine: FakeEngine) -> None:
    files = made_up("bot", module="lm_head")
    refusal = asyncio.run(refused(make(engine, store).ensure(publish(store, "bot", files))))
    assert refusal.status == 409
    assert "changes lm_head; this server accepts: down_proj, q_proj" in str(refusal)


@pytest.mark.parametrize(
    ("different", "words"),
    [
        ({"rank": 4}, "rank 8, its manifest says 4"),
        ({"weights": b"none"}, "adapter_model.safetensors is damaged or cut short"),
    ],
)
def test_an_unfit_adapter_that_was_published_all_the_same_never_reaches_the_engine(
    store: Store, engine: FakeEngine, different: dict[str, Any], words: str
) -> None:
    files = made_up("bot")
    if "weights" in different:
        files["adapter_model.safetensors"] = different.pop("weights")
    version = publish(store, "bot", files, **different)
    refusal = asyncio.run(refused(make(engine, store).ensure(version)))
    assert refusal.status == 409
    assert f"{version}: {words}" in str(refusal)
    assert engine.loads == []


def test_the_difference_names_what_this_server_has(store: Store, engine: FakeEngine) -> None:
    version = published(store, "bot", config="0" * 64)
    refusal = asyncio.run(refused(make(engine, store).ensure(version)))
    assert str(served(store.home).base_config) in str(refusal)


@pytest.mark.parametrize("harm", ["change", "remove", "manifest", "other manifest"])
def test_a_damaged_version_never_reaches_the_engine(
    store: Store, engine: FakeEngine, harm: str
) -> None:
    version, other = published(store, "bot"), published(store, "other")
    folder = store.version_dir(version)
    if harm == "change":
        (folder / "adapter_model.safetensors").write_bytes(b"other weights")
    elif harm == "remove":
        (folder / "adapter_model.safetensors").unlink()
    elif harm == "manifest":
        (folder / "manifest.json").write_text("{")
    else:
        manifest = (store.version_dir(other) / "manifest.json").read_bytes()
        (folder / "manifest.json").write_bytes(manifest)
    refusal = asyncio.run(refused(make(engine, store).ensure(version)))
    assert refusal.status == 503
    assert version in str(refusal)
    assert engine.loads == []


def test_a_loaded_version_outlives_its_folder(store: Store, engine: FakeEngine) -> None:
    version = published(store, "bot")
    loader = make(engine, store)
    assert not loader.knows("bot@" + "0" * 12)
    assert not loader.knows("../../etc/passwd")

    async def scenario() -> None:
        await loader.ensure(version)
        store.version_dir(version).rename(store.home / "gone")
        assert loader.knows(version)
        await loader.ensure(version)

    asyncio.run(scenario())


def test_loads_evictions_and_refusals_are_counted(store: Store, engine: FakeEngine) -> None:
    one, two = published(store, "one"), published(store, "two")
    loader = make(engine, store, max_versions=1)

    async def scenario() -> None:
        await loader.ensure(one)
        await loader.ensure(two)
        await refused(loader.ensure("bot@" + "0" * 12))

    asyncio.run(scenario())
    shown = loader._metrics.render().decode()
    for line in (
        'harness_loads_total{result="loaded"} 2.0',
        'harness_loads_total{result="refused"} 1.0',
        "harness_evictions_total 1.0",
        f'harness_resident{{version="{two}"}} 1.0',
    ):
        assert line in shown
    assert one not in shown
