"""An alias changes on every server or on none, and whoever hinders it is named. The servers are the
real middleware on real sockets; only what lies beneath them is made up."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from harness import rollout
from harness.errors import EndpointError, StoreError
from harness.progress import Reporter
from harness.release.promote import PromotionRefused
from harness.rollout import Rollout
from harness.store import Replica, Store
from harness.store.replicas import GONE_S
from harness.types import Decision, Status
from serve.keys import ADMIN_KEYS
from tests.serve.fakes import CONFIG
from tests.serve.fleet import Fleet, Trained, proven
from tests.workbench import harness

AT = "2030-01-02T03:04:05+00:00"
OTHER = "0" * 64
"""SHA-256 of another base's config."""


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fleet:
    monkeypatch.delenv(ADMIN_KEYS, raising=False)
    monkeypatch.setattr(rollout, "SEEN_S", 0.5)
    return Fleet(tmp_path / "home", monkeypatch)


def judge(store: Store, version: str, baseline: str, status: Status = "pass") -> None:
    decision = Decision(
        status=status,
        candidate=version,
        baseline=baseline,
        evalset="e",
        judge="j",
        comparison=None,
        gate={"on_inconclusive": "block"},
        rules=(),
    )
    store.record(decision, at=AT, run="r")


async def promote(store: Store, version: str, override: str | None = "because") -> Rollout:
    """As a command does it: beside the servers."""
    return await asyncio.to_thread(
        rollout.promote,
        store,
        version,
        Reporter(),
        alias="prod",
        at=AT,
        override=override,
    )


async def split(store: Store, shares: dict[str, int], override: str | None = None) -> Rollout:
    return await asyncio.to_thread(
        rollout.split, store, "prod", shares, Reporter(), at=AT, override=override
    )


async def rollback(store: Store) -> Rollout:
    return await asyncio.to_thread(rollout.rollback, store, "prod", Reporter(), at=AT)


async def refused(change: Awaitable[Any]) -> str:
    with pytest.raises(EndpointError) as found:
        await change
    assert found.value.exit_code == 4
    assert found.value.hint
    return str(found.value)


def test_a_version_is_loaded_and_proven_everywhere_before_the_alias_moves(fleet: Fleet) -> None:
    store = fleet.store
    one, two = proven(store, "one"), proven(store, "two")
    judge(store, one, "pocket")
    judge(store, two, one)

    async def scenario() -> None:
        async with fleet.server() as first, fleet.server() as second:
            done = await promote(store, one, override=None)
            assert {each.id for each in done.replicas} == {first.replica.id, second.replica.id}
            assert first.engine.loaded == second.engine.loaded == [one]
            done = await promote(store, two, override=None)
            assert (done.change.previous, done.change.version) == (one, two)
            assert first.engine.loaded == second.engine.loaded == [one, two]

    asyncio.run(scenario())
    assert store.aliases() == {"prod": two}
    assert store.replicas.living() == []


def test_one_server_that_cannot_load_it_leaves_the_alias_where_it_is(fleet: Fleet) -> None:
    store = fleet.store
    one, two = proven(store, "one"), proven(store, "two")

    async def scenario() -> None:
        async with fleet.server(), fleet.server() as full:
            await promote(store, one)
            full.engine.failure = ValueError("no such module")
            message = await refused(promote(store, two))
            assert f"'prod' stays at {one}: 1 of 2 replicas cannot serve {two}" in message
            assert full.replica.id in message
            assert "no such module" in message

    asyncio.run(scenario())
    assert store.aliases() == {"prod": one}
    assert len(store.history("prod").changes) == 1


def test_what_is_not_served_as_trained_moves_by_no_override(fleet: Fleet) -> None:
    version = proven(fleet.store, "one")

    async def scenario() -> None:
        async with fleet.server(), fleet.server(wrong=True) as wrong:
            message = await refused(promote(fleet.store, version, override="in a hurry"))
            assert wrong.replica.id in message
            assert "differ from PEFT's by 0.1" in message

    asyncio.run(scenario())
    assert fleet.store.aliases() == {}


