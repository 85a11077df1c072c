"""The check of pages finds what it is there to find."""

from __future__ import annotations

from pathlib import Path

from tests.accessibility import overflow, problems
from tests.browser import OpenTab, needs_chromium

pytestmark = needs_chromium

GOOD = """<!doctype html><html lang="en"><title>t</title><main><h1>a</h1>
<label>find <input></label></main>"""
BAD = """<!doctype html><main><h1>a</h1><h3>skips</h3><input><a href="#x"></a>
<section><h2></h2></section><svg role="img"></svg><svg></svg><b id="two"></b><b id="two"></b>
<p style="color: #999">pale</p><p aria-labelledby="nothing"></p>
<p tabindex="1">first</p><table><tr><td>1</table>
<i style="display: block; width: 3000px; height: 1px"></i>"""
FOUND = (
    "the page has no language",
    "the page has no title",
    "heading skips a level: <h3",
    "empty heading: <h2",
    "two elements have the id two",
    "aria-labelledby of nothing: nothing",
    "no name: <input",
    "no name: <a",
    "no name: <section",
    "no name: <svg",
    "positive tabindex: <p",
    "picture without a role: <svg",
    "table without headings",
    "contrast 2.85: <p",
)


def test_a_good_page_has_no_problem(tab: OpenTab, tmp_path: Path) -> None:
    (tmp_path / "good.html").write_text(GOOD)
    page = tab().open(tmp_path / "good.html")
    assert problems(page) == []
    assert overflow(page) <= 0


def test_every_rule_can_be_broken(tab: OpenTab, tmp_path: Path) -> None:
    (tmp_path / "bad.html").write_text(BAD)
    page = tab().open(tmp_path / "bad.html")
    found = problems(page)
    missed = [each for each in FOUND if not any(problem.startswith(each) for problem in found)]
    assert missed == []
    assert overflow(page) > 1000
