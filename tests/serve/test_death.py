"""What is left of a server that is killed or whose engine is, what the next one at its place knows,
and the smallest one that vLLM agrees to start."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import httpx
import pytest

from harness.errors import EnvironmentFault
from harness.server import Server, ServerSpec, command, running, serve_forever, usable_port
from harness.store import Store
from serve.launch import Options, kv_cache_bytes
from tests.serve.adapters import publish_adapter, random_adapter
from tests.serve.live import POCKET_BASE, eventually, group_members


def test_a_copy_and_its_copies_end_with_a_killed_process() -> None:
    program = """
    import os, time
    from serve.faststart import end_copies_with_us
    end_copies_with_us()
    copies = os.fork(), os.fork()
    os.write(1, b"here\\n")
    if all(copies):
        os.read(0, 1)
        os.kill(os.getpid(), 9)
    time.sleep(600)
    """
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", textwrap.dedent(program)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        assert process.stdout
        assert [process.stdout.readline() for _ in range(4)] == [b"here\n"] * 4
        assert len(group_members(process.pid)) == 4
        process.communicate(b"!", timeout=20)
        assert process.returncode == -signal.SIGKILL
        assert eventually(lambda: not group_members(process.pid))
    finally:
        if group_members(process.pid):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def test_a_fresh_interpreter_that_it_started_ends_with_a_killed_process(tmp_path: Path) -> None:
    module = """
    import multiprocessing, os, time
    from serve.faststart import end_with_parent

    def stay():
        end_with_parent()
        os.write(1, b"here\\n")
        time.sleep(600)

    if __name__ == "__main__":
        multiprocessing.get_context("spawn").Process(target=stay).start()
        os.read(0, 1)
        os.kill(os.getpid(), 9)
    """
    path = tmp_path / "parent.py"
    path.write_text(textwrap.dedent(module))
    process = subprocess.Popen(
        [sys.executable, path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        assert process.stdout
        assert process.stdout.readline() == b"here\n"
        process.communicate(b"!", timeout=20)
        assert eventually(lambda: not group_members(process.pid))
    finally:
        if group_members(process.pid):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.mark.vllm
def test_a_killed_server_leaves_no_engine_and_one_sequence_is_room_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serve.launch._MIB", 0)  # neither floor nor ceiling: one sequence
    monkeypatch.setenv("HARNESS_KEYS", "hk-of-another-server")  # not this one's: it is started here
    room = kv_cache_bytes(Options(tmp_path, POCKET_BASE, "pocket", max_context=300))
    spec = ServerSpec(
        home=tmp_path / "home",
        base_dir=POCKET_BASE,
        base_name="pocket",
        max_context=300,
        extra=("--kv-cache-memory-bytes", str(room)),
    )
    with running(spec, log_path=tmp_path / "s.log") as server:
        body = {"model": "pocket", "prompt": [10] * 200, "max_tokens": 100, "ignore_eos": True}
        url = f"{server.api_url}/completions"
        with httpx.Client(timeout=120, trust_env=False) as client:
            answer = client.post(url, json=body)
        assert answer.json()["usage"]["total_tokens"] == 300, answer.text
        assert server.pid
        group = server.pid
        assert len(group_members(group)) > 1
        os.kill(group, signal.SIGKILL)
        assert eventually(lambda: not group_members(group))


@pytest.fixture(scope="module")
def adapter() -> dict[str, bytes]:
    return random_adapter(POCKET_BASE, 1)


@pytest.mark.vllm
def test_a_dead_engine_ends_the_server_and_the_next_one_has_the_same_aliases(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, adapter: dict[str, bytes]
) -> None:
    store = Store(tmp_path / "home")
    version = publish_adapter(store, "alpha", POCKET_BASE, adapter, kwargs={})
    store.move_alias("prod", version, at="now", decision=None, run=None, override="a test")
    spec = ServerSpec(
        home=store.home,
        base_dir=POCKET_BASE,
        base_name="pocket",
        max_context=300,
        port=usable_port(None),
    )
    answers: list[tuple[str, str]] = []

    def ask_and_kill(server: Server) -> None:
        body = {"model": "prod", "prompt": [10] * 20, "max_tokens": 10}
        with httpx.Client(timeout=120, trust_env=False) as client:
            answer = client.post(f"{server.api_url}/completions", json=body)
        answers.append((answer.headers["x-harness-version"], answer.json()["choices"][0]["text"]))
        os.kill(_engine(server), signal.SIGKILL)

    with pytest.raises(EnvironmentFault, match="exit code 4"):  # the engine is a copy
        serve_forever(spec, on_ready=ask_and_kill)
    spawned = [part for part in command(spec, spec.port or 0) if part != "--fast-start"]
    monkeypatch.setattr("harness.server.command", lambda spec, port: spawned)
    with pytest.raises(EnvironmentFault, match="exit code 4"):  # a fresh interpreter
        serve_forever(spec, on_ready=ask_and_kill)
    assert answers[0] == answers[1]
    assert answers[0][0] == version


def _engine(server: Server) -> int:
    """Process id of vLLM's engine: the other process, but for Python's own helper (Linux)."""
    assert server.pid
    (engine,) = (
        member
        for member in group_members(server.pid)
        if member != server.pid
        and b"resource_tracker" not in Path(f"/proc/{member}/cmdline").read_bytes()
    )
    return engine
