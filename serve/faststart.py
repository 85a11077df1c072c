"""Two shortcuts for a quick start on the CPU. Both replace vLLM functions, so both are used only
on request and only where no GPU could be initialised in the wrong process. A copy of this process
never outlives it.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
from typing import Any

_PR_SET_PDEATHSIG = 1


def shorten() -> None:
    """Start the engine as a copy of this process, and look at the model class right here.

    vLLM starts a fresh interpreter for either, and each spends seconds on the same imports. The
    copy is safe only with one thread: an OpenMP pool does not survive it.
    """
    import vllm.model_executor.models.registry as registry
    import vllm.v1.engine.utils as engine_utils

    _replace(engine_utils, "get_mp_context", lambda: multiprocessing.get_context("fork"))
    _replace(registry, "_run_in_subprocess", lambda task: task())
    end_copies_with_us()


def end_copies_with_us() -> None:
    """Have the system kill every later copy of this process when this process dies in any way
    (Linux): vLLM's engine would otherwise outlive a killed server and keep its memory."""
    if sys.platform != "linux":
        return
    prctl = ctypes.CDLL(None).prctl
    original = 0

    def remember() -> None:
        nonlocal original
        original = os.getpid()

    def follow() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != original:  # it died before the system was told
            os._exit(1)

    os.register_at_fork(before=remember, after_in_child=follow)


def _replace(module: Any, name: str, function: Any) -> None:
    """Raises AttributeError when vLLM no longer has what is to be replaced."""
    getattr(module, name)
    setattr(module, name, function)
