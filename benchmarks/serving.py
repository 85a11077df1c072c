"""What the serving room costs, beside vLLM alone and beside a LiteLLM proxy.

    .venv/bin/python -m benchmarks.serving [--base pocket] [--dtype float32] [--repeats 5]

Servers of one base are up at once and asked in turns, one at a time, so that the machine's other
work falls on all of them: vLLM as it is; vLLM with this project's engine plugin, the engine behind
the middleware; the same engine with the middleware, asked by alias; the same engine with LiteLLM
in front. Then what a new version costs beside a restart, and a batch of many versions. Prints
Markdown. LiteLLM is installed at first use into a folder of the user's cache.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.arms import Arm, Connection, free_port, litellm, vllm_alone
from harness.chat.base import base_dir
from harness.chat.template import ChatTokenizer
from harness.recipe import Base
from harness.server import ServerSpec, running
from harness.store import Store
from serve.launch import Options
from tests.serve.adapters import publish_adapter, random_adapter

MAX_CONTEXT = 1024
MAX_LOADED = 20
MAX_LORAS = 18
CONCURRENT = 16
TOKENS = 32
MIX = (0, 1, 4, 16)
"""Versions in one batch; 0: the base alone."""
N_NEW = 10
BURST = 4
STOCK, ENGINE, OURS, PROXY = "vLLM as it is", "engine", "engine + middleware", "engine + LiteLLM"


class Kind(NamedTuple):
    """A kind of request, asked one after the other."""

    title: str
    path: str
    fields: Mapping[str, Any]
    n_turns: int
    """How often every server has its turn in a repetition."""


KINDS = (
    Kind("/tokenize", "/tokenize", {}, 20),
    Kind("chat, 1 token", "/v1/chat/completions", {"max_tokens": 1}, 12),
    Kind(f"chat, {TOKENS} tokens", "/v1/chat/completions", {"max_tokens": TOKENS}, 4),
)


class Room(NamedTuple):
    """What is served."""

    base_name: str
    base: Path
    store: Store
    files: dict[str, bytes]
    folder: Path
    dtype: str

    def publish(self, name: str) -> str:
        template = ChatTokenizer(self.base).template
        return publish_adapter(self.store, name, self.base, self.files, source=template, kwargs={})


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--base", default="pocket", help="pocket, a folder or a hub id")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--block-s", type=float, default=4, help="seconds of a throughput block")
    parser.add_argument("--without-litellm", action="store_true")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the servers end with us
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder, base = Path(name), base_dir(Base(model=given.base))
        room = Room(
            given.base, base, Store(folder / "home"), random_adapter(base, 1), folder, given.dtype
        )
        arms = _started(room, stack, proxy=not given.without_litellm)
        _print_arms(arms, *_compared(arms, given.repeats, given.block_s))
        ours = next(arm for arm in arms if arm.name == OURS)
        _print_publish(arms, _published(room, ours))
        _print_mix(_mixed(room, ours, given.repeats, given.block_s))


def _started(room: Room, stack: contextlib.ExitStack, *, proxy: bool) -> list[Arm]:
    """All servers, started one after the other."""
    version = room.publish("first")
    room.store.move_alias("prod", version, at="now", decision=None, run=None)
    spec = ServerSpec(
        home=room.store.home,
        base_dir=room.base,
        base_name=room.base_name,
        dtype=room.dtype,
        max_context=MAX_CONTEXT,
        max_loaded=MAX_LOADED,
        max_running=MAX_LORAS,
    )
    options = Options(
        home=spec.home,
        base_dir=spec.base_dir,
        base_name=spec.base_name,
        dtype=spec.dtype,
        max_context=spec.max_context,
        max_cpu_loras=MAX_LOADED,
        max_loras=MAX_LORAS,
    )
    adapters = {"prod": room.store.version_dir(version)}

    def alone(log: str, *, plugin: bool) -> contextlib.AbstractContextManager[int]:
        own = options._replace(port=free_port())
        return vllm_alone(own, adapters, room.folder / log, plugin=plugin)

    def arm(name: str, server: contextlib.AbstractContextManager[int]) -> Arm:
        began = time.perf_counter()
        port = stack.enter_context(server)
        Connection(port).first_token(_body("prod", 0, max_tokens=4))
        return Arm(name, port, "prod", time.perf_counter() - began)

    arms = [arm(STOCK, alone("stock.log", plugin=False))]
    arms.append(arm(ENGINE, alone("engine.log", plugin=True)))
    arms.append(arm(OURS, _ours(spec, room.folder / "ours.log")))
    if proxy:
        arms.append(arm(PROXY, litellm(arms[1].port, "prod", room.folder)))
    return arms


@contextlib.contextmanager
def _ours(spec: ServerSpec, log_path: Path) -> Iterator[int]:
    with running(spec, log_path=log_path) as server:
        yield int(server.base_url.rpartition(":")[2])


def _body(model: str, number: int, **fields: Any) -> dict[str, Any]:
    """Question `number` of many: equal ones would be answered from the cache."""
    question = f"What is number {number} of all the things that a cat can do in a day?"
    body = {"model": model, "messages": [{"role": "user", "content": question}]}
    return body | ({"temperature": 0, "ignore_eos": True} | fields if fields else {})


Latencies = dict[str, dict[str, list[list[float]]]]
"""Kind → arm → repetition → seconds."""
Rates = dict[str, list[float]]
"""Arm, or number of versions → repetition → answers a second."""


def _compared(arms: Sequence[Arm], repeats: int, block_s: float) -> tuple[Latencies, Rates]:
    connections = {arm.name: Connection(arm.port) for arm in arms}
    latencies: Latencies = {kind.title: {arm.name: [] for arm in arms} for kind in KINDS}
    rates: Rates = {arm.name: [] for arm in arms}
    for repeat in range(repeats + 1):  # the first warms up
        for kind in KINDS:
            found = _in_turns(arms, connections, kind)
            for name, seconds in found.items():
                latencies[kind.title][name] += [seconds] if repeat else []
        for arm in _rotated(arms, repeat):
            rate = _rate([(arm.port, arm.model)] * CONCURRENT, block_s if repeat else 1)
            rates[arm.name] += [rate] if repeat else []
    return latencies, rates


_numbers = itertools.count()


def _in_turns(
    arms: Sequence[Arm], connections: Mapping[str, Connection], kind: Kind
) -> dict[str, list[float]]:
    """Each arm is asked BURST times in its turn; the first is not counted, since a process that
    has just slept answers late. Who is asked first changes with every turn."""
    seconds: dict[str, list[float]] = {arm.name: [] for arm in arms}
    for turn in range(kind.n_turns):
        for arm in _rotated(arms, turn):
            connection = connections[arm.name]
            connection.refresh()
            for place in range(BURST):
                body = _body(arm.model, next(_numbers), **kind.fields)
                began = time.perf_counter()
                connection.post(kind.path, body)
                seconds[arm.name] += [time.perf_counter() - began] if place else []
    return seconds


def _rotated(arms: Sequence[Arm], turn: int) -> list[Arm]:
    place = turn % len(arms)
    return [*arms[place:], *arms[:place]]


def _rate(clients: Sequence[tuple[int, str]], seconds: float) -> float:
    """Answers a second that clients, each a port and a model, get together: from a common start
    to the end of the last answer."""
    counts = [0] * len(clients)
    began = time.perf_counter()

    def ask(place: int, port: int, model: str) -> None:
        connection = Connection(port)
        while time.perf_counter() < began + seconds:
            body = _body(model, next(_numbers), max_tokens=TOKENS)
            connection.post("/v1/chat/completions", body)
            counts[place] += 1

    threads = [
        threading.Thread(target=ask, args=(place, *client)) for place, client in enumerate(clients)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.perf_counter() - began)


def _published(room: Room, ours: Arm) -> list[float]:
    """Seconds from the store having a version to its first streamed token."""
    seconds = []
    for number in range(N_NEW):
        version = room.publish(f"new{number}")
        began = time.perf_counter()
        Connection(ours.port).first_token(_body(version, next(_numbers), max_tokens=4))
        seconds.append(time.perf_counter() - began)
    return seconds


def _mixed(room: Room, ours: Arm, repeats: int, block_s: float) -> dict[int, list[float]]:
    versions = [room.publish(f"mix{number}") for number in range(max(MIX))]
    found: dict[int, list[float]] = {n: [] for n in MIX}
    for repeat in range(repeats + 1):
        for n in MIX if repeat % 2 else MIX[::-1]:
            models = versions[:n] or [room.base_name]
            clients = [(ours.port, models[place % len(models)]) for place in range(CONCURRENT)]
            rate = _rate(clients, block_s if repeat else 1)
            found[n] += [rate] if repeat else []
    return found


def _print_arms(arms: Sequence[Arm], latencies: Latencies, rates: Rates) -> None:
    names = [arm.name for arm in arms]
    _row("", *names, *(f"{name} / {ENGINE}" for name in names[2:]))
    _row(*["---"] * (2 * len(names) - 1))
    for title, of_arm in latencies.items():
        cells = [_milliseconds([s for each in of_arm[name] for s in each]) for name in names]
        middles = {name: [statistics.median(each) for each in of_arm[name]] for name in names}
        _row(f"{title}, p50 / p99 ms", *cells, *_ratios(middles, names[2:]))
    cells = [f"{statistics.median(rates[name]):.1f}" for name in names]
    _row(
        f"chat, {TOKENS} tokens, {CONCURRENT} at once: answers/s",
        *cells,
        *_ratios(rates, names[2:]),
    )


def _milliseconds(seconds: list[float]) -> str:
    cuts = statistics.quantiles(seconds, n=100, method="inclusive")
    return f"{1000 * cuts[49]:.2f} / {1000 * cuts[98]:.2f}"


def _ratios(values: Mapping[str, Sequence[float]], names: Sequence[str]) -> Iterator[str]:
    """Each to the engine alone, repetition by repetition."""
    for name in names:
        yield _spread([a / b for a, b in zip(values[name], values[ENGINE], strict=True)], "{:.3f}")


def _spread(values: Sequence[float], form: str) -> str:
    shown = [form.format(value) for value in (statistics.median(values), min(values), max(values))]
    return f"{shown[0]} ({shown[1]}–{shown[2]})"


def _print_publish(arms: Sequence[Arm], seconds: Sequence[float]) -> None:
    print()
    _row("to the first token of a new version", "seconds")
    _row("---", "---")
    _row(f"published while the server runs (median of {len(seconds)})", _spread(seconds, "{:.3f}"))
    for arm in arms[:3]:
        _row(f"start of {arm.name} with it (once)", f"{arm.start_s:.1f}")


def _print_mix(found: Mapping[int, Sequence[float]]) -> None:
    print()
    _row(f"{CONCURRENT} at once, {TOKENS} tokens each, spread over", "tokens/s", "beside the base")
    _row("---", "---", "---")
    for n, rates in found.items():
        name = f"{n} version{'s' * (n > 1)}" if n else "the base alone"
        beside = [a / b for a, b in zip(rates, found[0], strict=True)]
        tokens = [TOKENS * rate for rate in rates]
        _row(name, _spread(tokens, "{:.0f}"), _spread(beside, "{:.2f}"))


def _row(*cells: str) -> None:
    print("|", " | ".join(cells), "|", flush=True)


if __name__ == "__main__":
    main()
