"""A model server for a round or a terminal: start one and always stop it, or attach to a running
one.

Starts `python -P -m serve` as a process group of its own and talks HTTP to it. Knows nothing of
vLLM, adapters or what is asked of the server.
"""

from __future__ import annotations

import contextlib
import errno
import importlib.util
import ipaddress
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import httpx

from harness.errors import EndpointError, EnvironmentFault, HarnessError

SERVER_KEYS = ("HARNESS_KEYS", "HARNESS_ADMIN_KEYS")
"""The variables of the keys that a server asks for: users' and administrators', with commas."""
START_S = 900.0
"""A large model on a slow disk takes minutes; a server that died is noticed at once."""
STOP_S = 15.0
"""Time to end by itself after SIGTERM, beyond what its requests have; then SIGKILL."""
_POLL_S = 0.25
_PORT_TRIES = 3
_TAIL_LINES = 15
_ERROR = re.compile(r"[\w.]*(Error|Exception): ")


@dataclass(frozen=True)
class ServerSpec:
    """What to serve. `port` None: any free one. `threads` None: one."""

    home: Path
    base_dir: Path
    base_name: str
    dtype: str = "float32"
    max_context: int | None = None
    """Longest sequence in tokens; None: as the base's config says."""
    max_lora_rank: int = 16
    port: int | None = None
    chat_template: Path | None = None
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    """Variables for the template when the base itself is asked."""
    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0 or :: for all of this machine's."""
    keys: Path | None = None
    url: str | None = None
    """Where other machines reach it; None: nobody is told of it."""
    drain_s: float = 0.0
    """Seconds that requests have to end after SIGTERM."""
    max_loaded: int = 16
    max_running: int | None = None
    threads: int | None = None
    extra: tuple[str, ...] = ()
    """Further arguments for vLLM."""


@dataclass(frozen=True)
class Server:
    """A server that answered. `pid` None: somebody else's."""

    base_url: str
    """Without /v1 and without a slash at the end."""
    pid: int | None = None

    @property
    def api_url(self) -> str:
        """What an OpenAI client takes as its base_url."""
        return f"{self.base_url}/v1"


class _PortTaken(EnvironmentFault):
    """Another process took the port between finding it free and serving on it."""


@contextlib.contextmanager
def running(
    spec: ServerSpec, *, log_path: Path, on_wait: Callable[[float], None] = lambda _: None
) -> Iterator[Server]:
    """A server for the block, whole process group stopped at its end, however it ends.

    `on_wait` is called with the seconds waited while it starts. Raises EnvironmentFault for a port
    in use, no vLLM and a server that died (of its arguments: HarnessError), with its last words.
    """
    n_tries = 1 if spec.port else _PORT_TRIES
    for n_left in reversed(range(n_tries)):
        port = usable_port(spec.port, spec.host)
        process = _start_logged(spec, port, log_path, keyless=spec.keys is None)
        server = Server(_own_url(spec.host, port), process.pid)
        try:
            _wait_healthy(process, server, log_path, on_wait)
            yield server
            return
        except _PortTaken:
            if not n_left:
                raise
        finally:
            _stop(process, spec.drain_s)


def serve_forever(
    spec: ServerSpec,
    *,
    log_path: Path | None = None,
    on_ready: Callable[[Server], None] = lambda _: None,
    on_wait: Callable[[float], None] = lambda _: None,
) -> int:
    """Serve in the foreground until SIGTERM, after which requests have `spec.drain_s` to end;
    returns 0. A second SIGTERM ends it at once. `log_path` None: the log is on this terminal.

    `on_wait` is called with the seconds waited while it starts, `on_ready` once when it answers.
    Raises EnvironmentFault for a port in use, a missing vLLM and a server that ends by itself or
    does not end, and KeyboardInterrupt after Ctrl-C, which waits for no request.
    """
    port = usable_port(spec.port, spec.host)
    with _sigterm_raised():
        process = _start_logged(spec, port, log_path)
        server = Server(_own_url(spec.host, port), process.pid)
        try:
            _wait_healthy(process, server, log_path, on_wait)
            on_ready(server)
            raise _fault(f"the model server ended with exit code {process.wait()}", log_path)
        except _Terminated:
            with contextlib.suppress(_Terminated):
                _stop(process, spec.drain_s)
                _require_ended(process)
        except KeyboardInterrupt:
            process.send_signal(signal.SIGINT)
            raise
        finally:
            _stop(process)
    return 0


