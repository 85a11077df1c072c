"""The training process with FSDP on a machine without a GPU.

Accelerate turns FSDP on for GPUs only, though torch shards over gloo as well: with this the same
code can be tested here. `python -m torch.distributed.run … tests/training/fsdp_worker.py JOB_DIR`
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from accelerate.state import AcceleratorState, PartialState  # type: ignore[import-untyped]
from accelerate.utils import DistributedType  # type: ignore[import-untyped]

_plain = AcceleratorState.__init__


def _sharding(self: Any, *args: Any, fsdp_plugin: Any = None, **kwargs: Any) -> None:
    _plain(self, *args, fsdp_plugin=fsdp_plugin, **kwargs)
    if fsdp_plugin is not None:
        self.distributed_type = DistributedType.FSDP
        self.fsdp_plugin = fsdp_plugin
        PartialState._shared_state["distributed_type"] = DistributedType.FSDP


if __name__ == "__main__":
    AcceleratorState.__init__ = _sharding
    from harness.training.process.worker import main

    sys.exit(main(Path(sys.argv[1])))
