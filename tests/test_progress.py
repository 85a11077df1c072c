"""Progress of stages, on a clock of the test's own: no test waits."""

from __future__ import annotations

import contextlib
import io
import re
from typing import NamedTuple

import pytest
from rich.console import Console

from harness.progress import Reporter

ERASED = "\x1b[2K"
HIDDEN, SHOWN = "\x1b[?25l", "\x1b[?25h"


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Screen(NamedTuple):
    """A reporter, what it wrote, and its time."""

    reporter: Reporter
    file: io.StringIO
    clock: Clock

    @property
    def lines(self) -> list[str]:
        return bare(self.file.getvalue()).splitlines()

    def drawn(self) -> str:
        """The line that moves, as it is now."""
        line = self.reporter.drawn()
        assert line.cell_len < self.reporter.console.width
        return line.plain


def bare(text: str) -> str:
    return re.sub("\x1b\\[[0-9;?]*[A-Za-z]", "", text)


def plain(*, quiet: bool = False) -> Screen:
    file, clock = io.StringIO(), Clock()
    return Screen(Reporter(Console(file=file, width=80), quiet=quiet, clock=clock), file, clock)


def terminal(width: int = 80, **environment: str) -> Screen:
    file, clock = io.StringIO(), Clock()
    environment = {"TERM": "xterm-256color"} | environment
    console = Console(file=file, width=width, force_terminal=True, _environ=environment)
    return Screen(Reporter(console, clock=clock), file, clock)


class TestLine:
    def test_says_how_far_how_long_and_what(self) -> None:
        screen = terminal(120)
        screen.reporter.stage("judge", 840, "answers")
        screen.reporter.tell(look="look 1 of 4", cost="11 tokens")
        screen.reporter.tell(cost="322 tokens")
        screen.clock.now += 10
        screen.reporter.advance(420)
        screen.reporter.count(3, "unscored")
        line = screen.drawn()
        assert re.search(r"judge +━+─+ +420/840 answers  10 s left  42/s", line)
        assert line.endswith("look 1 of 4, 322 tokens, 3 unscored")

    @pytest.mark.parametrize("width", [20, 40, 60, 80, 120])
    def test_never_wraps(self, width: int) -> None:
        screen = terminal(width)
        with screen.reporter.within("[2/4] lora.r=8,train.lr=0.0001"):
            screen.reporter.stage("train", 12_000, "steps")
        screen.clock.now += 7200
        screen.reporter.set(100, "loss 1.234  31,234 tokens/s")
        screen.reporter.set(101, "loss 1.234  31,234 tokens/s")
        assert len(screen.drawn()) <= width - 1

    def test_narrow_keeps_amount_and_time_left_and_drops_the_bar(self) -> None:
        screen = terminal(60)
        screen.reporter.stage("train", 150, "steps")
        screen.reporter.set(0)
        screen.clock.now += 5
        screen.reporter.set(50, "loss 1.234  3,234 tokens/s")
        line = screen.drawn()
        assert "50/150 steps  10 s left" in line
        assert "loss 1.234" in line
        assert "━" not in line

    def test_unknown_total_shows_the_time_taken(self) -> None:
        screen = terminal()
        screen.reporter.stage("serve")
        screen.reporter.tell(vllm="Starting to load model base")
        screen.clock.now += 200
        assert screen.drawn().endswith("serve      3 min 20 s  Starting to load model base")

    def test_ascii_where_nothing_else_can_be_written(self) -> None:
        file = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
        console = Console(file=file, width=80, force_terminal=True, _environ={"TERM": "xterm"})
        reporter = Reporter(console, clock=Clock())
        reporter.stage("train", 10, "steps")
        reporter.advance(5, "loss 1.0")
        assert reporter.drawn().plain.isascii()
        reporter.done("10 steps")
        file.flush()
        assert bare(file.buffer.getvalue().decode()).startswith("+ train     10 steps  0 s")


class TestSpeed:
    def test_what_the_cache_had_is_no_speed(self) -> None:
        screen = terminal(120)
        screen.reporter.stage("generate", 1000, "answers")
        screen.reporter.recalled(900)
        screen.reporter.advance(900)
        screen.clock.now += 10
        screen.reporter.advance(20)
        assert "920/1,000 answers  40 s left  2.0/s  10 s so far  900 from cache" in screen.drawn()

    def test_what_was_before_the_first_event_is_no_speed(self) -> None:
        """A training that is resumed begins at a step, after minutes of loading."""
        screen = terminal(120)
        screen.reporter.stage("train", 200, "steps")
        screen.clock.now += 300
        screen.reporter.set(100)
        screen.clock.now += 10
        screen.reporter.set(101)
        assert "101/200 steps  16 min 30 s left" in screen.drawn()
        assert "10 s each" in screen.drawn()

    def test_time_left_goes_down_while_nothing_is_heard(self) -> None:
        screen = terminal(120)
        screen.reporter.stage("train", 100, "steps")
        screen.reporter.set(0)
        screen.clock.now += 10
        screen.reporter.set(50)
        screen.clock.now += 4
        assert "  6 s left" in screen.drawn()
        screen.clock.now += 40
        assert "  0 s left" in screen.drawn()

    def test_only_the_last_minute_counts(self) -> None:
        screen = terminal(120)
        screen.reporter.stage("generate", 10_000, "answers")
        for _ in range(100):
            screen.clock.now += 1
            screen.reporter.advance(50)
        for _ in range(100):
            screen.clock.now += 1
            screen.reporter.advance(10)
        assert "  10/s" in screen.drawn()

    def test_more_than_was_foreseen_is_shown_without_the_total(self) -> None:
        screen = terminal()
        screen.reporter.stage("check", 10, "rows")
        screen.reporter.advance(20)
        assert "  20 rows" in screen.drawn()