def usable_port(port: int | None, host: str = "127.0.0.1") -> int:
    """`port`, or a free one for None. Raises EnvironmentFault when it is taken, the host is not an
    address of this machine, or vLLM is missing."""
    if importlib.util.find_spec("vllm") is None:
        raise EnvironmentFault("serving needs vLLM, which is not installed here", hint="make setup")
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port or 0))
            probe.listen()
        except OSError as error:
            raise EnvironmentFault(
                f"port {port} of {host} cannot be used: {error.strerror}",
                hint=_other_place(error, host, port or 0),
            ) from None
        return int(probe.getsockname()[1])


def _other_place(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"choose another port, or use the server there: --endpoint {_own_url(host, port)}"
    return "give an address of this machine (0.0.0.0: all of them) and a port from 1024"


def _own_url(host: str, port: int) -> str:
    """Where this machine reaches a server that listens on `host`."""
    reached = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{reached}]:{port}" if ":" in reached else f"http://{reached}:{port}"


def attach(endpoint: str, base_name: str, api_key: str) -> Server:
    """A running server that serves `base_name`; `endpoint` with or without /v1.

    Raises EndpointError when nothing healthy answers there or it serves another base.
    """
    server = Server(endpoint.rstrip("/").removesuffix("/v1"))
    try:
        with httpx.Client(timeout=10, trust_env=not _is_here(server.base_url)) as client:
            client.get(f"{server.base_url}/health").raise_for_status()
            headers = {"authorization": f"Bearer {api_key}"}
            answer = client.get(f"{server.api_url}/models", headers=headers)
        if answer.status_code in (401, 403):
            raise EndpointError(
                f"{endpoint} refuses the key (status {answer.status_code})",
                hint="export HARNESS_API_KEY=… with a key of that server",
            )
        listed = answer.raise_for_status().json()
        names = [str(card["id"]) for card in listed["data"]]
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError, TypeError) as error:
        raise EndpointError(
            f"{endpoint}: no healthy model server: {error or type(error).__name__}",
            hint="start one with `harness serve`, or leave the endpoint out to have one started",
        ) from None
    if base_name not in names:
        raise EndpointError(
            f"{endpoint}: does not serve the base {base_name!r}; it serves: {', '.join(names)}",
            hint="start `harness serve` with the same recipe, or correct compute.endpoint",
        )
    return server


def _is_here(url: str) -> bool:
    """Whether the address is this machine's own, which no proxy of the environment need reach."""
    host = httpx.URL(url).host
    try:
        family = socket.AF_INET6 if ipaddress.ip_address(host).version == 6 else socket.AF_INET
    except ValueError:
        return host in ("localhost", socket.gethostname())
    with socket.socket(family) as probe:
        try:
            probe.bind((host, 0))  # what can be bound is here
        except OSError:
            return False
    return True


def command(spec: ServerSpec, port: int) -> list[str]:
    """The command line of the server process; -P, so that no serve.py of the working directory is
    started in its place."""
    argv = [sys.executable, "-P", "-m", "serve", "--with-parent", "--fast-start"]
    argv += ["--home", str(spec.home), "--base-dir", str(spec.base_dir)]
    argv += ["--base-name", spec.base_name, "--host", spec.host, "--port", str(port)]
    argv += ["--dtype", spec.dtype, "--max-lora-rank", str(spec.max_lora_rank)]
    argv += ["--max-cpu-loras", str(spec.max_loaded), "--drain-s", str(spec.drain_s)]
    if spec.max_running is not None:
        argv += ["--max-loras", str(spec.max_running)]
    if spec.kwargs:
        argv += ["--chat-template-kwargs", json.dumps(spec.kwargs)]
    if spec.keys:
        argv += ["--keys", str(spec.keys)]
    if spec.url:
        argv += ["--url", spec.url]
    if spec.max_context is not None:
        argv += ["--max-context", str(spec.max_context)]
    if spec.chat_template:
        argv += ["--chat-template", str(spec.chat_template)]
    if spec.threads:
        argv += ["--threads", str(spec.threads)]
    return argv + (["--", *spec.extra] if spec.extra else [])


