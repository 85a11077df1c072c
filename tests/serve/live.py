"""One real server on the pocket base for the whole test session.

The fixture belongs to whichever conftest imports it; importing it once, in the outermost one that
needs it, keeps it one server.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

import harness
from harness.server import Server, ServerSpec, running, usable_port
from harness.store import Store
from tests.serve.adapters import KWARGS, publish_adapter, random_adapter

POCKET_BASE = Path(harness.__file__).parent / "pocket" / "assets" / "base"
MAX_CONTEXT = 512


@dataclass(frozen=True)
class Live:
    """A running server with its store and two versions of random weights."""

    server: Server
    store: Store
    base_dir: Path
    versions: tuple[str, str]
    files: tuple[dict[str, bytes], dict[str, bytes]]
    """The contents of the two adapters, to publish them again under other names."""

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.server.base_url, timeout=120, trust_env=False)


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """vLLM on the pocket base, in float32, named "pocket"; gone without a trace at the end."""
    folder = tmp_path_factory.mktemp("live")
    store = Store(folder / "home")
    files = (random_adapter(POCKET_BASE, 1), random_adapter(POCKET_BASE, 2))
    alpha = publish_adapter(store, "alpha", POCKET_BASE, files[0])
    beta = publish_adapter(store, "beta", POCKET_BASE, files[1])
    port = usable_port(None)
    spec = ServerSpec(
        home=store.home,
        base_dir=POCKET_BASE,
        base_name="pocket",
        max_context=MAX_CONTEXT,
        kwargs=KWARGS,
        port=port,
        url=f"http://127.0.0.1:{port}",  # among the store's replicas
    )
    with running(spec, log_path=folder / "server.log") as server:
        yield Live(server, store, POCKET_BASE, (alpha, beta), files)
    group = server.pid
    assert group is not None
    assert eventually(lambda: not group_members(group))


def group_members(group: int) -> list[int]:
    """Process ids of a process group, zombies excepted (Linux)."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, member = stat.read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if int(member) == group and state != "Z":
            found.append(int(stat.parent.name))
    return found


def eventually(condition: Callable[[], bool], seconds: float = 20) -> bool:
    """Whether the condition comes true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
