"""Watching and disturbing real training processes."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from harness.training.job import JobDir
from harness.training.launch import TrainEvent

ROOT = Path(__file__).parents[2]
_LAUNCH = """
import json
import sys
from pathlib import Path
from harness.training.launch import train
from harness.training.prepare import prepare
from tests.training.recipes import make_recipe
recipe = make_recipe(Path(sys.argv[1]), **json.loads(sys.argv[3]))
train(recipe, prepare(recipe), Path(sys.argv[2]), on_event=print)
"""


def ignore(event: TrainEvent) -> None:
    pass


def wait_for(condition: Callable[[], object], what: str, timeout_s: float = 180) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, f"no {what} within {timeout_s} s"
        time.sleep(0.02)


def workers_of(job_dir: Path) -> list[int]:
    """Processes that train the job, those that only start others left out."""
    found = []
    for each in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = each.read_bytes().split(b"\0")
            wanted = words[1:3] in ([b"-m", b"harness.training.process.worker"], [b"-u", b"-m"])
            if wanted and str(job_dir).encode() in words:
                found.append(int(each.parent.name))
    return sorted(found)


def adapter_of(job_dir: Path) -> bytes:
    return (JobDir(job_dir).adapter / "adapter_model.safetensors").read_bytes()


@contextlib.contextmanager
def launched(root: Path, job_dir: Path, **sections: Any) -> Iterator[subprocess.Popen[bytes]]:
    """The training of `root` in a process of its own, killed at the end of the block."""
    launcher = subprocess.Popen(
        [sys.executable, "-c", _LAUNCH, str(root), str(job_dir), json.dumps(sections)],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
    )
    try:
        yield launcher
    finally:
        launcher.kill()
        launcher.wait()


class Blow:
    """A signal to all workers of a job, once, some time after its training began. As with a user,
    SIGTERM goes to the launcher, which is this process."""

    def __init__(self, job_dir: Path, number: signal.Signals, delay_s: float) -> None:
        self._job_dir, self._number, self._delay_s = job_dir, number, delay_s
        self._struck = False
        self.n_workers = 0
        """How many there were."""

    def __call__(self, event: TrainEvent) -> None:
        self.strike_once(lambda: True)

    def strike_once(self, ready: Callable[[], object]) -> None:
        """Strike when the delay has passed after `ready` came true."""
        if not self._struck:
            self._struck = True
            threading.Thread(target=self._strike, args=[ready]).start()

    def _strike(self, ready: Callable[[], object]) -> None:
        wait_for(ready, "worker")
        time.sleep(self._delay_s)
        found = workers_of(self._job_dir)
        self.n_workers = len(found)
        for pid in [os.getpid()] if found and self._number == signal.SIGTERM else found:
            kill(pid, self._number)


def kill(pid: int, number: signal.Signals = signal.SIGKILL) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
