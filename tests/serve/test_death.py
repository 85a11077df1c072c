"""What is left of a server that is killed, and the smallest one that vLLM agrees to start."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import httpx
import pytest

from harness.server import ServerSpec, running
from serve.launch import Options, kv_cache_bytes
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


@pytest.mark.vllm
def test_a_killed_server_leaves_no_engine_and_one_sequence_is_room_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serve.launch._MIB", 0)  # neither floor nor ceiling: one sequence
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
