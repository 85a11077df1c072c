"""What the training process tells and listens to: progress, checkpoints, signals, its parent.

Part of the training process; knows nothing of rows or losses. Where several processes train,
the first one tells, and all of them do the same thing at the same step.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import torch
from transformers import TrainerCallback

from harness.jsonio import append_jsonl
from harness.training.command import PARENT, SAVE_S
from harness.training.job import COMPLETE

_WATCH_S = 0.2


class Progress(TrainerCallback):  # type: ignore[misc]
    """Appends every step worth telling to events.jsonl and marks whole checkpoints."""

    def __init__(self, events: Path) -> None:
        self._events = events
        self._begun_s = 0.0

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._begun_s = time.monotonic()
        self._write("begin", state)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        if "loss" in logs:
            self._write(
                "log",
                state,
                loss=float(logs["loss"]),
                lr=float(logs["learning_rate"]),
                n_tokens=int(logs["num_tokens"]),
            )

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """The checkpoint is whole when every process has written its part and none of it waits
        in memory."""
        if args.world_size > 1:
            torch.distributed.barrier()
        if not state.is_world_process_zero:
            return
        checkpoint = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        for each in checkpoint.rglob("*"):
            _flush(each)
        (checkpoint / COMPLETE).touch()
        _flush(checkpoint)
        self._write("save", state)

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._write("end" if state.global_step >= state.max_steps else "stop", state)

    def _write(self, event: str, state: Any, **values: Any) -> None:
        if state.is_world_process_zero:
            place = {"event": event, "step": state.global_step, "n_steps": state.max_steps}
            elapsed_s = round(time.monotonic() - self._begun_s, 3)
            append_jsonl(self._events, place | {"elapsed_s": elapsed_s} | values)


def _flush(path: Path) -> None:
    """Put a file or the names in a folder on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class Stop(TrainerCallback):  # type: ignore[misc]
    """SIGTERM and SIGINT, once: save at the end of the step and stop. Twice: die; where several
    processes train, who started them passes signals on, so the second may be the first again."""

    def __init__(self) -> None:
        self._asked = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._ask)

    def _ask(self, number: int, frame: Any) -> None:
        self._asked = True
        if not torch.distributed.is_initialized():
            signal.signal(number, signal.SIG_DFL)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self._any_asked(args):
            control.should_save = True
            control.should_training_stop = True

    def _any_asked(self, args: Any) -> bool:
        """Whether any of the processes was asked: they stop at the same step or not at all."""
        if args.world_size == 1:
            return self._asked
        asked = torch.tensor(int(self._asked), device=args.device)
        torch.distributed.all_reduce(asked, torch.distributed.ReduceOp.MAX)
        return bool(asked)


def watch_parent() -> None:
    """Stop as if asked to when the launching process is gone, so that no orphan trains on; die
    where even that takes too long."""
    parent = os.getppid()
    try:
        launcher = psutil.Process(int(os.environ.get(PARENT, parent)))
    except psutil.NoSuchProcess:
        launcher = None

    def watch() -> None:
        while os.getppid() == parent and _lives(launcher):
            time.sleep(_WATCH_S)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(SAVE_S)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


def _lives(process: psutil.Process | None) -> bool:
    try:
        return process is not None and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
