"""What `python -m serve` is started with: from a recipe's choices, or without one.

Knows nothing of rounds; `harness.server` starts and stops the process.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from harness import server
from harness.chat.base import base_dir, max_context
from harness.chat.template import template_path
from harness.errors import EndpointError, HarnessError
from harness.evaluation.access import api_url
from harness.plan import served_name
from harness.recipe import MAX_LORA_RANKS, Base, Chat, Compute, Serve, locate
from harness.report.wording import one_line
from harness.store import Store

DEFAULT_PORT = 8000
DEFAULT_RANK = 16
"""Room for the adapters that are published after the server has started."""

_SAYS = re.compile(r"(?:\([^()]{1,80}\) )?INFO [\d-]+ [\d:]+ \[[^\]]{1,80}\] (\w.*)")
"""A line of vLLM's log, with what it says."""
_LAST = 4096
_SHOWN = 60


class Choice(NamedTuple):
    """The sections that say what is served and how; paths start from `root`."""

    base: Base
    chat: Chat
    compute: Compute
    serve: Serve
    root: Path


def round_spec(choice: Choice, store: Store, versions: Iterable[str]) -> server.ServerSpec:
    """A server for a round's own use: on this machine, without keys, with room for `versions`. It
    has no users, so it is no replica of the store, and no promotion waits for it."""
    base, chat, compute, serve, root = choice
    rank = max([DEFAULT_RANK, *(store.manifest(version).rank for version in versions)])
    return server.ServerSpec(
        home=store.home,
        base_dir=base_dir(base, root),
        base_name=served_name(base),
        dtype=base.dtype,
        max_lora_rank=next(allowed for allowed in MAX_LORA_RANKS if allowed >= rank),
        port=compute.port,
        chat_template=template_path(chat, root),
        kwargs=chat.kwargs,
        threads=compute.threads,
        max_context=max_context(base, base_dir(base, root)),
        max_loaded=serve.max_loaded,
        max_running=serve.max_running,
        extra=serve.engine_args,
    )


def serve_store(
    choice: Choice,
    store: Store,
    environment: Iterable[str],
    *,
    log_path: Path | None,
    on_ready: Callable[[server.Server], None],
    on_wait: Callable[[float], None],
) -> int:
    """Serve in the foreground until stopped, known to others as one of the store's replicas;
    returns the server's exit code. `environment`: names of the variables that are set; `log_path`
    None: the log is on this terminal. Raises HarnessError for an open address without keys, a
    key file that is not there and a `url` that is none."""
    serve, port = choice.serve, choice.compute.port or DEFAULT_PORT
    has_keys = serve.keys is not None or not set(server.SERVER_KEYS).isdisjoint(environment)
    if not has_keys and not _is_loopback(serve.host):
        raise HarnessError(
            f"serve.host = {serve.host!r}: others could reach the server, and it has no keys",
            hint="name a key file with serve.keys (harness serve key NAME makes an entry), or "
            "listen on 127.0.0.1",
        )
    keys = locate(choice.root, serve.keys) if serve.keys else None
    if keys and not keys.is_file():
        raise HarnessError(
            f"serve.keys = {str(keys)!r}: no such file", hint=f"harness serve key NAME >> {keys}"
        )
    spec = replace(
        round_spec(choice, store, store.versions()),
        port=port,
        host=serve.host,
        keys=keys,
        url=_given_url(serve.url) if serve.url else _url(serve.host, port),
        drain_s=serve.drain_s,
    )
    return server.serve_forever(spec, log_path=log_path, on_ready=on_ready, on_wait=on_wait)


def doing(log_path: Path | None) -> str:
    """What a server that starts says last that it does; None: its log is not in a file."""
    try:
        with (log_path or Path()).open("rb") as log:
            log.seek(max(0, log.seek(0, 2) - _LAST))
            lines = log.read().decode(errors="replace").splitlines()
    except OSError:
        return "starting vLLM"
    said = (found[1] for line in reversed(lines) if (found := _SAYS.match(line)))
    return one_line(next(said, "starting vLLM"), _SHOWN)


def _given_url(url: str) -> str:
    """Raises HarnessError for what no promotion could reach."""
    try:
        api_url(url)
    except EndpointError:
        raise HarnessError(
            f"serve.url = {url!r}: not a URL",
            hint="accepted: http://host:port, where other machines reach this server",
        ) from None
    return url


def _url(host: str, port: int) -> str:
    """Where others reach a server that listens on `host`: by this machine's name where that is
    every address."""
    if host in ("0.0.0.0", "::", ""):
        host = socket.gethostname()
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
