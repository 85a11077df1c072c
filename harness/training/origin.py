"""Where a version came from: its training's directory, as far as the store still has it, and the
tokenizer that turns its rows back into words."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from harness import jsonio
from harness.errors import HarnessError
from harness.store import Store
from harness.training.job import JobDir
from harness.training.resume import job_dir
from harness.types import ChatContract, Manifest

Decode = Callable[[Sequence[int]], str]


def own_job(store: Store, manifest: Manifest) -> JobDir | None:
    """The directory of the version's training, where that is still here and whole."""
    name = manifest.version.partition("@")[0]
    job = JobDir(job_dir(store.home / "training", name, manifest.train_key))
    settings = job.read()
    return job if settings and settings.get("key") == manifest.train_key else None


def decoder(jobs: Iterable[JobDir], contract: ChatContract) -> Decode | None:
    """Of the base that one of these was trained on, the first that is still there with the
    tokenizer that the rows were made with."""
    from harness.chat.tokenizer import Tokenizer

    for job in jobs:
        directory = Path(str((job.read() or {}).get("base_dir", "")))
        try:
            tokenizer = Tokenizer(directory) if directory.is_dir() else None
        except HarnessError:
            continue
        if tokenizer and _is_of(tokenizer.definition(), contract):
            return tokenizer.decode
    return None


def _is_of(definition: dict[str, Any], contract: ChatContract) -> bool:
    """As harness.chat.contract.fingerprint digests it."""
    kept = {key: definition[key] for key in definition.keys() - {"truncation", "padding"}}
    return jsonio.digest(kept) == contract.tokenizer
