"""The files that show how a server is run: what reads them accepts them, and their times agree."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from configparser import ConfigParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

import serve
from harness.recipe import Serve
from harness.server import STOP_S, usable_port
from tests.serve.nginx import EXAMPLE as NGINX
from tests.serve.nginx import balanced, needs_nginx

FOLDER = Path(serve.__file__).parent / "examples"
ROOT = FOLDER.parents[1]
LONGEST_STOP_S = Serve().drain_s + STOP_S
"""Of `harness serve` with what it is given without a recipe."""


@pytest.fixture
def compose() -> dict[str, Any]:
    return dict(yaml.safe_load((FOLDER / "compose.yaml").read_text()))


@pytest.fixture
def unit() -> ConfigParser:
    """The unit's sections; of a setting that is given twice the last."""
    parser = ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(FOLDER / "harness.service")
    return parser


@pytest.mark.skipif(
    shutil.which("systemd-analyze") is None,
    reason="no systemd-analyze; to enable: apt-get install systemd",
)
def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    text = (FOLDER / "harness.service").read_text()
    assert text.count("ExecStart=/opt/harness/bin/harness ") == 1
    unit = tmp_path / "harness.service"
    unit.write_text(text.replace("/opt/harness/bin/harness", sys.executable))
    found = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True
    )
    assert (found.returncode, found.stderr) == (0, "")


def test_systemd_waits_for_the_drain_and_signals_the_launcher_alone(unit: ConfigParser) -> None:
    service = unit["Service"]
    assert float(service["TimeoutStopSec"].removesuffix("s")) > LONGEST_STOP_S
    assert (service["KillMode"], service["KillSignal"]) == ("mixed", "SIGTERM")
    assert service["Restart"] == "on-failure"


def test_the_options_in_the_examples_exist(unit: ConfigParser, compose: dict[str, Any]) -> None:
    started = unit["Service"]["ExecStart"].split()[1:]
    described = subprocess.run(
        [sys.executable, "-m", "harness", "serve", "--help"],
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "200", "NO_COLOR": "1"},
        check=True,
    )
    for command in (started, compose["services"]["harness"]["command"]):
        assert command[0] == "serve"
        options = [part for part in command if part.startswith("--")]
        assert options
        assert [each for each in options if f"{each} " not in described.stdout] == []


def test_the_compose_file_names_what_it_defines(compose: dict[str, Any]) -> None:
    (service,) = compose["services"].values()
    build = service["build"]
    assert (FOLDER / build["context"]).resolve() == ROOT
    assert (ROOT / build["dockerfile"]).is_file()
    assert {volume.partition(":")[0] for volume in service["volumes"]} == set(compose["volumes"])
    assert set(service["secrets"]) == set(compose["secrets"])
    assert f"/run/secrets/{service['secrets'][0]}" in service["command"]
    assert float(service["stop_grace_period"].removesuffix("s")) > LONGEST_STOP_S
    assert service["healthcheck"]["test"][0] == "CMD"
    assert "8000/health" in service["healthcheck"]["test"][-1]
    compile(service["healthcheck"]["test"][-1], "healthcheck", "exec")


def test_the_image_copies_what_the_repository_has() -> None:
    text = (FOLDER / "Dockerfile").read_text()
    copied = [line.split()[1:-1] for line in text.splitlines() if line.startswith("COPY ")]
    assert copied
    assert [name for names in copied for name in names if not (ROOT / name).exists()] == []
    assert re.search(r'^ENTRYPOINT \["harness"\]$', text, re.MULTILINE)  # no shell eats signals


@needs_nginx
def test_nginx_takes_its_file_without_root(tmp_path: Path) -> None:
    argv = ["nginx", "-t", "-e", "stderr", "-p", str(tmp_path), "-c", str(NGINX)]
    found = subprocess.run(argv, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    assert "[warn]" not in found.stderr


class _Answers(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *words: object) -> None:
        pass


@needs_nginx
def test_nginx_asks_the_other_replica_when_a_machine_is_gone(tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        gone = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):  # full: further connections get no answer, as from no machine
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(gone.getsockname())
        alive = stack.enter_context(ThreadingHTTPServer(("127.0.0.1", 0), _Answers))
        threading.Thread(target=alive.serve_forever, daemon=True).start()
        stack.callback(alive.shutdown)
        urls = [f"http://127.0.0.1:{each}" for each in (gone.getsockname()[1], alive.server_port)]
        front = stack.enter_context(balanced(urls, usable_port(None), tmp_path / "nginx"))
        with ThreadPoolExecutor(2) as pool:  # to each replica first, in turn
            found = list(pool.map(lambda _: httpx.post(f"{front}/v1/x", content=b"{}"), range(2)))
    assert [each.status_code for each in found] == [200, 200]
