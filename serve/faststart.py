"""Two shortcuts for a quick start on the CPU. Both replace vLLM functions, so both are used only
on request and only where no GPU could be initialised in the wrong process.
"""

from __future__ import annotations

import multiprocessing
from typing import Any


def shorten() -> None:
    """Start the engine as a copy of this process, and look at the model class right here.

    vLLM starts a fresh interpreter for either, and each spends seconds on the same imports. The
    copy is safe only with one thread: an OpenMP pool does not survive it.
    """
    import vllm.model_executor.models.registry as registry
    import vllm.v1.engine.utils as engine_utils

    _replace(engine_utils, "get_mp_context", lambda: multiprocessing.get_context("fork"))
    _replace(registry, "_run_in_subprocess", lambda task: task())


def _replace(module: Any, name: str, function: Any) -> None:
    """Raises AttributeError when vLLM no longer has what is to be replaced."""
    getattr(module, name)
    setattr(module, name, function)
