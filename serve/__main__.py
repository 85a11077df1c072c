"""`python -P -m serve`: vLLM's OpenAI server in this process, with our middleware in front.

Without -P a serve.py in the working directory would be started instead.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from harness.errors import EnvironmentFault, HarnessError
from serve import faststart
from serve.drain import STOP_ASKED
from serve.launch import Options, environment, on_cpu, vllm_argv

GRACE_S = 10.0
"""Time to end after the parent is gone, beyond what running requests have."""
_INTERRUPTED = 130


class _Parser(argparse.ArgumentParser):
    """Says what is wrong as every other part does."""

    def error(self, message: str) -> NoReturn:
        raise HarnessError(message, hint="python -P -m serve --help")


def parse(argv: Sequence[str]) -> tuple[Options, bool]:
    """The options, and whether to stop with the parent. vLLM's own arguments follow `--`. Raises
    HarnessError."""
    own, extra = list(argv), []
    if "--" in own:
        split = own.index("--")
        own, extra = own[:split], own[split + 1 :]
    defaults = Options._field_defaults
    parser = _Parser(prog="python -P -m serve", description=__doc__)
    parser.add_argument("--home", type=Path, required=True, help="the store")
    parser.add_argument("--base-dir", type=Path, required=True, help="folder of the base model")
    parser.add_argument("--base-name", required=True, help="the base's name in requests")
    parser.add_argument("--host", help="address to listen on")
    parser.add_argument("--port", type=int)
    parser.add_argument("--dtype")
    parser.add_argument("--max-context", type=int, help="longest sequence in tokens")
    parser.add_argument("--max-lora-rank", type=int, help="largest rank of any version served")
    parser.add_argument("--max-loras", type=int, help="versions in one batch")
    parser.add_argument("--max-cpu-loras", type=int, help="versions in memory")
    parser.add_argument("--chat-template", type=Path, help="Jinja file; the base's own if absent")
    parser.add_argument(
        "--chat-template-kwargs",
        dest="kwargs",
        type=_variables,
        help="template variables of the base (JSON)",
    )
    parser.add_argument("--keys", type=Path, help="TOML file of keys")
    parser.add_argument("--url", help="where other machines reach this server")
    parser.add_argument("--drain-s", type=_seconds, help="time for requests after SIGTERM")
    parser.add_argument("--threads", type=int, help="CPU threads")
    parser.add_argument(
        "--fast-start",
        action="store_true",
        help="skip repeated imports (CPU with one thread only)",
    )
    parser.add_argument(
        "--with-parent", action="store_true", help="stop when standard input is closed"
    )
    parser.set_defaults(**defaults)
    values = vars(parser.parse_args(own))
    with_parent = bool(values.pop("with_parent"))
    return Options(**values | {"extra": tuple(extra)}), with_parent


def _variables(text: str) -> dict[str, Any]:
    try:
        values = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"not JSON: {error}") from None
    if not isinstance(values, dict):
        raise argparse.ArgumentTypeError(f"{text}: accepted: a JSON object")
    return values


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text}: accepted: seconds from 0")
    return value


def main() -> int:
    """0 when it was asked to stop, 130 when that was before it had started."""
    logging.basicConfig(format="%(levelname)s %(asctime)s %(name)s: %(message)s")
    logging.getLogger("serve").setLevel(logging.INFO)
    try:
        options, with_parent = parse(sys.argv[1:])
        if with_parent:
            threading.Thread(target=_end_with_parent, args=(options.drain_s,), daemon=True).start()
        _serve(options)
    except HarnessError as error:
        next_step = f"\nnext: {error.hint}" if error.hint else ""
        sys.stderr.write(f"{error}{next_step}\n")
        return error.exit_code
    except KeyboardInterrupt:
        return _INTERRUPTED
    return 0


def _serve(options: Options) -> None:
    """Until a signal. Raises EnvironmentFault when vLLM returns without one: its engine died."""
    cpu = on_cpu()
    values = environment(options, os.environ, cpu=cpu)
    argv = vllm_argv(options, cpu=cpu)
    os.environ.clear()
    os.environ.update(values)
    _run(argv, fast=cpu and options.fast_start and options.threads == 1)
    if not STOP_ASKED.is_set():
        raise EnvironmentFault(
            "the engine ended by itself; its last words are above",
            hint="start the server again; the store is as it was",
        )


def _run(argv: list[str], *, fast: bool) -> None:
    """vLLM's own entry point, with `argv` for a command line."""
    gc.disable()  # 5,000 modules leave no garbage; looking for it takes a quarter of their time
    from vllm.entrypoints.launchers.api_server.entry import main as vllm_main

    if fast:
        faststart.shorten()
    gc.freeze()
    gc.enable()
    sys.argv = ["vllm", *argv]
    if "--headless" in argv:
        _engines_only(argv)
    else:
        vllm_main()


def _engines_only(argv: list[str]) -> None:
    """The engines of a further machine, without an API server: what `vllm serve --headless` does.
    They read adapters themselves, so the store must lie at the same path there."""
    from vllm.entrypoints.cli.serve import run_headless
    from vllm.entrypoints.launchers.cli_args import make_arg_parser, validate_parsed_serve_args
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    given = make_arg_parser(FlexibleArgumentParser()).parse_args(argv)
    validate_parsed_serve_args(given)
    given.api_server_count = 0
    run_headless(given)


def _end_with_parent(drain_s: float) -> None:
    """Wait for the parent to close our standard input, by intent or by dying; then end as at
    SIGTERM, and the whole group when that takes too long."""
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(drain_s + GRACE_S)
    os.killpg(os.getpgrp(), signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
