"""The page of all rounds, filled from a store, also from one that lost half of what it had."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from harness.cli.app import find_run
from harness.cli.records import alias_split, promote, report
from harness.cli.records import rollback as rollback_command
from harness.errors import HarnessError, StoreError
from harness.history.page import index_page, write_index
from harness.jsonio import read_json, write_json
from harness.pipeline import tell_all
from harness.progress import Reporter
from harness.release.promote import PromotionRefused, rollback
from harness.report.index import render_index
from harness.run import Run
from harness.store import Store
from tests.history.build import FINE, NONE, WORSE, Made, Past


def eventful(past: Past) -> list[Made]:
    one = past.round("1", moves=True)
    two = past.round("2", WORSE, baseline=one.version)
    past.promote(two.version, override="customer demo")
    rollback(past.store, "prod", past.now())
    return [one, two, past.round("3", NONE, baseline=one.version), past.round("4", FINE)]


def test_rounds_are_numbered_from_the_oldest(past: Past) -> None:
    made = eventful(past)
    page = index_page(past.store)
    assert [each.number for each in page.rounds] == [4, 3, 2, 1]
    assert [each.candidate for each in reversed(page.rounds)] == [each.version for each in made]
    assert [each.status for each in reversed(page.rounds)] == ["pass", "fail", "untrusted", "pass"]
    first = page.rounds[-1]
    assert (first.moved, first.attempt, first.items) == (("prod",), 1, "100 items")
    assert (first.candidate_mean, first.baseline_mean, first.difference) == (4.0, 4.0, 0.0)


def test_a_chart_has_the_rounds_that_are_evidence(past: Past) -> None:
    eventful(past)
    [chart] = index_page(past.store).charts
    assert [each.number for each in chart.columns] == [1, 2, 4]
    assert chart.n_untrusted == 1
    whole = chart.trends[0]
    assert whole.name == "overall"
    means = [each.candidate.value for each in whole.spots if each.candidate]
    assert means == [4.0, 3.0, 4.0]
    bounds = whole.spots[0].candidate
    assert bounds
    assert bounds.low is not None
    assert bounds.high is not None
    assert bounds.low < 4.0 < bounds.high


def test_a_changed_comparison_is_not_drawn(past: Past) -> None:
    one, *_ = eventful(past)
    path = Run(past.store.home / "runs" / one.run).comparison_path
    value = read_json(path)
    value["overall"]["candidate"]["mean"] = 5.0
    write_json(path, value)
    page = index_page(past.store)
    assert [each.number for each in page.charts[0].columns] == [2, 4]
    assert page.rounds[-1].lost == ("its run holds a later comparison",)


def test_what_an_alias_served_with_what_decided(past: Past) -> None:
    one, two, *_ = eventful(past)
    [prod] = index_page(past.store).aliases
    assert [each.version for each in prod.lines] == [one.version, two.version, one.version]
    back, forced, first = prod.lines
    assert back.serves
    assert back.began
    assert back.began.shout == "ROLLBACK"
    assert forced.began
    assert forced.began.shout == "OVERRIDE"
    assert "customer demo (in spite of decision" in forced.began.words
    assert forced.ended == back.began
    assert first.began
    assert f"by decision {one.decision}: PASS, run bot-1" in first.began.words


def test_links_lead_to_reports_that_are_there(past: Past) -> None:
    eventful(past)
    (past.store.home / "runs" / "bot-1" / "report.html").write_text("page")
    html = write_index(past.store).read_text()
    found = set(re.findall(r'href="(\./[^"]*)"', html))
    assert found == {"./bot-1/report.html"}
    assert all((past.store.home / "runs" / each).is_file() for each in found)


def test_a_store_that_lost_its_runs_and_lines_says_so(past: Past) -> None:
    eventful(past)
    shutil.rmtree(past.store.home / "runs")
    with past.store.log_path.open("a") as log:
        log.write('{"half a li\n')
    html = write_index(past.store).read_text()
    assert "its run bot-1 is gone" in html
    assert "aliases.log.jsonl cannot be read" in html
    assert "No round has scores yet." not in html
    assert "<circle" in html


def test_the_command(past: Past, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    eventful(past)
    report(index=True, home=past.store.home)
    path = past.store.home / "runs" / "index.html"
    assert capsys.readouterr().out == f"{path}\n"
    first = path.read_bytes()
    write_index(past.store)
    assert path.read_bytes() == first
    with pytest.raises(HarnessError) as missing:
        find_run("index", past.store)
    assert "index.html" not in str(missing.value)
    with pytest.raises(HarnessError, match="name a RUN, or --index"):
        report(home=past.store.home)
    with pytest.raises(StoreError, match="no store here"):
        write_index(Store(tmp_path / "none"))
    assert not (tmp_path / "none").exists()


def test_a_damaged_store_takes_nothing_from_a_finished_round(
    past: Past, capsys: pytest.CaptureFixture[str]
) -> None:
    eventful(past)
    (past.store.home / "aliases.json").write_text("{")
    with Reporter() as reporter:
        tell_all(past.store, reporter)
    assert "the page of all rounds is not written:" in capsys.readouterr().err


def test_the_commands_that_move_an_alias_keep_the_page_current(past: Past) -> None:
    one, two = past.round("1"), past.round("2")
    home, path = past.store.home, past.store.home / "runs" / "index.html"
    promote(one.version, alias="prod", home=home)
    assert f"by decision {one.decision}" in path.read_text()
    promote(two.version, alias="prod", override="customer demo", home=home)
    assert "customer demo" in path.read_text()
    alias_split(f"prod={two.version}:90,{one.version}:10", override="a tenth", home=home)
    assert "10 % of its requests" in path.read_text()
    rollback_command("prod", home=home)
    assert path.read_text() == render_index(index_page(past.store))


def test_a_refused_promotion_leaves_the_page_as_it_is(past: Past) -> None:
    worse = past.round("1", WORSE)
    with pytest.raises(PromotionRefused):
        promote(worse.version, alias="prod", home=past.store.home)
    assert not (past.store.home / "runs" / "index.html").exists()
