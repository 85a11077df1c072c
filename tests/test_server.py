"""Starting, waiting for and always stopping the server process."""

from __future__ import annotations

import errno
import importlib.util
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterable
from dataclasses import replace
from itertools import repeat
from pathlib import Path

import httpx
import pytest

import harness.server
from harness.errors import EnvironmentFault, HarnessError
from harness.server import Server, ServerSpec, command, running, serve_forever
from tests.serve.live import eventually, group_members

STAND_IN = """
import http.server, os, socket, subprocess, sys, time
sys.stdout.write("standing in\\n"); sys.stdout.flush()
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
time.sleep(0.3)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.send_header("x-harness-pid", sys.argv[2] or str(os.getpid()))
        self.end_headers()
    def log_message(self, *words): pass
class Server(http.server.HTTPServer):
    address_family = socket.AF_INET6 if ":" in sys.argv[3] else socket.AF_INET
Server((sys.argv[3], int(sys.argv[1])), Handler).serve_forever()
"""
"""A server with a child process, ready in a moment, for tests of the process's life alone."""


@pytest.fixture
def spec(tmp_path: Path) -> ServerSpec:
    return ServerSpec(home=tmp_path / "home", base_dir=tmp_path / "base", base_name="pocket")


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    put_in(monkeypatch, STAND_IN)


def put_in(monkeypatch: pytest.MonkeyPatch, program: str, pids: Iterable[str] = ()) -> None:
    """Have `program` run for the server. `pids`: what each in turn says it is, not its own."""
    said = iter(pids)
    monkeypatch.setattr(
        harness.server,
        "command",
        lambda spec, port: [
            *(sys.executable, "-c", program),
            *(str(port), next(said, ""), spec.host),
        ],
    )


def test_the_command_line_carries_the_spec(tmp_path: Path) -> None:
    spec = ServerSpec(
        home=tmp_path,
        base_dir=tmp_path / "base",
        base_name="n",
        dtype="bfloat16",
        max_context=99,
        max_lora_rank=8,
        chat_template=tmp_path / "t.jinja",
        threads=2,
        extra=("--max-num-seqs", "4"),
    )
    from serve.__main__ import parse

    argv = command(spec, 8123)
    options, with_parent = parse(argv[argv.index("serve") + 1 :])
    assert with_parent
    assert (options.home, options.base_dir, options.base_name) == (tmp_path, tmp_path / "base", "n")
    assert (options.host, options.port, options.dtype) == ("127.0.0.1", 8123, "bfloat16")
    assert (options.max_lora_rank, options.max_context, options.threads) == (8, 99, 2)
    assert options.chat_template == tmp_path / "t.jinja"
    assert options.extra == ("--max-num-seqs", "4")


@pytest.mark.usefixtures("stand_in")
def test_it_waits_serves_and_leaves_nobody_behind(spec: ServerSpec, tmp_path: Path) -> None:
    waits: list[float] = []
    with running(spec, log_path=tmp_path / "logs" / "s.log", on_wait=waits.append) as server:
        assert server.pid
        assert len(group_members(server.pid)) == 2
        assert waits == sorted(waits)
        assert waits
        group = server.pid
    assert eventually(lambda: not group_members(group))
    assert (tmp_path / "logs" / "s.log").read_text() == "standing in\n"


@pytest.mark.usefixtures("stand_in")
@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_it_stops_on_any_exception(
    spec: ServerSpec, tmp_path: Path, error: type[BaseException]
) -> None:
    pids: list[int] = []

    def fail_inside() -> None:
        with running(spec, log_path=tmp_path / "s.log") as server:
            pids.append(server.pid or 0)
            raise error

    with pytest.raises(error):
        fail_inside()
    assert pids[0]
    assert eventually(lambda: not group_members(pids[0]))


@pytest.mark.usefixtures("stand_in")
def test_an_interrupt_while_it_starts_stops_it(spec: ServerSpec, tmp_path: Path) -> None:
    def interrupt(waited: float) -> None:
        if waited > 0:
            raise KeyboardInterrupt

    log_path = tmp_path / "s.log"
    before = set(_children())
    with (
        pytest.raises(KeyboardInterrupt),
        running(spec, log_path=log_path, on_wait=interrupt),
    ):
        pytest.fail("it was never ready")
    assert set(_children()) == before


