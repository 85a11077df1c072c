"""Adapters of the pocket, trained by the product's own command."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from harness import jsonio
from harness.store import Store

RECIPE = Path(__file__).parents[1] / "pocket.yaml"


def tune(work: Path, name: str, rows: list[dict[str, Any]], *, seed: int, steps: int) -> Path:
    """Train `name` on chat rows with recipes/pocket.yaml; returns the published folder."""
    data = work / f"{name}.jsonl"
    jsonio.write_jsonl(data, rows)
    chosen = {
        "name": name,
        "data.sources": json.dumps([{"path": str(data.absolute())}]),
        "train.seed": seed,
        "train.max_steps": steps,
        "compute.threads": 1,
    }
    command = [sys.executable, "-m", "harness", "train", str(RECIPE), "--home", str(work), "--json"]
    command += [part for key, value in chosen.items() for part in ("--set", f"{key}={value}")]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    return Store(work).version_dir(json.loads(done.stdout)["version"])
