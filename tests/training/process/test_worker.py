"""The hooks of TRL that the worker relies on are still there, and mean the same."""

from __future__ import annotations

import inspect
import warnings


def test_the_private_hooks_exist() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from trl import SFTTrainer
        from trl.trainer import utils
    assert callable(utils._use_triton)
    head = inspect.getsource(utils.add_fused_lm_head)
    assert "compact = _use_triton(" in head
    assert head.count("_use_triton") == 1, "it must only choose the positions, not the kernel"
    assert callable(SFTTrainer._get_train_sampler)
