"""Two engines behind one server, the second as if on another machine (vLLM's own data-parallel and
multi-node flags), with room for one version at a time."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from harness.server import Server, ServerSpec, command, running
from harness.store import Store
from tests.serve.adapters import publish_adapter, random_adapter
from tests.serve.live import POCKET_BASE, eventually, group_members

pytestmark = pytest.mark.vllm

FEW = 200
"""Answers of the hot version while the rare one waits for its turn: a quarter of a second and what
runs then, not the thousands of the half minute after which it used to be refused."""


def test_a_rare_version_has_its_turn_on_two_engines_and_none_outlives_its_server(
    tmp_path: Path, unused_port: int
) -> None:
    store = Store(tmp_path / "home")
    hot, rare = (
        publish_adapter(store, name, POCKET_BASE, random_adapter(POCKET_BASE, seed))
        for seed, name in enumerate(("hot", "rare"))
    )
    flags: tuple[str, ...] = ("--data-parallel-size", "2", "--data-parallel-size-local", "1")
    flags += ("--data-parallel-address", "127.0.0.1", "--data-parallel-rpc-port", str(unused_port))
    spec = ServerSpec(
        home=store.home,
        base_dir=POCKET_BASE,
        base_name="pocket",
        max_context=512,
        max_running=2,  # one of which the CPU keeps empty
        extra=flags,
    )
    further = ("--headless", "--data-parallel-start-rank", "1")
    with (
        engines_only(replace(spec, extra=flags + further)) as second,
        running(spec, log_path=tmp_path / "server.log") as server,
    ):
        assert n_overtaking(server, hot, rare) < FEW
        assert busy_engines(server) == {"0", "1"}
        assert server.pid
        kill(server.pid)
        kill(second)


def kill(group: int) -> None:
    """Kill the first process of a group and wait until the others have followed it."""
    assert len(group_members(group)) >= 3  # the process, its engine, the engine's worker
    os.kill(group, signal.SIGKILL)
    assert eventually(lambda: not group_members(group))


@contextlib.contextmanager
def engines_only(spec: ServerSpec) -> Iterator[int]:
    """The process group of a further machine."""
    process = subprocess.Popen(
        command(spec, 0),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield process.pid
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def n_overtaking(server: Server, hot: str, rare: str) -> int:
    """How often six clients of `hot` are answered between a request for `rare` and its answer."""
    stop, flowing = threading.Event(), threading.Event()
    n_hot = 0

    def ask_on() -> None:
        nonlocal n_hot
        with httpx.Client(base_url=server.base_url, timeout=60, trust_env=False) as client:
            while not stop.is_set():
                assert say(client, hot).status_code == 200
                n_hot += 1
                if n_hot > 20:
                    flowing.set()

    with ThreadPoolExecutor(6) as threads:
        clients = [threads.submit(ask_on) for _ in range(6)]
        try:
            assert flowing.wait(60)
            with httpx.Client(base_url=server.base_url, timeout=60, trust_env=False) as client:
                before = n_hot
                assert say(client, rare).status_code == 200
                return n_hot - before
        finally:
            stop.set()
            assert [each.result() for each in clients] == [None] * 6


def say(client: httpx.Client, model: str) -> httpx.Response:
    body: dict[str, Any] = {"model": model, "prompt": "hello", "max_tokens": 8, "temperature": 0}
    return client.post("/v1/completions", json=body)


def busy_engines(server: Server) -> set[str]:
    """The engines that have answered requests, as vLLM's own metrics have it."""
    text = httpx.get(f"{server.base_url}/metrics", trust_env=False).text
    answered = re.findall(r'vllm:request_success_total\{engine="(\d)".*\} (\S+)', text)
    return {engine for engine, number in answered if float(number)}