def _start(
    spec: ServerSpec, port: int, log: IO[bytes] | None, *, keyless: bool = False
) -> subprocess.Popen[bytes]:
    """Standard input is the lifeline: the server ends when it closes, which the system does even
    when this process is killed. `keyless`: keys in the environment are not for this server."""
    hidden = SERVER_KEYS if keyless else ()
    return subprocess.Popen(
        command(spec, port),
        env={name: value for name, value in os.environ.items() if name not in hidden},
        stdin=subprocess.PIPE,
        stdout=log,
        stderr=subprocess.STDOUT if log else None,
        start_new_session=True,
    )


def _start_logged(
    spec: ServerSpec, port: int, log_path: Path | None, *, keyless: bool = False
) -> subprocess.Popen[bytes]:
    if log_path is None:
        return _start(spec, port, None, keyless=keyless)
    log_path.parent.mkdir(parents=True, exist_ok=True)
    with log_path.open("wb") as log:
        return _start(spec, port, log, keyless=keyless)


def _wait_healthy(
    process: subprocess.Popen[bytes],
    server: Server,
    log_path: Path | None,
    on_wait: Callable[[float], None],
) -> None:
    started = time.monotonic()
    with httpx.Client(timeout=5, trust_env=False) as client:
        while (waited := time.monotonic() - started) < START_S:
            on_wait(waited)
            if (code := process.poll()) is not None:
                fault = _fault(f"the model server ended with exit code {code}", log_path)
                raise HarnessError(str(fault), hint=fault.hint) if code == 2 else fault  # usage
            with contextlib.suppress(httpx.HTTPError):
                answer = client.get(f"{server.base_url}/health")
                if (pid := answer.headers.get("x-harness-pid")) != str(process.pid):
                    raise _PortTaken(
                        f"another server (process {pid or 'unknown'}) answers at {server.base_url}",
                        hint="choose another port, or leave it out for any free one",
                    )
                if answer.status_code == 200:
                    return
            time.sleep(_POLL_S)
    raise _fault(f"the model server was not healthy after {START_S:.0f} s", log_path)


def _fault(what: str, log_path: Path | None) -> EnvironmentFault:
    """With the log's last lines, and before them the errors that are further up: a failed engine
    names its cause long before the server gives up. None: the log is on this terminal."""
    if log_path is None:
        return EnvironmentFault(
            f"{what}; its last words are above", hint="mend what they name, or start it again"
        )
    text = log_path.read_text(encoding="utf-8", errors="replace")
    lines = text.partition("\nnanobind: leaked")[0].splitlines()  # said by Triton at every exit
    last = lines[-_TAIL_LINES:]
    errors = [line for line in lines[:-_TAIL_LINES] if _ERROR.match(line)]
    shown = "\n".join(f"  | {line}" for line in (*errors[-3:], *last))
    return EnvironmentFault(f"{what}; its last words:\n{shown}", hint=f"the whole log: {log_path}")


class _Terminated(SystemExit):
    """SIGTERM, told apart from Ctrl-C; where nothing is left to stop, it ends the command."""


@contextlib.contextmanager
def _sigterm_raised() -> Iterator[None]:
    def terminated(number: int, frame: object) -> None:
        raise _Terminated

    previous = signal.signal(signal.SIGTERM, terminated)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _require_ended(process: subprocess.Popen[bytes]) -> None:
    if process.returncode == -signal.SIGKILL:
        raise EnvironmentFault("the model server did not end in time and was killed")


def _stop(process: subprocess.Popen[bytes], drain_s: float = 0) -> None:
    """End the whole group: politely, then not. A second Ctrl-C only skips the politeness."""
    try:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(drain_s + STOP_S)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if process.stdin:
            process.stdin.close()