def test_a_server_that_ignores_the_signal_is_killed(
    spec: ServerSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stubborn = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + STAND_IN
    put_in(monkeypatch, stubborn)
    monkeypatch.setattr(harness.server, "STOP_S", 0.2)
    with running(spec, log_path=tmp_path / "s.log") as server:
        assert server.pid
        group = server.pid
    assert eventually(lambda: not group_members(group))


def test_a_server_that_dies_is_an_error_with_its_last_words(
    spec: ServerSpec, tmp_path: Path
) -> None:
    spec.base_dir.mkdir()
    with (
        pytest.raises(EnvironmentFault, match="not a model folder") as caught,
        running(spec, log_path=tmp_path / "s.log"),
    ):
        pytest.fail("there is no model")
    assert "exit code 4" in str(caught.value)
    assert "s.log" in str(caught.value.hint)
    assert caught.value.exit_code == 4


def test_files_of_the_working_directory_are_not_taken_for_ours(
    spec: ServerSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec.base_dir.mkdir()
    for name in ("serve", "harness", "datasets", "json"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('a stranger')\n")
    monkeypatch.chdir(tmp_path)
    with (
        pytest.raises(EnvironmentFault, match="not a model folder"),
        running(spec, log_path=tmp_path / "s.log"),
    ):
        pytest.fail("there is no model")


def test_the_cause_is_shown_though_much_is_said_after_it(
    spec: ServerSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dying = """
print("ValueError: no memory for the cache")
print("more\\n" * 40 + "RuntimeError: the engine failed")
print("nanobind: leaked 4 instances!\\n" + " - leaked instance\\n" * 40)
raise SystemExit(1)
"""
    put_in(monkeypatch, dying)
    with (
        pytest.raises(EnvironmentFault, match="exit code 1") as caught,
        running(spec, log_path=tmp_path / "s.log"),
    ):
        pytest.fail("it died")
    lines = str(caught.value).splitlines()
    assert lines[1] == "  | ValueError: no memory for the cache"
    assert lines[-1] == "  | RuntimeError: the engine failed"


def test_another_server_on_the_port_is_not_taken_for_ours(
    spec: ServerSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_in(monkeypatch, STAND_IN, repeat("1"))
    with (
        pytest.raises(EnvironmentFault, match=r"another server \(process 1\)"),
        running(spec, log_path=tmp_path / "s.log"),
    ):
        pytest.fail("it is not ours")


def test_a_free_port_that_is_taken_meanwhile_is_tried_elsewhere(
    spec: ServerSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    claims = iter(["1", ""])
    put_in(monkeypatch, STAND_IN, claims)
    with running(spec, log_path=tmp_path / "s.log") as server:
        assert server.pid
    assert next(claims, None) is None


def test_a_port_in_use_is_refused_at_once(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        spec = ServerSpec(home=tmp_path, base_dir=tmp_path, base_name="pocket", port=port)
        with (
            pytest.raises(EnvironmentFault, match=f"port {port} .*in use") as caught,
            running(spec, log_path=tmp_path / "s.log"),
        ):
            pytest.fail("the port is taken")
    assert "another port" in str(caught.value.hint)
    assert not (tmp_path / "s.log").exists()


def test_a_missing_vllm_is_named_with_the_next_step(
    spec: ServerSpec, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with (
        pytest.raises(EnvironmentFault, match="vLLM") as caught,
        running(spec, log_path=tmp_path / "s.log"),
    ):
        pytest.fail("there is no vLLM")
    assert caught.value.hint == "make setup"


@pytest.mark.parametrize(("code", "exit_code"), [(2, 2), (1, 4), (4, 4)])
def test_arguments_that_the_server_refuses_are_a_mistake_not_a_fault(
    spec: ServerSpec,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    code: int,
    exit_code: int,
) -> None:
    put_in(monkeypatch, f"import sys; print('--nope: what is that?'); sys.exit({code})")
    with (
        pytest.raises(HarnessError, match="--nope: what is that") as caught,
        running(spec, log_path=tmp_path / "s.log"),
    ):
        pytest.fail("it ended")
    assert caught.value.exit_code == exit_code


def test_a_killed_parent_leaves_no_server(tmp_path: Path) -> None:
    base = Path(harness.server.__file__).parent / "pocket" / "assets" / "base"
    program = f"""
    from pathlib import Path
    from harness.server import ServerSpec, running
    spec = ServerSpec(home=Path({str(tmp_path)!r}), base_dir=Path({str(base)!r}), base_name="p")
    with running(spec, log_path=Path({str(tmp_path / "s.log")!r})):
        pass
    """
    parent = subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)])
    try:
        assert eventually(lambda: bool(_children(parent.pid)))
        group = _children(parent.pid)[0]
        time.sleep(2)
        assert group_members(group)
    finally:
        parent.kill()
        parent.wait()
    assert eventually(lambda: not group_members(group))


@pytest.mark.parametrize("host", ["0.0.0.0", "localhost", "::", "::1"])
@pytest.mark.usefixtures("stand_in")
def test_it_is_reached_at_the_address_it_listens_on(
    spec: ServerSpec, tmp_path: Path, host: str
) -> None:
    if ":" in host and not _has_ipv6():
        pytest.skip("no IPv6 here: sysctl net.ipv6.conf.lo.disable_ipv6=0")
    with running(replace(spec, host=host), log_path=tmp_path / "s.log") as server:
        reached = httpx.URL(server.base_url).host
        assert reached == {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)


def test_a_host_of_another_machine_is_refused(spec: ServerSpec, tmp_path: Path) -> None:
    with (
        pytest.raises(EnvironmentFault, match=r"of 203\.0\.113\.1 cannot be used"),
        running(replace(spec, host="203.0.113.1"), log_path=tmp_path / "s.log"),
    ):
        pytest.fail("that address is for documentation")


def test_in_the_foreground_a_server_that_dies_is_an_error(
    spec: ServerSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_in(monkeypatch, "raise SystemExit(7)")
    with pytest.raises(EnvironmentFault, match="exit code 7") as caught:
        serve_forever(spec)
    assert caught.value.exit_code == 4
    assert caught.value.hint


@pytest.mark.usefixtures("stand_in")
def test_in_the_foreground_a_server_that_is_killed_is_an_error(spec: ServerSpec) -> None:
    before = set(_children())

    def kill(server: Server) -> None:
        os.kill(server.pid or 0, signal.SIGKILL)

    with pytest.raises(EnvironmentFault, match="exit code -9"):
        serve_forever(spec, on_ready=kill)
    assert set(_children()) == before


POLITE = """
import signal, time
def end(*_):
    time.sleep(1)
    sys.stderr.write("ended in order\\n")
    os._exit(0)
signal.signal(signal.SIGTERM, end)
"""


def test_a_server_has_the_time_its_requests_have(
    spec: ServerSpec, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    put_in(monkeypatch, POLITE + STAND_IN)
    monkeypatch.setattr(harness.server, "STOP_S", 0.1)
    ready: list[Server] = []

    def stop(server: Server) -> None:
        ready.append(server)
        os.kill(os.getpid(), signal.SIGTERM)

    handler = signal.getsignal(signal.SIGTERM)
    assert serve_forever(replace(spec, drain_s=20), on_ready=stop) == 0
    assert "ended in order" in capfd.readouterr().err
    assert signal.getsignal(signal.SIGTERM) is handler
    assert eventually(lambda: not group_members(ready[0].pid or 0))
    with pytest.raises(EnvironmentFault, match="did not end in time"):
        serve_forever(spec, on_ready=stop)
    assert eventually(lambda: not group_members(ready[1].pid or 0))


def test_a_second_sigterm_ends_it_at_once(
    spec: ServerSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    stubborn = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + STAND_IN
    put_in(monkeypatch, stubborn)
    ready: list[Server] = []

    def stop_twice(server: Server) -> None:
        ready.append(server)
        again = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM))
        again.start()
        os.kill(os.getpid(), signal.SIGTERM)

    assert serve_forever(replace(spec, drain_s=500), on_ready=stop_twice) == 0
    assert eventually(lambda: not group_members(ready[0].pid or 0))


def test_sigterm_while_it_starts_is_no_error(
    spec: ServerSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_in(monkeypatch, "import time; time.sleep(600)")

    def stop(waited: float) -> None:
        if waited > 0:
            os.kill(os.getpid(), signal.SIGTERM)

    before = set(_children())
    assert serve_forever(spec, on_wait=stop) == 0
    assert set(_children()) == before


@pytest.mark.usefixtures("stand_in")
def test_an_interrupt_in_the_foreground_stops_the_server(spec: ServerSpec) -> None:
    before = set(_children())
    timer = threading.Timer(1.0, lambda: os.kill(os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        serve_forever(spec)
    assert set(_children()) == before


def _has_ipv6() -> bool:
    with socket.socket(socket.AF_INET6) as probe:
        return probe.connect_ex(("::1", 9)) != errno.EADDRNOTAVAIL


def _children(parent: int | None = None) -> list[int]:
    """Process ids of the living children of `parent` (Linux)."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, owner = stat.read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if int(owner) == (parent or os.getpid()) and state != "Z":
            found.append(int(stat.parent.name))
    return found