def test_a_version_that_may_not_move_is_loaded_nowhere(fleet: Fleet) -> None:
    version = proven(fleet.store, "one")
    judge(fleet.store, version, "pocket", "fail")

    async def scenario() -> None:
        async with fleet.server() as server:
            with pytest.raises(PromotionRefused):
                await promote(fleet.store, version, override=None)
            assert server.engine.loads == []

    asyncio.run(scenario())


def ghost(url: str, **different: Any) -> Replica:
    """A server's file whose server is not there."""
    known: dict[str, Any] = {
        "id": "f" * 12,
        "base_name": "pocket",
        "base_config": CONFIG,
        "dtype": "float32",
    }
    place = {"url": url, "host": "elsewhere", "pid": 1, "started_at": AT}
    return Replica(**known | place | different)


def unused() -> str:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return f"http://127.0.0.1:{free.getsockname()[1]}"


def test_a_server_that_cannot_be_reached_is_waited_for_until_it_is_gone(fleet: Fleet) -> None:
    store, version = fleet.store, proven(fleet.store, "one")
    lost = ghost(unused())
    store.replicas.register(lost)
    with pytest.raises(EndpointError) as found:
        asyncio.run(promote(store, version))
    assert found.value.hint
    assert "it runs on elsewhere and can be reached from there only" in found.value.hint
    message = str(found.value)
    assert lost.label in message
    assert "cannot be reached" in message
    assert store.aliases() == {}
    path = store.home / "replicas" / f"{lost.id}.json"
    long_ago = path.stat().st_mtime - GONE_S
    os.utime(path, (long_ago, long_ago))
    assert asyncio.run(promote(store, version)).replicas == ()


def test_a_server_that_does_not_see_the_move_is_named(fleet: Fleet, tmp_path: Path) -> None:
    store = fleet.store
    one, two = proven(store, "one"), proven(store, "two")

    async def scenario() -> None:
        async with fleet.server(), fleet.server(reads=tmp_path / "copy.json") as behind:
            message = await refused(promote(store, one))
            assert f"prod: new → {one} is done in the store, but 1 of 2 replicas" in message
            assert f"{behind.replica.label} sees no such alias" in message
            (tmp_path / "copy.json").write_bytes(store.aliases_path.read_bytes())
            await promote(store, one)
            message = await refused(promote(store, two))
            assert f"{behind.replica.label} sees {one}" in message
            message = await refused(split(store, {two: 1, one: 1}, "trial"))
            assert f"{behind.replica.label} sees {one}" in message

    asyncio.run(scenario())
    assert store.splits() == {"prod": {two: 1, one: 1}}


def test_servers_of_other_bases_are_left_out_and_named(fleet: Fleet) -> None:
    version = proven(fleet.store, "one")

    async def scenario() -> None:
        async with fleet.server() as own, fleet.server(config=OTHER) as other:
            done = await promote(fleet.store, version)
            assert (done.replicas, done.others) == ((own.replica,), (other.replica,))
            assert other.engine.loads == []

    asyncio.run(scenario())


def test_another_server_at_the_same_address_is_no_proof(fleet: Fleet) -> None:
    version = proven(fleet.store, "one")

    async def scenario() -> None:
        async with fleet.server() as server:
            fleet.store.replicas.register(ghost(server.replica.url))
            message = await refused(promote(fleet.store, version))
            assert f"another one answers there: {server.replica.id}" in message

    asyncio.run(scenario())


def test_a_server_that_is_ending_is_not_waited_for(fleet: Fleet) -> None:
    version = proven(fleet.store, "one")

    async def scenario() -> None:
        async with fleet.server() as server:
            signal.raise_signal(signal.SIGTERM)
            assert (await promote(fleet.store, version)).replicas == ()
            assert server.engine.loads == []

    asyncio.run(scenario())


def test_without_servers_an_alias_moves_unproven(fleet: Fleet) -> None:
    version = proven(fleet.store, "one")
    done = asyncio.run(promote(fleet.store, version))
    assert (done.replicas, done.others) == ((), ())
    assert fleet.store.aliases() == {"prod": version}


