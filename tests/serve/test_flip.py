"""An alias moves under load: no request fails, none is answered by a version that it did not mean.

For seconds here; benchmarks/flip.py does the same for minutes.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.server import ServerSpec, running, usable_port
from harness.store import Store
from tests.serve import flip_variants as variants
from tests.serve.adapters import KWARGS
from tests.serve.flip import Outcome
from tests.serve.live import MAX_CONTEXT, POCKET_BASE, Live
from tests.serve.nginx import balanced, needs_nginx

pytestmark = pytest.mark.vllm

DRAIN_S = 8.0


def assert_flawless(outcome: Outcome) -> None:
    assert outcome.errors == ()
    assert outcome.wrong == ()
    assert outcome.stale == ()
    assert outcome.n_flips > 4
    assert outcome.n_streamed > 0
    assert all(outcome.answered.values()), "a version was never asked"


def spec(home: Path, **different: object) -> ServerSpec:
    port = usable_port(None)
    return ServerSpec(
        home=home,
        base_dir=POCKET_BASE,
        base_name="pocket",
        max_context=MAX_CONTEXT,
        kwargs=KWARGS,
        port=port,
        url=f"http://127.0.0.1:{port}",
        **different,  # type: ignore[arg-type]
    )


def test_moving_the_alias_of_one_server(live: Live) -> None:
    assert_flawless(variants.plain(live.server, live.store, [*live.versions], seconds=8))


def test_moving_it_among_versions_that_are_evicted_and_deleted(live: Live) -> None:
    files = {f"churn{number}": live.files[number % 2] for number in range(18)}  # it holds fourteen
    publisher = variants.Publisher(live.store, live.base_dir, files)
    outcome = variants.churn(live.server, live.store, publisher, seconds=10, every_s=0.25)
    assert_flawless(outcome)


@needs_nginx
def test_moving_it_behind_nginx_while_a_replica_is_started_again(
    live: Live, tmp_path: Path
) -> None:
    files = {"one": live.files[0], "two": live.files[1]}
    proofs = {name: variants.proof(live.base_dir, each) for name, each in files.items()}
    versions = variants.Publisher(live.store, live.base_dir, files, proofs).versions
    replica = variants.Replica(spec(live.store.home, drain_s=DRAIN_S), tmp_path / "replica.log")
    urls = (live.server.base_url, replica.server.base_url)
    try:
        with balanced(urls, usable_port(None), tmp_path / "nginx") as front:
            outcome = variants.replicated(front, replica, live.store, versions, seconds=8)
    finally:
        replica.stop()
    assert_flawless(outcome)


def test_moving_it_before_two_engines(live: Live, tmp_path: Path) -> None:
    store = Store(tmp_path / "home")
    files = {"one": live.files[0], "two": live.files[1]}
    versions = variants.Publisher(store, live.base_dir, files).versions
    two = spec(store.home, extra=("--data-parallel-size", "2"))
    with running(two, log_path=tmp_path / "server.log") as server:
        outcome = variants.plain(server, store, versions, seconds=8)
    assert_flawless(outcome)
