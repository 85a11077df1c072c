"""What the training process tells and listens to: progress, checkpoints, signals, its parent.

Part of the training process; knows nothing of rows or losses.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from harness.jsonio import append_jsonl
from harness.training.job import COMPLETE, PARENT

_WATCH_S = 0.5


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
        checkpoint = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        (checkpoint / COMPLETE).touch()
        self._write("save", state)

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._write("end", state)

    def _write(self, event: str, state: Any, **values: Any) -> None:
        place = {"event": event, "step": state.global_step, "n_steps": state.max_steps}
        elapsed_s = round(time.monotonic() - self._begun_s, 3)
        append_jsonl(self._events, place | {"elapsed_s": elapsed_s} | values)


class Stop(TrainerCallback):  # type: ignore[misc]
    """SIGTERM and SIGINT, once: save at the end of the step and stop. Twice: die."""

    def __init__(self) -> None:
        self._asked = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._ask)

    def _ask(self, number: int, frame: Any) -> None:
        self._asked = True
        signal.signal(number, signal.SIG_DFL)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self._asked:
            control.should_save = True
            control.should_training_stop = True


def watch_parent() -> None:
    """Stop as if asked to when the launching process is gone, so that no orphan trains on."""
    parent = int(os.environ.get(PARENT, os.getppid()))

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_WATCH_S)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()
