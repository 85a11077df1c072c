"""How the training process is started: its command line and its environment.

One process is plain Python, more are torch.distributed's, and accelerate starts them where the
recipe has a file of its configuration. Knows nothing of what is trained.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from harness.errors import RecipeError
from harness.recipe import Compute, LoadedRecipe
from harness.training.order import share
from harness.yamlio import read_yaml

SAVE_S = 120
"""How long the training may take to finish its step and save a checkpoint."""
PARENT = "HARNESS_PARENT_PID"
"""Environment variable with the launcher's process id; the worker stops when it is gone."""
_WORKER = ["-m", "harness.training.process.worker"]
_DROPPED = (
    "ACCELERATE_", "FSDP_", "DEEPSPEED_", "TRL_", "TORCHELASTIC_", "TORCH_ELASTIC_", "MASTER_",
    "PET_",
)  # fmt: skip
_DROPPED_EXACTLY = (
    "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK", "GROUP_WORLD_SIZE",
    "ROLE_RANK", "ROLE_WORLD_SIZE",
)  # fmt: skip
_SET = {
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TRANSFORMERS_VERBOSITY": "warning",
    "PYTHONUNBUFFERED": "1",
    # The folder the command was given in is not searched for modules, in no process.
    "PYTHONSAFEPATH": "1",
    # Waiting threads that spin make a step ten times slower where another process has the core.
    "OMP_WAIT_POLICY": "PASSIVE",
    "TORCH_ELASTIC_SHUTDOWN_TIMEOUT": str(SAVE_S),
}


def require_processes(loaded: LoadedRecipe) -> None:
    """Before anything is spent: the batch can be shared, and accelerate's file starts as many
    processes as the recipe says. Raises RecipeError where not."""
    compute = loaded.recipe.compute
    share(loaded.recipe.train, compute.processes)
    if compute.accelerate_config is None:
        return
    path = loaded.locate(compute.accelerate_config)
    try:
        values = read_yaml(path, RecipeError).value
    except FileNotFoundError:
        raise RecipeError(
            f"compute.accelerate_config = {compute.accelerate_config!r}: there is no file {path}",
            hint=f"accelerate config --config_file {path}",
        ) from None
    started = values.get("num_processes", 1) if isinstance(values, dict) else None
    if started != compute.processes:
        raise RecipeError(
            f"{path} has num_processes: {started}, the recipe compute.processes: "
            f"{compute.processes}",
            hint="set both to the number of processes on all machines together",
        )


def worker_command(loaded: LoadedRecipe, job_dir: Path) -> list[str]:
    """The command line that trains the job in `job_dir`."""
    compute = loaded.recipe.compute
    if compute.accelerate_config is not None:
        config = str(loaded.locate(compute.accelerate_config).absolute())
        start = ["-m", "accelerate.commands.launch", "--config_file", config]
    elif compute.processes > 1:
        count = str(compute.processes)
        start = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", count]
    else:
        return [sys.executable, *_WORKER, str(job_dir)]
    return [sys.executable, *start, *_WORKER, str(job_dir)]


def worker_environment(outer: Mapping[str, str], compute: Compute) -> dict[str, str]:
    """The worker's environment: offline, silent, a GPU for each process, nothing that would change
    the training behind the recipe's back. The threads are shared by the processes."""
    kept = {
        name: value
        for name, value in outer.items()
        if not name.startswith(_DROPPED) and name not in _DROPPED_EXACTLY
    }
    package_root = str(Path(__file__).parents[2])
    found = [package_root, *filter(None, [outer.get("PYTHONPATH")])]
    kept |= _SET | {"PYTHONPATH": os.pathsep.join(found), PARENT: str(os.getpid())}
    if compute.processes == 1:
        kept["CUDA_VISIBLE_DEVICES"] = outer.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
    threads = compute.threads
    if compute.processes > 1:
        threads = max(1, (threads or os.cpu_count() or 1) // compute.processes)
    if threads is not None:
        kept["OMP_NUM_THREADS"] = str(threads)
    return kept
