"""Runs the training worker as a process of its own and tells how it is doing.

A job goes on from its last whole checkpoint, and a finished one is not run again. Knows nothing
of torch: it reads the job's files, since torch.distributed does not pass exit statuses on.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from harness.errors import EnvironmentFault, Interrupted, RecipeError
from harness.jsonio import locked, read_json
from harness.recipe import LoadedRecipe
from harness.store import base_digest
from harness.training.command import (
    SAVE_S,
    require_processes,
    worker_command,
    worker_environment,
)
from harness.training.job import JobDir
from harness.training.prepare import Prepared
from harness.training.resume import require_resumable

_POLL_S = 0.1
_END_S = 10
"""How much longer the starter of several processes may take to end than they do."""
_LOG_LINES = 12
_FULL = ("No space left on device", "Disk quota exceeded", "File too large", "unexpected pos")
_NO_MEMORY = ("out of memory", "can't allocate memory", "(SIGKILL)")
"""What CUDA, torch's allocator and the starter of several processes say."""
_ROOM = 1 << 20
"""Bytes free below which a disk is full."""


class TrainEvent(NamedTuple):
    """Where a training is."""

    step: int
    n_steps: int
    loss: float | None
    """Mean loss since the last event; None before the first step."""
    tokens_per_s: float | None


def train(
    loaded: LoadedRecipe,
    prepared: Prepared,
    job_dir: Path,
    *,
    on_event: Callable[[TrainEvent], None],
) -> int:
    """Train in `job_dir` until the adapter and its evidence are there; returns the steps that
    were trained now, 0 for a finished job.

    Call it from the main thread: SIGTERM then saves a checkpoint and raises Interrupted, Ctrl-C
    saves one and goes on as KeyboardInterrupt.
    Raises RecipeError where the directory holds checkpoints of something else or TRL refuses the
    recipe, EnvironmentFault when the worker fails, the disk is full or the base changes
    meanwhile. No worker outlives this call.
    """
    require_processes(loaded)
    job = JobDir(job_dir)
    job_dir.mkdir(parents=True, exist_ok=True)
    with locked(job.lock):
        require_resumable(job, loaded, prepared)
        _write(job, loaded, prepared)
        if job.finished():
            return 0
        resumed_at: list[int] = []

        def watch(event: TrainEvent) -> None:
            resumed_at.append(event.step)
            on_event(event)

        with _sigterm_as_interrupt():
            _run(job, loaded, watch)
        _refuse_changed_base(job, prepared)
    return prepared.n_steps - min(resumed_at, default=0)


def _write(job: JobDir, loaded: LoadedRecipe, prepared: Prepared) -> None:
    try:
        job.write(loaded, prepared)
    except OSError as error:
        raise EnvironmentFault(
            f"the rows cannot be written to {job.path}: {error.strerror or error}",
            hint="make room, then run the same command",
        ) from None


