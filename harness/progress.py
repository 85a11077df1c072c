"""What a person sees while stages run: one live line a stage, one line when it is done.

Everything goes to standard error, so that standard output stays data. Where a line cannot be
drawn over, as in a file or in the log of a CI, a stage that lasts says every half minute how far
it is. Knows stages only by the names it is given.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Final

from rich.cells import cell_len
from rich.console import Console
from rich.live import Live
from rich.text import Text

from harness.types import StageTime

_TOLD_EVERY_S: Final = 30.0
_WINDOW_S: Final = 60.0
"""The speed is that of the last minute."""
_MIN_SAMPLES: Final = 10
_SAMPLE_S: Final = 0.25
_LOUD: Final = frozenset({"yellow", "red"})
"""Styles of notes that are warnings."""
_BAR, _MIN_BAR, _DETAIL, _NAME = 28, 8, 28, 36
"""Cells: of a bar, at most and at least; those that a detail gets before a bar does; of a name."""
_SPINNER: Final = {False: "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏", True: "|/-\\"}
_MARKS: Final = {False: ("✓", "·", "…", "━", "─"), True: ("+", ".", "~", "#", "-")}
"""Whether only ASCII can be written → done, skipped, under way; full and empty bar."""


class _Stage:
    """How far one stage is, and how fast it goes. One thread changes it and another may draw it, so
    there is always a sample, and what is drawn is of copies."""

    def __init__(self, name: str, total: int | None, unit: str, now: float) -> None:
        self.name, self.total, self.unit, self.began = name, total, unit, now
        self.told_at = now
        self.completed = 0
        self.facts: dict[str, str] = {}
        self.counts: dict[str, int] = {}
        self._n_free = 0
        self._is_set = False
        self._samples = deque([(now, 0)])

    def free(self, count: int, why: str) -> None:
        self._n_free += count
        self.counts[why] = self.counts.get(why, 0) + count

    def advance(self, count: int, now: float) -> None:
        self.completed += count
        self._sample(now)

    def set(self, completed: int, now: float) -> None:
        """The first call says where it begins: what was before it is no speed."""
        self.completed = completed
        if not self._is_set:
            self._is_set = True
            self._samples = deque([(now, completed - self._n_free)])
        self._sample(now)

    def _sample(self, now: float) -> None:
        samples, point = self._samples, (now, self.completed - self._n_free)
        if len(samples) > 1 and now - samples[-2][0] < _SAMPLE_S:
            samples[-1] = point
        else:
            samples.append(point)
        while len(samples) > _MIN_SAMPLES and now - samples[0][0] > _WINDOW_S:
            samples.popleft()

    @property
    def speed(self) -> float | None:
        """Parts a second, without those that were free; None while none is known."""
        samples = self._samples
        (began, first), (ended, last) = samples[0], samples[-1]
        return (last - first) / (ended - began) if ended > began and last > first else None

    def left_s(self, now: float) -> float | None:
        """Seconds until the total is reached; None where that cannot be told."""
        speed = self.speed
        if self.total is None or speed is None or self.completed >= self.total:
            return None
        return max(0.0, (self.total - self.completed) / speed - (now - self._samples[-1][0]))

    def amount(self) -> str:
        """412/840 answers; nothing where nothing is counted."""
        if self.total is None and not self.completed:
            return ""
        is_known = self.total is not None and self.completed <= self.total
        of = f"/{self.total:,}" if is_known else ""
        return f"{self.completed:,}{of} {self.unit}".rstrip()

    def times(self, now: float) -> tuple[str, str, str]:
        """Time left, time taken and speed, each empty where it is not known."""
        left, speed = self.left_s(now), self.speed
        return (
            "" if left is None else f"{_span(left)} left",
            _span(now - self.began),
            "" if speed is None else _rate(speed),
        )

    def detail(self) -> str:
        facts, counts = list(self.facts.values()), list(self.counts.items())
        told = (f"{n:,} {what}" for what, n in counts if n)
        return ", ".join([*filter(None, facts), *told])


class Reporter:
    """Progress of one stage after the other; a context manager.

    `quiet`: nothing but warnings and errors. `clock`: seconds.
    """

    def __init__(
        self,
        console: Console | None = None,
        *,
        quiet: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.console = console or _standard_error()
        self.times: list[StageTime] = []
        """The stages that are done, in order."""
        self._quiet, self._clock = quiet, clock
        self._stage: _Stage | None = None
        self._place = ""
        self._live: Live | None = None
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._closed.set()
        self._beating: threading.Thread | None = None

    def __enter__(self) -> Reporter:
        self._closed.clear()
        if not self._quiet and not self.console.is_interactive:
            self._beating = threading.Thread(target=self._beat, daemon=True)
            self._beating.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._closed.set()
        self._clear()
        if self._beating:
            self._beating.join()
            self._beating = None

    @contextlib.contextmanager
    def within(self, place: str) -> Iterator[None]:
        """The stages of the block are parts of something larger, which is named before them."""
        outer, self._place = self._place, f"{self._place}{place} "
        try:
            yield
        finally:
            self._place = outer

    def stage(self, name: str, total: int | None = None, unit: str = "") -> None:
        """Begin a stage of `total` parts (None: not known), counted in `unit`."""
        self._clear()
        self._stage = _Stage(f"{self._place}{name}", total, unit, self._clock())
        if not self._quiet and not self._closed.is_set() and self.console.is_interactive:
            self._live = Live(
                get_renderable=self.drawn,
                console=self.console,
                transient=True,
                refresh_per_second=8,
                redirect_stdout=False,
            )
            self._live.start()

    def expect(self, total: int) -> None:
        """The stage turns out to have so many parts."""
        if self._stage:
            self._stage.total = total

    def advance(self, count: int, detail: str | None = None) -> None:
        """`count` more parts are done."""
        if self._stage:
            self._stage.advance(count, self._clock())
            self._say(detail)

    def set(self, completed: int, detail: str | None = None) -> None:
        """`completed` parts are done in all."""
        if self._stage:
            self._stage.set(completed, self._clock())
            self._say(detail)

    def free(self, count: int, why: str) -> None:
        """Of the parts that `advance` hears of next, `count` are no work, so the speed is that of
        the others."""
        if self._stage:
            self._stage.free(count, why)

    def recalled(self, count: int) -> None:
        """`free`, since the cache has them."""
        self.free(count, "from cache")

    def count(self, count: int, what: str) -> None:
        """`count` more of something to be seen beside the progress."""
        if self._stage:
            self._stage.counts[what] = self._stage.counts.get(what, 0) + count

    def tell(self, **facts: str) -> None:
        """What is to be seen beside the progress, each in place of what had its key before."""
        if self._stage:
            self._stage.facts |= facts
            self._tell_if_due()

    def done(self, summary: str, *, skipped: bool = False) -> None:
        """End the stage with one line."""
        stage, now = self._stage, self._clock()
        name = stage.name if stage else ""
        self._clear()
        took = 0.0 if skipped or not stage else now - stage.began
        seconds = round(took, 3)
        self.times.append(StageTime(name=name, seconds=seconds, summary=summary, skipped=skipped))
        if self._quiet:
            return
        done, passed, *_ = self._marks
        mark = (f"{passed} ", "dim") if skipped else (f"{done} ", "green")
        line = Text.assemble(mark, (f"{name:<9} ", "bold"), summary)
        if not skipped:
            line.append(f"  {_span(took)}", "dim")
        self.console.print(line, soft_wrap=True)

    def note(self, text: str, style: str = "yellow") -> None:
        """A line that stays. Of a quiet command only warnings do: those in yellow or red."""
        if not self._quiet or style in _LOUD:
            self.console.print(Text(text, style=style), soft_wrap=True)

    @property
    def _marks(self) -> tuple[str, ...]:
        return _MARKS[self.console.options.ascii_only]

    def _clear(self) -> None:
        live, self._live, self._stage = self._live, None, None
        if live:
            live.stop()

    def _say(self, detail: str | None) -> None:
        self.tell(**({} if detail is None else {"detail": detail}))

    def drawn(self) -> Text:
        """The line that moves, as it is now; empty between stages."""
        stage = self._stage
        if stage is None:
            return Text()
        return _line(stage, self._clock(), self.console.width, self.console.options.ascii_only)

    def _beat(self) -> None:
        while not self._closed.wait(1.0):
            self._tell_if_due()

    def _tell_if_due(self) -> None:
        """A line that stays, where there is none that moves."""
        if self._quiet or self.console.is_interactive or self._closed.is_set():
            return
        with self._lock:
            stage, now = self._stage, self._clock()
            if stage is None or now - stage.told_at < _TOLD_EVERY_S:
                return
            stage.told_at = now
        left, took, speed = stage.times(now)
        parts = (stage.amount(), took, left, speed, stage.detail())
        text = f"{self._marks[2]} {stage.name:<9} {', '.join(filter(None, parts))}"
        self.console.print(Text(text, "dim"), soft_wrap=True)


def _standard_error() -> Console:
    """Only a terminal is drawn on, whatever the environment says of colours."""
    is_terminal = sys.stderr.isatty()
    return Console(stderr=True, highlight=False, force_interactive=None if is_terminal else False)


def _line(stage: _Stage, now: float, width: int, is_ascii: bool) -> Text:
    """One row of at most `width` − 1 cells: what does not fit is left out, the bar before what
    is told and the time taken before the bar."""
    *_, full, empty = _MARKS[is_ascii]
    frames = _SPINNER[is_ascii]
    name = Text(f"{stage.name:<9}", "bold")
    name.truncate(_NAME, overflow="crop")
    left, took, speed = stage.times(now)
    amount, detail = stage.amount(), stage.detail()
    told = [each for each in (amount, left or took) if each]
    room = width - 1 - 2 - name.cell_len - sum(2 + cell_len(each) for each in told)
    wanted = 2 + min(cell_len(detail), _DETAIL) if detail else 0
    n_bar = min(_BAR, room - wanted - 2)
    line = Text.assemble((f"{frames[int(8 * now) % len(frames)]} ", "cyan"), name)
    if stage.total and n_bar >= _MIN_BAR:
        n_full = min(n_bar, n_bar * stage.completed // stage.total)
        line.append("  ").append(full * n_full, "magenta").append(empty * (n_bar - n_full), "dim")
        room -= n_bar + 2
    for more in (speed, f"{took} so far" if left else ""):
        if more and room - cell_len(detail) - 2 >= cell_len(more) + 2:
            told.append(more)
            room -= cell_len(more) + 2
    for each in told:
        line.append(f"  {each}")
    if detail:
        line.append(f"  {detail}", "dim")
    line.truncate(max(width - 1, 1), overflow="crop" if is_ascii else "ellipsis")
    line.no_wrap = True
    return line


def _span(seconds: float) -> str:
    """46 s, 3 min 20 s, 2 h 05 min"""
    whole = round(seconds)
    if whole < 100:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 100:
        return f"{minutes} min {rest:02} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min"


def _rate(speed: float) -> str:
    """34/s; slower than one a second the other way round: 20 s each."""
    if speed >= 1:
        return f"{speed:,.{0 if speed >= 10 else 1}f}/s"
    return f"{_span(1 / speed)} each"
