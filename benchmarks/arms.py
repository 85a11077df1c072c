"""The servers that benchmarks/serving.py compares, each started for a block, then stopped."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
import venv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from serve.launch import Options, environment, on_cpu, vllm_argv

LITELLM = "1.106.0"
START_S = 600.0
STOP_S = 10.0
FRESH_S = 2.0
_MAIN = "from vllm.entrypoints.launchers.api_server.entry import main; main()"
"""vLLM's own entry point."""


class Arm(NamedTuple):
    """Something to ask."""

    name: str
    port: int
    model: str
    start_s: float
    """From the start of the process to the first token."""


class Connection:
    """One kept connection; nothing that would take long beside what is measured."""

    def __init__(self, port: int) -> None:
        self._http = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        self._used_at = time.monotonic()

    def refresh(self) -> None:
        """Connect anew where the server may be about to close: vLLM does after five idle
        seconds."""
        if self._http.sock is None or time.monotonic() - self._used_at > FRESH_S:
            self._http.close()
            self._http.connect()

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        return json.loads(self._answer(path, body).read())

    def first_token(self, body: Mapping[str, Any]) -> None:
        """Ask for a stream; returns with its first words, before it has ended."""
        answer = self._answer("/v1/chat/completions", {**body, "stream": True})
        for line in answer:
            if line.startswith(b"data: {"):
                choices = json.loads(line[6:])["choices"]
                if choices and choices[0]["delta"].get("content"):
                    break
        self._http.close()

    def _answer(self, path: str, body: Mapping[str, Any]) -> http.client.HTTPResponse:
        headers = {"content-type": "application/json"}
        self._http.request("POST", path, json.dumps(body).encode(), headers)
        answer = self._http.getresponse()
        self._used_at = time.monotonic()
        if answer.status != 200:
            raise SystemExit(f"{path}: {answer.status} {answer.read().decode()}")
        return answer


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def vllm_alone(
    options: Options, adapters: Mapping[str, Path], log_path: Path, *, plugin: bool
) -> Iterator[int]:
    """vLLM's own server with the arguments of `harness serve` but no middleware; yields its port.
    `adapters`: name → folder. `plugin`: with this project's changes to the engine."""
    argv = vllm_argv(options, cpu=on_cpu())
    place = argv.index("--middleware")
    del argv[place : place + 2]
    argv += ["--lora-modules", *(f"{name}={path}" for name, path in adapters.items())]
    values = environment(options, os.environ, cpu=on_cpu())
    if not plugin:
        values["VLLM_PLUGINS"] = ""
        del values["VLLM_COMPUTE_NANS_IN_LOGITS"]
    command = [sys.executable, "-P", "-c", _MAIN, *argv]
    with _process(command, values, options.port, log_path):
        yield options.port


@contextlib.contextmanager
def litellm(target_port: int, model: str, folder: Path) -> Iterator[int]:
    """A LiteLLM proxy in front of a server; yields its port."""
    program, port = _installed_litellm(), free_port()
    target = f"http://127.0.0.1:{target_port}"
    params = {"model": f"hosted_vllm/{model}", "api_base": f"{target}/v1", "api_key": "none"}
    config = {
        "model_list": [{"model_name": model, "litellm_params": params}],
        "general_settings": {
            "dangerously_permit_weak_or_unset_master_key": True,  # none of the others asks for one
            "pass_through_endpoints": [{"path": "/tokenize", "target": f"{target}/tokenize"}],
        },
    }
    path = folder / "litellm.yaml"
    path.write_text(json.dumps(config))  # JSON is YAML
    values = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR"}
    command = [str(program), "--config", str(path), "--host", "127.0.0.1", "--port", str(port)]
    command += ["--telemetry", "False"]
    with _process(command, values, port, folder / "litellm.log", health="/health/liveliness"):
        yield port


def _installed_litellm() -> Path:
    """The program; installed first where it is missing."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "harness-benchmarks" / f"litellm-{LITELLM}"
    program = folder / "bin" / "litellm"
    if not program.exists():
        print(f"installing LiteLLM {LITELLM} into {folder} (700 MB)", file=sys.stderr)
        venv.create(folder, clear=True, with_pip=True)
        pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet"]
        subprocess.run([*pip, f"litellm[proxy]=={LITELLM}"], check=True)
    return program


@contextlib.contextmanager
def _process(
    command: list[str],
    values: Mapping[str, str],
    port: int,
    log_path: Path,
    health: str = "/health",
) -> Iterator[None]:
    """A process group that answers at `port`, for the block."""
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            command, env=dict(values), stdout=log, stderr=log, start_new_session=True
        )
    try:
        deadline = time.monotonic() + START_S
        while not _healthy(port, health):
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"{command[0]} did not start:\n{log_path.read_text()[-3000:]}")
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_S)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _healthy(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()
