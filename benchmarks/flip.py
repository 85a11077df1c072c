"""How many requests fail, or are answered by the wrong version, while an alias moves every second.

    .venv/bin/python -m benchmarks.flip [--seconds 120] [--variant all]

Sixteen clients, three requests of ten streamed, random adapters on the pocket base that answer
differently; tests/serve/flip.py says what counts as an error, wrong and stale. Variants: `plain`;
`churn`, twice as many versions as the server holds, each one's folder deleted as soon as it is
loaded; `nginx`, two replicas behind serve/examples/nginx.conf, moved by what `harness promote`
does, one of them drained and started again three times; `data-parallel`, two engines. Prints
Markdown and what went wrong; exits with 1 where anything did.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from harness.pocket import BASE_DIR
from harness.server import ServerSpec, running, usable_port
from harness.store import Store
from tests.serve import flip_variants as variants
from tests.serve.adapters import KWARGS
from tests.serve.flip import Outcome
from tests.serve.nginx import balanced

N_LOADED = 3
N_RESTARTS = 3
DRAIN_S = 20.0
_SHOWN = 5


def plain(folder: Path, seconds: float) -> Outcome:
    store = Store(folder / "home")
    files = variants.adapters(BASE_DIR, "v", N_LOADED)
    versions = variants.Publisher(store, BASE_DIR, files).versions
    with running(_spec(store), log_path=folder / "server.log") as server:
        return variants.plain(server, store, versions, seconds=seconds)


def churn(folder: Path, seconds: float) -> Outcome:
    store = Store(folder / "home")
    publisher = variants.Publisher(store, BASE_DIR, variants.adapters(BASE_DIR, "v", 2 * N_LOADED))
    with running(_spec(store), log_path=folder / "server.log") as server:
        return variants.churn(server, store, publisher, seconds=seconds)


def nginx(folder: Path, seconds: float) -> Outcome:
    if shutil.which("nginx") is None:
        raise SystemExit("no nginx; on Debian: apt-get install nginx-light")
    store = Store(folder / "home")
    files = variants.adapters(BASE_DIR, "v", N_LOADED)
    proofs = {name: variants.proof(BASE_DIR, each) for name, each in files.items()}
    versions = variants.Publisher(store, BASE_DIR, files, proofs).versions
    replica = variants.Replica(_spec(store), folder / "replica.log")
    try:
        with running(_spec(store), log_path=folder / "server.log") as server:
            urls = (server.base_url, replica.server.base_url)
            with balanced(urls, usable_port(None), folder / "nginx") as front:
                return variants.replicated(
                    front, replica, store, versions, seconds=seconds, n_restarts=N_RESTARTS
                )
    finally:
        replica.stop()


def data_parallel(folder: Path, seconds: float) -> Outcome:
    store = Store(folder / "home")
    files = variants.adapters(BASE_DIR, "v", N_LOADED)
    versions = variants.Publisher(store, BASE_DIR, files).versions
    spec = _spec(store, "--data-parallel-size", "2")
    with running(spec, log_path=folder / "server.log") as server:
        return variants.plain(server, store, versions, seconds=seconds)


VARIANTS: dict[str, Callable[[Path, float], Outcome]] = {
    "plain": plain,
    "churn": churn,
    "nginx": nginx,
    "data-parallel": data_parallel,
}


def _spec(store: Store, *extra: str) -> ServerSpec:
    port = usable_port(None)
    return ServerSpec(
        home=store.home,
        base_dir=BASE_DIR,
        base_name="pocket",
        max_context=512,
        kwargs=KWARGS,
        port=port,
        url=f"http://127.0.0.1:{port}",
        drain_s=DRAIN_S,
        max_loaded=N_LOADED + 2,  # two places stay free
        extra=extra,
    )


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--variant", choices=[*VARIANTS, "all"], default="all")
    given = parser.parse_args()
    print("| variant | requests | streamed | flips | errors | wrong | stale | p50 / p99 ms |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |", flush=True)
    flawless = True
    for name in VARIANTS if given.variant == "all" else (given.variant,):
        with tempfile.TemporaryDirectory() as folder:
            outcome = VARIANTS[name](Path(folder), given.seconds)
        _print(name, outcome)
        flawless = flawless and outcome.flawless
    return 0 if flawless else 1


def _print(name: str, outcome: Outcome) -> None:
    counts = (outcome.n_requests, outcome.n_streamed, outcome.n_flips)
    faults = (outcome.errors, outcome.wrong, outcome.stale)
    times = " / ".join(f"{1000 * outcome.latency_s(share):.0f}" for share in (0.5, 0.99))
    print("|", " | ".join(map(str, (name, *counts, *map(len, faults), times))), "|", flush=True)
    for each in faults:
        for line in each[:_SHOWN]:
            print(f"{name}: {line}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
