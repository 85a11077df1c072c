"""Two shortcuts for a quick start on the CPU. Both replace vLLM functions, so both are used only
on request and only where no GPU could be initialised in the wrong process. And, fast or not: no
process that a server starts outlives it.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys

from serve.engine import replace

_PR_SET_PDEATHSIG = 1
_prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None


def shorten() -> None:
    """Start the engine as a copy of this process, and look at the model class right here.

    vLLM starts a fresh interpreter for either, and each spends seconds on the same imports. The
    copy is safe only with one thread: an OpenMP pool does not survive it.
    """
    import vllm.model_executor.models.registry as registry
    import vllm.v1.engine.utils as engine_utils

    replace(engine_utils, "get_mp_context", lambda: multiprocessing.get_context("fork"))
    replace(registry, "_run_in_subprocess", lambda task: task())
    end_copies_with_us()


def end_copies_with_us() -> None:
    """Have the system kill every later copy of this process when this process dies in any way
    (Linux): vLLM's engine would otherwise outlive a killed server and keep its memory."""
    original = 0

    def remember() -> None:
        nonlocal original
        original = os.getpid()

    os.register_at_fork(before=remember, after_in_child=lambda: follow(original))


def end_with_parent() -> None:
    """In a fresh interpreter that vLLM started: the same."""
    parent = multiprocessing.parent_process()
    if parent is not None and parent.pid is not None:
        follow(parent.pid)


def follow(parent: int) -> None:
    """Die with the process `parent`, which started this one."""
    if _prctl is None:
        return
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the system was told
        os._exit(1)
