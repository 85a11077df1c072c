"""The page of all rounds in a real browser: quiet, self-contained, readable, its links right."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.report.index import render_index
from tests.accessibility import overflow, paper, problems, tabbed
from tests.browser import PHONE, OpenTab, needs_chromium
from tests.report import test_local
from tests.report.past import make_page
from tests.report.test_local import Shown

pytestmark = needs_chromium
shown = test_local.shown


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty rounds: more than a chart draws."""
    path = tmp_path_factory.mktemp("runs") / "index.html"
    path.write_text(render_index(make_page(30)))
    return path


def test_it_is_whole_from_disk(tab: OpenTab, index: Path) -> None:
    it = tab()
    page = it.open(index)
    assert page.title() == "All rounds"
    assert page.locator("li.round").count() == 30
    assert page.locator(".trend").count() == 2
    assert it.is_quiet()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everybody_can_read_it(tab: OpenTab, index: Path, scheme: str) -> None:
    page = tab(color_scheme=scheme).open(index)
    assert problems(page) == []


def test_dark_is_dark(tab: OpenTab, index: Path) -> None:
    colours = {scheme: paper(tab(color_scheme=scheme).open(index)) for scheme in ("light", "dark")}
    assert colours["light"] != colours["dark"]


def test_it_fits_a_phone(tab: OpenTab, index: Path) -> None:
    assert overflow(tab(viewport=PHONE).open(index)) <= 0


def test_the_keyboard_comes_to_every_link(tab: OpenTab, index: Path) -> None:
    page = tab().open(index)
    stops = tabbed(page)
    assert stops[:4] == ["a Rounds", "a Scores", "a Aliases", "a Report of round 30"]
    assert len(stops) == page.locator("a[href]").count()
    page.locator("nav a", has_text="Scores").press("Enter")
    assert page.url.endswith("#scores")


def test_a_point_of_a_chart_leads_to_its_round(tab: OpenTab, index: Path) -> None:
    page = tab().open(index)
    link = page.locator(".axis a").first
    where = link.get_attribute("href")
    assert where
    link.focus()
    page.keyboard.press("Enter")
    assert page.url.endswith(where)
    assert page.locator(where).evaluate("row => row.matches(':target')")


def test_on_paper_there_is_no_navigation_and_no_dark(tab: OpenTab, index: Path) -> None:
    page = tab(color_scheme="dark").open(index)
    page.emulate_media(media="print")
    assert not page.locator("nav").is_visible()
    assert paper(page) == "rgb(255, 255, 255)"
    assert problems(page) == []


def test_the_policy_holds_even_where_escaping_would_fail(tab: OpenTab, tmp_path: Path) -> None:
    attack = "<img src='http://owned.invalid/x' onerror='owned()'><script>owned()</script>"
    path = tmp_path / "index.html"
    path.write_text(render_index(make_page()).replace("</main>", f"{attack}</main>"))
    it = tab()
    it.open(path)
    assert any("Content Security Policy" in line for line in it.said)
    assert it.owned == []
    assert it.requests == it.blocked != []


def test_served_pages_are_whole_under_both_policies(tab: OpenTab, shown: Shown) -> None:
    """A policy that forbids a page's own style would be a console message."""
    it = tab()
    page = it.open(shown.server.url)
    assert it.is_quiet()
    page.locator("a[href$='report.html']").last.click()
    assert page.title().startswith("Fail: ")
    assert it.said == []
    assert it.requests == [f"{shown.server.url}bot-1/report.html"]