def _run(job: JobDir, loaded: LoadedRecipe, on_event: Callable[[TrainEvent], None]) -> None:
    with locked(job.workers):
        pass  # A killed launcher's workers are about to see it, and may be saving still.
    tail = _Tail(job.events)
    job.error.unlink(missing_ok=True)
    with job.log.open("ab") as log:
        begin = log.tell()
        worker = subprocess.Popen(
            worker_command(loaded, job.path),
            env=worker_environment(os.environ, loaded.recipe.compute),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        while worker.poll() is None:
            time.sleep(_POLL_S)
            _report(tail, on_event)
    except _Terminated:
        _stop(worker)
        raise _interrupted(job) from None
    finally:
        _stop(worker)
    _report(tail, on_event)
    if tail.last == "stop":
        raise _interrupted(job)
    if not job.finished():
        raise _failure(job, worker.returncode, begin)


def _refuse_changed_base(job: JobDir, prepared: Prepared) -> None:
    """The worker maps the weights file into memory, so one that is overwritten meanwhile is
    trained on half way: such an adapter belongs to no base."""
    if base_digest(prepared.base_dir) != prepared.base.weights:
        job.clear()
        raise EnvironmentFault(
            f"the base in {prepared.base_dir} changed while it was trained on",
            hint="leave the base as it is and train again",
        )


def _stop(worker: subprocess.Popen[bytes]) -> None:
    """Let the worker save and end; kill it when it does not."""
    if worker.poll() is None:
        worker.terminate()
        try:
            worker.wait(SAVE_S + _END_S)
        except (subprocess.TimeoutExpired, KeyboardInterrupt, _Terminated):
            _kill(worker.pid)
            worker.wait()


def _kill(pid: int) -> None:
    """A process and all it started: ranks lead sessions of their own."""
    import psutil  # type: ignore[import-untyped]

    starter = psutil.Process(pid)
    for each in [*starter.children(recursive=True), starter]:
        with contextlib.suppress(psutil.NoSuchProcess):
            each.kill()


def _interrupted(job: JobDir) -> Interrupted:
    saved = job.saved_steps()
    where = f"with step {saved[-1]} saved" if saved else "before the first checkpoint"
    return Interrupted(f"training interrupted {where}", hint="run the same command to go on")


def _failure(job: JobDir, returncode: int, begin: int) -> RecipeError | EnvironmentFault:
    """`begin`: byte of the log at which this process began; others were before it."""
    told = read_json(job.error) if job.error.is_file() else {}
    if told.get("kind") == "recipe":
        return RecipeError(told["message"], hint=told["hint"])
    text = job.log.read_bytes()[begin:].decode(errors="replace")
    logged = text.splitlines()[-_LOG_LINES:]
    if _says(logged, _FULL) or _is_full(job.path):
        return EnvironmentFault(
            f"the disk of {job.path} is full, so no checkpoint could be saved",
            hint="make room, then run the same command to go on from the last one",
        )
    how = f"exit status {returncode}"
    if returncode < 0:
        how = f"signal {-returncode} ({signal.strsignal(-returncode)})"
    lines = told["message"].splitlines()[:_LOG_LINES] if told else logged
    hint = f"the whole log is {job.log}"
    if returncode == -signal.SIGKILL or _says([*lines, *logged], _NO_MEMORY):
        hint = f"probably out of memory: lower train.batch or data.max_length; {hint}"
    return EnvironmentFault(
        "the training process died with " + "\n  ".join([how, *lines]),
        hint=hint,
    )


def _says(lines: Sequence[str], signs: Sequence[str]) -> bool:
    return any(sign in line for line in lines for sign in signs)


def _is_full(path: Path) -> bool:
    return shutil.disk_usage(path).free < _ROOM


class _Terminated(BaseException):
    """SIGTERM, told apart from Ctrl-C."""


@contextlib.contextmanager
def _sigterm_as_interrupt() -> Iterator[None]:
    """Stop at SIGTERM as at Ctrl-C; only the main thread may set signal handlers."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def terminated(number: int, frame: object) -> None:
        raise _Terminated

    previous = signal.signal(signal.SIGTERM, terminated)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


class _Tail:
    """The whole lines that were appended to a file since the last look."""

    def __init__(self, path: Path) -> None:
        self.last = ""
        """Name of the last event that was read."""
        self._path = path
        self._place = path.stat().st_size if path.exists() else 0

    def read(self) -> list[dict[str, Any]]:
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            file.seek(self._place)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._place += len(whole)
        events = [json.loads(line) for line in whole.splitlines()]
        self.last = events[-1]["event"] if events else self.last
        return events


def _report(tail: _Tail, on_event: Callable[[TrainEvent], None]) -> None:
    for event in tail.read():
        if event["event"] == "begin":
            on_event(TrainEvent(event["step"], event["n_steps"], None, None))
        elif event["event"] == "log":
            on_event(_progress(event))


def _progress(event: dict[str, Any]) -> TrainEvent:
    return TrainEvent(
        step=event["step"],
        n_steps=event["n_steps"],
        loss=event["loss"],
        tokens_per_s=event["n_tokens"] / event["elapsed_s"],
    )