def test_a_split_needs_of_every_newcomer_what_a_promotion_needs(fleet: Fleet) -> None:
    store = fleet.store
    one, two, three = (proven(store, name) for name in ("one", "two", "three"))
    foreign = proven(store, "foreign", config=OTHER)
    judge(store, two, one)

    async def scenario() -> None:
        async with fleet.server() as first, fleet.server() as second:
            await promote(store, one)
            with pytest.raises(StoreError, match=f"{three}: no decision"):
                await split(store, {one: 80, two: 10, three: 10})
            with pytest.raises(StoreError, match="of different bases"):
                await split(store, {one: 80, two: 10, foreign: 10}, "trial")
            with pytest.raises(StoreError, match=f"{one} among them"):
                await split(store, {two: 10, three: 10}, "trial")
            with pytest.raises(StoreError, match="of different bases"):
                await split(store, {one: 90, foreign: 10}, "trial")
            assert store.splits() == {}
            assert second.engine.loads == [one]
            done = await split(store, {one: 90, two: 10})
            assert done.change.split == {one: 90, two: 10}
            assert first.engine.loads == second.engine.loads == [one, two]
            ended = await rollback(store)
            assert (ended.change.version, len(ended.replicas)) == (one, 2)

    asyncio.run(scenario())
    assert (store.aliases(), store.splits()) == ({"prod": one}, {})


def test_a_rollback_asks_nobody_before_and_everybody_after(fleet: Fleet) -> None:
    store = fleet.store
    one, two = proven(store, "one"), proven(store, "two")

    async def scenario() -> None:
        async with fleet.server() as server:
            await promote(store, one)
            await promote(store, two)
            server.engine.loads.clear()
            assert (await rollback(store)).replicas == (server.replica,)
            assert server.engine.loads == []
            await promote(store, two)
            lost = ghost(unused())
            store.replicas.register(lost)
            assert lost.label in await refused(rollback(store))

    asyncio.run(scenario())
    assert store.aliases() == {"prod": one}


def test_servers_with_keys_are_asked_with_the_first_admin_key(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    version, secret = proven(fleet.store, "one"), "hk-0123456789abcdef"

    async def scenario() -> None:
        monkeypatch.setenv(ADMIN_KEYS, secret)  # taken out again by the server
        async with fleet.server():
            message = await refused(promote(fleet.store, version))
            assert "refuses the key (status 401)" in message
            monkeypatch.setenv(ADMIN_KEYS, f"sha256:{OTHER}, {secret}")
            assert len((await promote(fleet.store, version)).replicas) == 1

    asyncio.run(scenario())


def test_status_tells_what_every_server_sees_and_names_what_differs(
    fleet: Fleet, tmp_path: Path
) -> None:
    store, version = fleet.store, proven(fleet.store, "one")

    async def status(*args: str) -> subprocess.CompletedProcess[str]:
        return await asyncio.to_thread(harness, "serve", "status", *args, home=store.home)

    async def scenario() -> None:
        assert (await status()).returncode == 4
        async with fleet.server() as server:
            await promote(store, version)
            fine = await status()
            assert fine.returncode == 0
            assert server.replica.id in fine.stdout
            assert f"alias    prod is {version}" in fine.stdout
            store.replicas.register(ghost(unused(), base_name="\x1b[31mred", started_at="no date"))
            async with fleet.server(reads=tmp_path / "copy.json") as behind:
                wrong = await status()
                assert wrong.returncode == 4
                assert f"{behind.replica.label} sees prod at nothing" in wrong.stdout
                assert "cannot be reached" in wrong.stdout
                assert "\x1b" not in wrong.stdout
                value = json.loads((await status("--json")).stdout)
        found = {each["id"]: each for each in value["replicas"]}
        assert found[server.replica.id]["problems"] == []
        assert found[server.replica.id]["status"]["loaded"] == [version]
        assert found["f" * 12]["state"] == "unknown"
        assert value["aliases"] == found[server.replica.id]["status"]["aliases"]

    asyncio.run(scenario())


def test_what_answers_as_no_harness_server_is_told_apart(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = proven(fleet.store, "one")
    change: Callable[..., Any] = lambda self, body: {"hello": "world"}  # noqa: E731
    monkeypatch.setattr(Trained, "_answer", change)

    async def scenario() -> None:
        async with fleet.server():
            assert "cannot serve" in await refused(promote(fleet.store, version))

    asyncio.run(scenario())
