"""Whether memory stays flat: versions that come and go, and requests for names nobody has.

    .venv/bin/python benchmarks/churn.py [--versions 10000] [--unknown 100000]

One random adapter is published again and again under new names, asked once on a real server of the
pocket base, and its folder deleted. Prints the resident memory of every server process as it goes.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx

from harness.pocket import BASE_DIR
from harness.server import Server, ServerSpec, running
from harness.store import Store, version_id

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.serve.adapters import publish_adapter, random_adapter
from tests.serve.live import group_members

THREADS = 4
PAGE = os.sysconf("SC_PAGE_SIZE")


class Publisher:
    """Publishes one adapter under as many names as wanted."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._first = publish_adapter(store, "churn", BASE_DIR, random_adapter(BASE_DIR, 1))
        self._manifest = store.manifest(self._first)

    def publish(self, number: int) -> str:
        name, manifest = f"churn-{number}", self._manifest
        staged = self._store.staging_dir(name)
        for file_name in manifest.files:
            os.link(self._store.version_dir(self._first) / file_name, staged / file_name)
        version = version_id(name, manifest.files, manifest.contract.dump())
        changed = manifest.model_copy(update={"version": version, "train_key": name})
        return self._store.add(staged, changed)


def ask(client: httpx.Client, model: str) -> int:
    body = {"model": model, "prompt": "hello", "max_tokens": 1, "temperature": 0}
    return client.post("/v1/completions", json=body).status_code


def memory(server: Server) -> str:
    """Resident MB of each server process that holds more than 100, largest first."""
    assert server.pid is not None
    found = []
    for pid in group_members(server.pid):
        resident = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE / 1e6
        role = "API" if pid == server.pid else "engine"
        if resident > 100:
            found.append((resident, f"{role} {resident:.1f} MB"))
    return ", ".join(text for _, text in sorted(found, reverse=True))


def versions(server: Server, client: httpx.Client, store: Store, n: int) -> None:
    publisher, started, seconds, loaded = Publisher(store), time.perf_counter(), [], []
    report(server, "at the start")
    for number in range(1, n + 1):
        version = publisher.publish(number)
        asked = time.perf_counter()
        assert ask(client, version) == 200
        seconds.append(time.perf_counter() - asked)
        shutil.rmtree(store.version_dir(version).parent)
        loaded = [*loaded[-3:], version]
        assert ask(client, loaded[0]) == 200  # its folder is gone
        if number % max(n // 10, 1) == 0:
            report(server, f"{number} versions")
    spent = time.perf_counter() - started
    print(
        f"{n / spent:.0f} versions/s; first answer p50 {1000 * statistics.median(seconds):.1f} ms"
    )


def unknown(server: Server, client: httpx.Client, n: int) -> None:
    def some(start: int) -> set[int]:
        return {ask(client, f"nobody-{number}") for number in range(start, start + step)}

    step = max(n // 100, 1)
    with ThreadPoolExecutor(THREADS) as threads:
        for done, statuses in enumerate(threads.map(some, range(0, n, step)), start=1):
            assert statuses == {404}
            if done % 25 == 0:
                report(server, f"{done * step} unknown names")


def report(server: Server, when: str) -> None:
    print(f"{when:<22} {memory(server)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--versions", type=int, default=10_000)
    parser.add_argument("--unknown", type=int, default=100_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "home")
        spec = ServerSpec(home=store.home, base_dir=BASE_DIR, base_name="pocket", max_context=512)
        with running(spec, log_path=Path(folder) / "server.log") as server:
            url = server.base_url
            with httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
                versions(server, client, store, options.versions)
                unknown(server, client, options.unknown)


if __name__ == "__main__":
    main()
