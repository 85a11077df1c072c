"""Experiment trackers that get the training curve too: tensorboard, mlflow, wandb, trackio.

What they write lies in the job directory, and none sends anything anywhere unless its own
environment variable says so. Knows nothing of what is logged.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from harness.errors import RecipeError


def require_trackers(names: Sequence[str]) -> None:
    """Raises RecipeError for the first tracker whose library is not installed."""
    for name in names:
        if find_spec(name) is None:
            raise RecipeError(
                f"compute.report_to: {name} is not installed",
                hint=f"pip install {name}, or leave it out of compute.report_to",
            )


def keep_local(folder: Path) -> None:
    """Point every tracker to `folder`, where the environment does not say otherwise."""
    for name, value in {
        "TENSORBOARD_LOGGING_DIR": folder / "tensorboard",
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}",
        "WANDB_DIR": folder,
        "WANDB_MODE": "offline",
        "TRACKIO_DIR": folder / "trackio",
    }.items():
        os.environ.setdefault(name, str(value))
    folder.mkdir(parents=True, exist_ok=True)
