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

from harness.errors import HarnessError
from serve import cpulora, faststart
from serve.launch import Options, environment, on_cpu, vllm_argv

GRACE_S = 5.0
"""Time the group has to end by itself after the parent is gone."""


def parse(argv: Sequence[str]) -> tuple[Options, bool]:
    """The options, and whether to stop with the parent. vLLM's own arguments follow `--`."""
    own, extra = list(argv), []
    if "--" in own:
        split = own.index("--")
        own, extra = own[:split], own[split + 1 :]
    defaults = Options._field_defaults
    parser = argparse.ArgumentParser(prog="python -P -m serve", description=__doc__)
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
        type=json.loads,
        help="template variables of the base (JSON)",
    )
    parser.add_argument("--keys", type=Path, help="TOML file of keys")
    parser.add_argument("--url", help="where other machines reach this server")
    parser.add_argument("--drain-s", type=float, help="seconds to end requests in after SIGTERM")
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


def main() -> int:
    logging.basicConfig(format="%(levelname)s %(asctime)s %(name)s: %(message)s")
    logging.getLogger("serve").setLevel(logging.INFO)
    options, with_parent = parse(sys.argv[1:])
    if with_parent:
        threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        cpu = on_cpu()
        values = environment(options, os.environ, cpu=cpu)
        argv = vllm_argv(options, cpu=cpu)
    except HarnessError as error:
        next_step = f"\nnext: {error.hint}" if error.hint else ""
        sys.stderr.write(f"{error}{next_step}\n")
        return error.exit_code
    os.environ.clear()
    os.environ.update(values)
    _run(argv, fast=cpu and options.fast_start and options.threads == 1)
    return 0


def _run(argv: list[str], *, fast: bool) -> None:
    """vLLM's own entry point, with `argv` for a command line."""
    gc.disable()  # 5,000 modules leave no garbage; looking for it takes a quarter of their time
    from vllm.entrypoints.launchers.api_server.entry import main as vllm_main

    if fast:
        faststart.shorten()
        cpulora.install()
    gc.freeze()
    gc.enable()
    sys.argv = ["vllm", *argv]
    vllm_main()


def _end_with_parent() -> None:
    """Wait for the parent to close our standard input, by intent or by dying, and end the group."""
    while os.read(0, 4096):
        pass
    os.killpg(os.getpgrp(), signal.SIGTERM)
    time.sleep(GRACE_S)
    os.killpg(os.getpgrp(), signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