class TestTerminal:
    def test_the_line_goes_and_one_stays(self) -> None:
        screen = terminal()
        with screen.reporter:
            screen.reporter.stage("train", 10, "steps")
            screen.clock.now += 46
            screen.reporter.done("10 steps")
        written = screen.file.getvalue()
        assert written.index(HIDDEN) < written.rindex(ERASED) < written.rindex(SHOWN) + 40
        assert screen.lines[-1] == "✓ train     10 steps  46 s"

    def test_ctrl_c_leaves_line_and_cursor_clean(self) -> None:
        screen = terminal()
        with contextlib.suppress(KeyboardInterrupt), screen.reporter:
            screen.reporter.stage("train", 10, "steps")
            raise KeyboardInterrupt
        written = screen.file.getvalue()
        assert written.rindex(SHOWN) > written.rindex(HIDDEN)
        assert written.endswith(ERASED)

    def test_a_note_stays_above(self) -> None:
        screen = terminal()
        with screen.reporter:
            screen.reporter.stage("probe", 2, "adapters")
            screen.reporter.note("  refused")
            screen.reporter.done("proven")
        assert [line for line in screen.lines if "refused" in line][-1].strip() == "refused"

    def test_a_dumb_terminal_gets_plain_lines(self) -> None:
        screen = terminal(TERM="dumb")
        with screen.reporter:
            screen.reporter.stage("train", 10, "steps")
            screen.clock.now += 31
            screen.reporter.advance(5)
            screen.reporter.done("10 steps")
        assert screen.file.getvalue().splitlines() == [
            "… train     5/10 steps, 31 s, 31 s left, 6 s each",
            "✓ train     10 steps  31 s",
        ]

    def test_no_color_leaves_colour_out(self) -> None:
        screen = terminal(NO_COLOR="1")
        with screen.reporter:
            screen.reporter.stage("train", 10, "steps")
            screen.reporter.done("10 steps")
            screen.reporter.note("a warning")
        assert not re.search("\x1b\\[[0-9;]*3[0-9]", screen.file.getvalue())


class TestPlainLines:
    def test_one_line_a_stage(self) -> None:
        screen = plain()
        with screen.reporter:
            screen.reporter.stage("check", 1500, "rows")
            screen.clock.now += 2
            screen.reporter.advance(1500)
            screen.reporter.done("1500 rows")
            screen.reporter.stage("train")
            screen.reporter.done("it is in the store already", skipped=True)
        assert screen.lines == [
            "✓ check     1500 rows  2 s",
            "· train     it is in the store already",
        ]

    def test_a_stage_that_lasts_says_so_every_half_minute(self) -> None:
        screen = plain()
        with screen.reporter:
            screen.reporter.stage("generate", 900, "answers")
            for _ in range(9):
                screen.clock.now += 10
                screen.reporter.advance(100)
        assert screen.lines == [
            "… generate  300/900 answers, 30 s, 60 s left, 10/s",
            "… generate  600/900 answers, 60 s, 30 s left, 10/s",
            "… generate  900/900 answers, 90 s, 10/s",
        ]

    def test_another_stage_begins_its_own_half_minute(self) -> None:
        screen = plain()
        with screen.reporter:
            screen.reporter.stage("check")
            screen.clock.now += 29
            screen.reporter.stage("train", 10, "steps")
            screen.clock.now += 29
            screen.reporter.advance(1)
        assert screen.lines == []

    def test_forced_colours_are_no_terminal(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """CIs set FORCE_COLOR, and a line that is drawn over would fill their logs."""
        monkeypatch.setenv("FORCE_COLOR", "1")
        assert Reporter().console.is_terminal
        assert not Reporter().console.is_interactive

    def test_places_nest(self) -> None:
        screen = plain()
        with screen.reporter, screen.reporter.within("[2/4] lora.r=8"):
            with screen.reporter.within("retention"):
                screen.reporter.stage("judge")
                screen.reporter.done("6 verdicts")
            screen.reporter.stage("train")
            screen.reporter.done("10 steps")
        assert screen.lines == [
            "✓ [2/4] lora.r=8 retention judge 6 verdicts  0 s",
            "✓ [2/4] lora.r=8 train 10 steps  0 s",
        ]
        names = [each.name for each in screen.reporter.times]
        assert names == ["[2/4] lora.r=8 retention judge", "[2/4] lora.r=8 train"]


def test_quiet_says_warnings_and_errors_alone() -> None:
    screen = plain(quiet=True)
    with screen.reporter:
        screen.reporter.note("round one", "bold")
        screen.reporter.note("what can be ruled out", "dim")
        screen.reporter.stage("train", 10, "steps")
        screen.clock.now += 60
        screen.reporter.advance(5)
        screen.reporter.note("  an alias does not exist yet")
        screen.reporter.note("  refused", "red")
        screen.reporter.done("10 steps")
    assert screen.lines == ["  an alias does not exist yet", "  refused"]
    assert [(each.name, each.seconds) for each in screen.reporter.times] == [("train", 60.0)]
