from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Literal

import pytest
from rich.console import Console

from harness.report.html import render_html
from harness.report.intervals import Axis, axis_of
from harness.report.record import RoundRecord
from harness.report.terminal import MARKS, bars, brief, place, summary
from tests.report import hostile
from tests.report.factory import (
    make_hostile_record,
    make_record,
    make_uncompared_record,
    with_others,
)


def printed(record: RoundRecord, *, terminal: bool = False, width: int = 80) -> str:
    file = io.StringIO()
    color: Literal["truecolor"] | None = "truecolor" if terminal else None
    Console(file=file, width=width, force_terminal=terminal, color_system=color, _environ={}).print(
        summary(record)
    )
    return file.getvalue()


def test_verdict_first_then_numbers() -> None:
    lines = printed(make_record(), width=120).splitlines()
    assert lines[0].startswith("✗ FAIL  Fails overall and in slice generate")
    found = [line.split() for line in lines if line.startswith("✗ generate")]
    scores = ["1.22", "█▃···", "1", "4.60", "···▆█", "1.50", "−3.40", "−3.58"]
    assert found == [["✗", "generate", *scores, "◂", "┊", "│", "2/20"]]
    assert any("overall: mean 3.48 against 4.40, difference −1.00" in line for line in lines)
    assert "candidate 58 of 60 items scored, 2 not scored, 2 truncated, 1 failed" in lines
    assert any("from cache 47" in line for line in lines)


def test_targets_beside_the_sides_have_a_line_each() -> None:
    lines = printed(with_others(make_record(), "few-shot")).splitlines()
    [line] = [line for line in lines if line.startswith("few-shot")]
    assert line.startswith("few-shot  4.40 ")
    assert line.endswith("  60 of 60 scored, 0 not scored, 0 truncated, 0 failed")


def test_broken_rules_are_named_with_their_numbers() -> None:
    lines = printed(make_record(), width=120).splitlines()
    assert "  ✗ non-inferiority  overall  value −1.000, bound −1.417, limit −0.200" in lines
    assert "  ✗ slice drop  generate  value −3.400, limit −0.200" in lines
    assert not any("slice drop  extract" in line for line in lines)


def test_many_broken_rules_are_counted() -> None:
    record = make_record()
    rules = record.decision.rules * 20
    decision = record.decision.model_copy(update={"rules": rules})
    n_broken = sum(rule.status != "pass" for rule in rules)
    text = printed(record.model_copy(update={"decision": decision}))
    assert f"and {n_broken - 8} rules more, in the report" in text


@pytest.mark.parametrize("width", [40, 60, 80, 100, 120, 200])
def test_fits_the_screen(width: int) -> None:
    text = printed(make_record(), width=width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text


def head(width: int) -> list[str]:
    lines = printed(make_record(), width=width).splitlines()
    return next(line for line in lines if line.startswith("slice ")).split()


def test_a_narrow_screen_has_fewer_columns() -> None:
    assert head(40) == ["slice", "score", "change"]
    assert head(60) == ["slice", "score", "change", "−0.20", "0", "no", "score"]
    assert head(80) == [
        *("slice", "candidate", "change", "bound"), *("−0.20", "0", "no", "score")
    ]  # fmt: skip
    assert head(120) == [
        *("slice", "candidate", "min", "baseline", "base", "change", "bound"),
        *("−0.20", "0", "no", "score"),
    ]


def rows_of(record: RoundRecord) -> list[str]:
    marks = tuple(f"{mark} " for mark in MARKS.values())
    lines = printed(record).partition("───\n")[2].splitlines()
    return [line.split()[1] for line in lines if line.startswith(marks)]


def test_failing_slices_come_first() -> None:
    assert rows_of(make_record())[:2] == ["overall", "generate"]
    assert rows_of(make_record(status="pass")) == ["overall", "classify", "extract", "generate"]


class TestPicture:
    """Of the intervals, an axis of one character for each tenth from −0.8 on."""

    AXIS = Axis(-0.8, 0.4, 0.2, 13)

    def drawn(self, lower: float | None, mean: float | None, upper: float | None) -> str:
        comparison = make_record().comparison
        assert comparison
        found = {"lower": lower, "mean": mean, "upper": upper}
        return self.AXIS.draw(comparison.overall.difference.model_copy(update=found))

    def test_zero_and_margin_stay_in_sight(self) -> None:
        assert self.drawn(None, None, None) == "      ┊ │    "
        assert self.drawn(-0.4, -0.1, 0.2) == "    ──┊●│──  "
        assert self.drawn(-0.1, 0.0, 0.1) == "      ┊─●─   "

    def test_an_arrow_where_the_axis_ends(self) -> None:
        assert self.drawn(-3.0, -2.9, -2.8) == "◂     ┊ │    "
        assert self.drawn(-1.0, -0.7, -0.4) == "◂●───  ┊ │    ".replace("  ┊", " ┊")
        assert self.drawn(0.1, 0.3, 0.9) == "      ┊ │──●▸".replace("│──●▸", "│──●▸")

    def test_the_marks_have_their_numbers(self) -> None:
        assert self.AXIS.head() == "  −0.20 0    "

    def test_the_axis_shows_the_margin_and_no_outlier(self) -> None:
        comparison = make_record().comparison
        assert comparison
        one = comparison.overall.difference
        equal = one.model_copy(update={"lower": -0.01, "mean": 0.0, "upper": 0.01})
        far = one.model_copy(update={"lower": -3.0, "mean": -2.9, "upper": -2.8})
        assert axis_of([equal], 0.2, 21)[:2] == (-0.4, 0.2)
        assert axis_of([equal, far], 0.2, 21)[:2] == (-0.8, 0.2)
        assert axis_of([], 0.2, 21)[:2] == (-0.4, 0.2)


def test_ascii_where_nothing_else_can_be_written() -> None:
    file = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="strict")
    Console(file=file, width=120, _environ={}).print(summary(make_record()))
    file.flush()
    text = file.buffer.getvalue().decode("ascii")
    assert text.startswith("x FAIL  Fails overall and in slice generate")
    assert "---o---" in text
    assert "-3.40" in text


