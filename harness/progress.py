"""What a person sees while stages run: one live bar a stage, one line when it is done.

Everything goes to standard error, so that standard output stays data. Off a terminal the bars
become plain lines. Knows stages only by the names it is given.
"""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from harness.types import StageTime


class Reporter:
    """Live progress; a context manager."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True, highlight=False)
        self._bars = Progress(
            SpinnerColumn(finished_text=" "),
            TextColumn("{task.description:<9}", markup=False),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[detail]}", markup=False),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )
        self.times: list[StageTime] = []
        """The stages that are done, in order."""
        self._task: TaskID | None = None
        self._stage = ""
        self._started = 0.0

    def __enter__(self) -> Reporter:
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bars.stop()

    def stage(self, name: str, total: int | None = None) -> None:
        """Begin a stage of `total` parts (None: not known)."""
        self._clear()
        self._stage, self._started = name, time.monotonic()
        self._task = self._bars.add_task(name, total=total, detail="")

    def advance(self, count: int, detail: str = "") -> None:
        """`count` more parts are done."""
        if self._task is not None:
            self._bars.update(self._task, advance=count, detail=detail)

    def set(self, completed: int, detail: str = "") -> None:
        """`completed` parts are done in all."""
        if self._task is not None:
            self._bars.update(self._task, completed=completed, detail=detail)

    def done(self, summary: str, *, skipped: bool = False) -> None:
        """End the stage with one line."""
        self._clear()
        took = 0.0 if skipped else time.monotonic() - self._started
        seconds = round(took, 3)
        self.times.append(
            StageTime(name=self._stage, seconds=seconds, summary=summary, skipped=skipped)
        )
        mark = Text("· " if skipped else "✓ ", style="dim" if skipped else "green")
        line = Text(f"{self._stage:<9} ", style="bold") + Text(summary)
        if not skipped:
            line.append(f"  {took:.0f} s", "dim")
        self.console.print(mark + line, soft_wrap=True)

    def note(self, text: str, style: str = "yellow") -> None:
        """A line that stays."""
        self.console.print(Text(text, style=style), soft_wrap=True)

    def _clear(self) -> None:
        if self._task is not None:
            self._bars.remove_task(self._task)
            self._task = None
