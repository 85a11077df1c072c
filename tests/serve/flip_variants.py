"""The flip traffic of tests/serve/flip.py on one server, on one that must forget and reload, and
on replicas behind a load balancer.

Each variant publishes versions that answer differently, moves an alias among them as `harness
promote` does, and returns what happened.
"""

from __future__ import annotations

import contextlib
import functools
import shutil
import threading
import time
from collections.abc import Mapping
from pathlib import Path

import httpx
from rich.console import Console

from harness import rollout
from harness.chat.template import ChatTokenizer
from harness.errors import EndpointError
from harness.progress import Reporter
from harness.server import Server, ServerSpec, running
from harness.store import Store
from harness.types import Message, ProbeRow
from tests.serve.adapters import KWARGS, prompt_logprobs, publish_adapter, random_adapter
from tests.serve.flip import FLIP_S, Outcome, Plan, answers, run

Files = dict[str, bytes]

AROUND_RESTART_S = 2.0
"""Traffic before and after one of the replicas is started again."""
DELETE_AFTER_S = 0.1
"""From when a version is loaded until its folder is deleted: the alias still points at it."""
PROMOTED_S = 60.0


class Publisher:
    """Versions that can be published again, the same to the byte, when they were deleted."""

    def __init__(
        self,
        store: Store,
        base_dir: Path,
        adapters: Mapping[str, Files],
        proofs: Mapping[str, ProbeRow] = {},
    ) -> None:
        """`adapters`: name → published files; `proofs`: name → its probe row."""
        self._store = store
        self._base_dir = base_dir
        self._proofs = proofs
        self._files = {self._publish(name, files): files for name, files in adapters.items()}

    @property
    def versions(self) -> list[str]:
        return list(self._files)

    def ensure(self, version: str) -> None:
        if not self._store.has(version):
            self._publish(version.partition("@")[0], self._files[version])

    def _publish(self, name: str, files: Files) -> str:
        rows = (self._proofs[name],) if name in self._proofs else ()
        return publish_adapter(self._store, name, self._base_dir, files, probes=rows)


def adapters(base_dir: Path, prefix: str, n: int) -> dict[str, Files]:
    """Name → files of adapters with random weights."""
    return {f"{prefix}{number}": random_adapter(base_dir, number) for number in range(n)}


def proof(base_dir: Path, files: Files) -> ProbeRow:
    """Evidence of what the adapter does, as training keeps it."""
    messages = (Message(role="user", content="What is a cat?"),)
    chat = ChatTokenizer(base_dir, kwargs=KWARGS)
    ids, told = chat.prompt_ids(messages), (*chat.encode("an animal"), *chat.stop_ids[:1])

    def logprobs(adapter: Files | None) -> tuple[float, ...]:
        [found] = prompt_logprobs(base_dir, adapter, [[*ids, *told]])
        return tuple(found[-len(told) :])

    return ProbeRow(
        source="train.jsonl:1",
        messages=messages,
        prompt_ids=ids,
        completion_ids=told,
        logprobs=logprobs(files),
        base_logprobs=logprobs(None),
    )


def point(store: Store, alias: str, version: str) -> None:
    store.move_alias(alias, version, at="now", decision=None, run=None)


def different(base_url: str, versions: list[str]) -> dict[str, str]:
    """What each version says. Raises ValueError when two say the same: that would prove
    nothing."""
    says = answers(base_url, versions)
    if len(set(says.values())) < len(versions):
        raise ValueError(f"versions with the same answer: {says}")
    return says


def plain(
    server: Server, store: Store, versions: list[str], *, seconds: float, every_s: float = FLIP_S
) -> Outcome:
    """Versions that stay, on one server. A move is complete when the alias file is written."""
    says = different(server.base_url, versions)
    point(store, "flip", versions[-1])
    move = functools.partial(point, store, "flip")
    return run(server.base_url, Plan("flip", says, move, seconds, every_s))


def churn(
    server: Server,
    store: Store,
    publisher: Publisher,
    *,
    seconds: float,
    every_s: float = FLIP_S,
) -> Outcome:
    """More versions than the server holds, each one's folder deleted soon after it was loaded and
    published again before its next turn."""
    says = answers(server.base_url, publisher.versions)
    deletions: dict[str, _Deletion] = {}

    def move(version: str) -> None:
        if version in deletions:
            deletions.pop(version).end()
        publisher.ensure(version)
        point(store, "churn", version)
        deletions[version] = _Deletion(server, store, version)
        deletions[version].start()

    point(store, "churn", publisher.versions[-1])
    outcome = run(server.base_url, Plan("churn", says, move, seconds, every_s))
    for deletion in deletions.values():
        deletion.end()
    return outcome


class _Deletion(threading.Thread):
    """Deletes a version's folder as soon as the server has loaded it."""

    def __init__(self, server: Server, store: Store, version: str) -> None:
        super().__init__()
        self._server = server
        self._store = store
        self._version = version
        self._over = threading.Event()

    def end(self) -> None:
        """Wait no longer for a version that nobody happened to ask for."""
        self._over.set()
        self.join()

    def run(self) -> None:
        with httpx.Client(base_url=self._server.base_url, trust_env=False, timeout=60) as client:
            while self._version not in client.get("/admin/status").json()["loaded"]:
                if self._over.wait(0.05):
                    return
        time.sleep(DELETE_AFTER_S)
        gone = self._store.home / f"gone-{self._version}"
        self._store.version_dir(self._version).rename(gone)  # at once: never half deleted
        shutil.rmtree(gone)


class Replica:
    """A server that can be drained and started again at the same port."""

    def __init__(self, spec: ServerSpec, log_path: Path) -> None:
        self._spec = spec
        self._log_path = log_path
        self._stack = contextlib.ExitStack()
        self.server = self._start()

    def restart(self) -> None:
        """End it as a supervisor does, by SIGTERM, and start it again."""
        self.stop()
        self.server = self._start()

    def stop(self) -> None:
        self._stack.close()

    def _start(self) -> Server:
        return self._stack.enter_context(running(self._spec, log_path=self._log_path))


def replicated(
    front_url: str,
    restarted: Replica,
    store: Store,
    versions: list[str],
    *,
    seconds: float,
    n_restarts: int = 1,
) -> Outcome:
    """Replicas behind a load balancer at `front_url`, one of them drained and started again in the
    meantime. The alias moves as `harness promote` moves it: each replica loads the version, proves
    it, and has seen the move before it counts as done."""
    says = different(front_url, versions)

    def meanwhile() -> None:
        for _ in range(n_restarts):
            time.sleep(AROUND_RESTART_S)
            restarted.restart()
        time.sleep(AROUND_RESTART_S)

    move = functools.partial(promote, store, "fleet")
    move(versions[-1])
    plan = Plan("fleet", says, move, seconds, meanwhile=meanwhile)
    return run(front_url, plan)


def promote(store: Store, alias: str, version: str) -> None:
    """Until it works: while a replica is being stopped, a promotion may be refused."""
    deadline = time.monotonic() + PROMOTED_S
    while True:
        try:
            reporter = Reporter(Console(quiet=True))
            rollout.promote(store, version, reporter, alias=alias, at="now", override="a flip")
        except EndpointError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return