def test_brief_is_the_verdict_alone() -> None:
    file = io.StringIO()
    Console(file=file, width=80, _environ={}).print(brief(make_record()), soft_wrap=True)
    [line] = file.getvalue().splitlines()
    assert line.startswith("✗ FAIL  Fails overall and in slice generate")


def test_a_place_is_a_link_on_a_terminal_and_a_path_elsewhere(tmp_path: Path) -> None:
    path = tmp_path / "re port.html"

    def shown(terminal: bool) -> str:
        file = io.StringIO()
        Console(
            file=file, width=20, force_terminal=terminal, _environ={"TERM": "xterm-256color"}
        ).print(place(path), soft_wrap=True)
        return file.getvalue()

    assert shown(False) == f"{path}\n"
    assert f";{path.as_uri()}\x1b\\{path}\x1b]8;;" in shown(True)


def test_plain_without_a_terminal_and_coloured_in_one() -> None:
    assert "\x1b" not in printed(make_record())
    assert "\x1b[1;31m✗ FAIL" in printed(make_record(), terminal=True)


@pytest.mark.parametrize("name", hostile.TEXTS)
def test_hostile_text_drives_no_terminal(name: str) -> None:
    text = printed(make_hostile_record(hostile.TEXTS[name]), terminal=True)
    bare = re.sub("\x1b\\[[0-9;]*m", "", text)
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f\u200b-\u200f\u202a-\u202e\u2066-\u2069]", bare)
    assert max(map(len, bare.splitlines())) <= 80


def test_rich_markup_is_printed_as_text() -> None:
    assert "[bold red]Pass[/bold red]" in printed(make_hostile_record(hostile.RICH), width=400)


def test_bars_scale_to_the_tallest() -> None:
    side = make_record().comparison
    assert side is not None
    assert bars(side.overall.baseline) == "▁·▁▄█"
    empty = side.overall.baseline.model_copy(update={"distribution": (0, 0, 0, 0, 0)})
    assert bars(empty) == "·····"


def test_a_round_without_comparison() -> None:
    text = printed(make_uncompared_record())
    assert text.startswith("! UNTRUSTED  The evidence cannot be trusted")
    assert "Nothing was compared" in text
    assert "bars:" not in text


def test_small_slices_are_counted_not_listed() -> None:
    record = make_record()
    assert record.comparison
    slices = tuple(
        each.model_copy(update={"guarded": each.name != "extract"})
        for each in record.comparison.slices
    )
    names = [each.name for each in slices]
    assert "extract" in names
    comparison = record.comparison.model_copy(update={"slices": slices})
    text = printed(record.model_copy(update={"comparison": comparison}))
    assert "not shown: 1 slice too small to guard" in text
    assert not re.search(r"^. extract\b", text, re.MULTILINE)


def test_large_slices_of_few_clusters_are_not_listed_as_passed() -> None:
    record = make_record()
    rules = [
        rule.model_copy(
            update={"status": "pass", "sentence": "on 3 clusters of prompts: shown, not guarded"}
        )
        for rule in record.decision.rules
        if rule.slice == "extract" and rule.rule == "slice drop"
    ]
    assert rules
    others = [rule for rule in record.decision.rules if rule.slice != "extract"]
    decision = record.decision.model_copy(update={"rules": (*others, *rules)})
    record = record.model_copy(update={"decision": decision})
    assert "not shown: 1 slice too small to guard" in printed(record)
    assert "not guarded" in render_html(record).partition('id="scores"')[2]
