"""A round's page in a real browser: quiet, readable by everybody, its items found and opened."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from harness.report.html import render_html
from tests.accessibility import overflow, paper, problems, tabbed
from tests.browser import PHONE, OpenTab, Tab, needs_chromium
from tests.report.factory import make_record, make_uncompared_record, with_surroundings
from tests.report.rows import classify_row, extract_row, generate_row, make_rows
from tests.workbench import wait_for

pytestmark = needs_chromium

MANY = 5_000
AT_ONCE = 10
"""Rows that a frame may add."""
MOST_ROWS = 200
"""Of the list, whatever the number of items."""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("run") / "report.html"
    path.write_text(render_html(with_surroundings(make_record())))
    return path


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    makers = (classify_row, extract_row, generate_row)
    rows = [makers[n % 3](n // 3) for n in range(MANY)]
    path = tmp_path_factory.mktemp("many") / "report.html"
    path.write_text(render_html(make_record(rows)))
    return path


def cases(page: Page) -> Locator:
    return page.locator("#list > li")


def shows(page: Page, words: str) -> None:
    """How many items are listed, as it is said to everybody."""
    expect(page.locator("#count")).to_have_text(words)


def worst(page: Page) -> Locator:
    return page.locator("#list .case").first


def fragment(page: Page) -> str:
    return page.url.partition("#")[2]


def test_it_is_whole_from_disk(tab: OpenTab, report: Path) -> None:
    it = tab()
    page = it.open(report)
    assert page.title().startswith("Fail: ")
    shows(page, "60 items")
    assert page.evaluate("[typeof compared, typeof find]") == ["undefined", "function"]
    assert "native code" in page.evaluate("String(find)")
    assert it.is_quiet()


def test_a_round_without_scores_is_whole(tab: OpenTab, tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text(render_html(make_uncompared_record()))
    it = tab()
    page = it.open(tmp_path / "report.html")
    assert page.title().startswith("Untrusted: ")
    assert problems(page) == []
    assert it.is_quiet()


def test_without_scripts_it_says_where_the_items_are(tab: OpenTab, report: Path) -> None:
    page = tab(java_script_enabled=False).open(report)
    assert page.get_by_role("heading", level=1).inner_text() == "Fail"
    assert "report.md" in page.locator("main").inner_text()
    assert not page.locator("#filters").is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everybody_can_read_it(tab: OpenTab, report: Path, scheme: str) -> None:
    page = tab(color_scheme=scheme).open(report)
    shows(page, "60 items")
    worst(page).locator("summary").first.click()
    for details in page.locator("main details:not(.case)").all():
        details.evaluate("each => each.open = true")
    assert problems(page) == []


def test_dark_is_dark(tab: OpenTab, report: Path) -> None:
    assert paper(tab(color_scheme="light").open(report)) != paper(
        tab(color_scheme="dark").open(report)
    )


def test_it_fits_a_phone_also_with_an_item_open(tab: OpenTab, report: Path) -> None:
    page = tab(viewport=PHONE).open(report)
    assert overflow(page) <= 0
    shows(page, "60 items")
    cases(page).nth(2).locator("summary").first.click()
    assert overflow(page) <= 0


def test_on_paper_it_is_light_and_without_controls(tab: OpenTab, report: Path) -> None:
    page = tab(color_scheme="dark").open(report)
    page.emulate_media(media="print")
    assert paper(page) == "rgb(255, 255, 255)"
    assert not page.locator("#filters").is_visible()
    assert problems(page) == []


def test_the_worst_come_first_and_filters_narrow(tab: OpenTab, report: Path) -> None:
    page = tab().open(report)
    expect(cases(page)).to_have_count(25)
    moved = page.locator("#list .moved").all_text_contents()
    damage = [-9 if "—" in each else int(each.replace("−", "-").split()[0]) for each in moved]
    assert [each for each in damage if each != -9] == sorted(each for each in damage if each != -9)
    assert damage[0] < 0
    page.get_by_label("Slice").select_option("generate")
    shows(page, "20 of 60 items")
    page.locator("select[name=candidate]").select_option("none")
    shows(page, "2 of 60 items")
    assert "slice=generate" in fragment(page)
    page.get_by_role("button", name="Reset").click()
    shows(page, "60 items")
    page.locator("#flips button", has_text="Gained").click()
    shows(page, "2 of 60 items")
    assert fragment(page) == "flip=gained"


def test_a_search_finds_words_of_every_text(tab: OpenTab, report: Path) -> None:
    page = tab().open(report)
    search = page.get_by_role("searchbox")
    for words, n in (("no score line", 1), ("MILL LANE", 5), ('"Nora Lind" mill', 5)):
        search.fill(words)
        shows(page, f"{n} of 60 items")
    search.fill("nothing of the kind")
    shows(page, "No item is like that.")
    assert cases(page).count() == 0
    search.press("Escape")
    shows(page, "60 items")


def test_an_open_item_shows_all_there_is(tab: OpenTab, report: Path) -> None:
    page = tab().open(report)
    page.get_by_role("searchbox").fill("7003")
    shows(page, "1 of 60 items")
    case = worst(page)
    if not case.evaluate("each => each.open"):
        case.locator("summary").first.click()
    body = case.locator(".body")
    for words in (
        "You answer for a small shop. Be brief.",
        "Mention case 7003.",
        "I have opened case 7003 for you; you will hear from us by tomorrow noon.",
        "a lost password, a lost password",
        "Does not answer the request.",
        "41 tokens in",
    ):
        expect(body).to_contain_text(words)
    assert body.locator("ins").count() + body.locator("del").count() > 0


def test_a_link_leads_to_its_item_whatever_is_filtered(tab: OpenTab, report: Path) -> None:
    item = make_rows()[-1].item.id
    it = tab()
    page = it.open(report, f"#flip=gained&item={item}")
    opened = page.locator("#list .case[open]")
    expect(opened).to_have_count(1)
    expect(opened.locator("a.link")).to_have_text(item)
    expect(opened).to_be_in_viewport()
    page.goto(page.url.partition("#")[0] + "#item=unheard-of")
    expect(page.locator("#count")).to_have_text("The link's item is not in this round.")
    assert it.said == []
    expect(tab().open(report, "#item=unheard-of").locator("#count")).to_be_in_viewport()


def test_a_link_keeps_the_view_and_back_leaves_it(tab: OpenTab, report: Path) -> None:
    page = tab().open(report, "#slice=extract&q=church")
    shows(page, "5 of 60 items")
    assert page.get_by_label("Slice").input_value() == "extract"
    assert page.get_by_role("searchbox").input_value() == "church"
    page.get_by_label("Slice").select_option("")
    page.go_back()
    assert page.get_by_label("Slice").input_value() == "extract"
    shows(page, "5 of 60 items")


def test_a_search_for_the_name_of_an_order_is_kept(tab: OpenTab, report: Path) -> None:
    page = tab().open(report)
    page.get_by_role("searchbox").fill("damage")
    expect(page).to_have_url(re.compile(r"#q=damage$"))


def test_a_link_to_the_view_that_is_there_leads_to_it_again(tab: OpenTab, report: Path) -> None:
    page = tab().open(report, "#flip=gained")
    shows(page, "2 of 60 items")
    page.evaluate("scrollTo(0, 0)")
    expect(page.locator("#filters")).not_to_be_in_viewport()
    page.locator("table.won a[href='#flip=gained']").click()
    expect(page.locator("#items")).to_be_in_viewport()


@pytest.mark.parametrize(
    "odd",
    [
        "#slice=",
        "#slice=unknown",
        "#flip=__proto__,constructor",
        "#q=%E0%A4%A",
        "#constructor=x",
        "#=",
    ],
)
def test_no_fragment_breaks_the_page(tab: OpenTab, report: Path, odd: str) -> None:
    it = tab()
    page = it.open(report, odd)
    expect(page.locator("#count")).to_have_text(re.compile("item"))
    assert it.is_quiet()


def test_the_keyboard_does_all(tab: OpenTab, report: Path) -> None:
    page = tab().open(report)
    shows(page, "60 items")
    page.keyboard.press("/")
    page.keyboard.type("password")
    expect(page.locator("#count")).to_contain_text(" of 60 items")
    page.keyboard.press("ArrowDown")
    first = page.locator("#list summary").first
    expect(first).to_be_focused()
    was_open = worst(page).evaluate("each => each.open")
    page.keyboard.press("Enter")
    assert worst(page).evaluate("each => each.open") is not was_open
    page.keyboard.press("j")
    expect(cases(page).nth(1).locator("summary").first).to_be_focused()
    page.keyboard.press("k")
    expect(first).to_be_focused()
    page.keyboard.press("Escape")
    shows(page, "60 items")


def test_tab_comes_to_every_control_and_shows_it(tab: OpenTab, report: Path) -> None:
    page = tab().open(report, "#flip=gained")
    shows(page, "2 of 60 items")
    stops = tabbed(page)
    for words in ("Lost", "Gained", "input", "select", "Reset", "summary"):
        assert any(words in each for each in stops), words


def test_five_thousand_items_are_a_page_at_a_time(tab: OpenTab, many: Path) -> None:
    it = tab()
    page = it.open(many)
    shows(page, f"{MANY:,} items")
    assert 0 < cases(page).count() <= MOST_ROWS
    page.get_by_label("Slice").select_option("classify")
    shows(page, f"1,667 of {MANY:,} items")
    assert cases(page).count() <= MOST_ROWS
    page.get_by_role("searchbox").fill("4101")
    shows(page, f"1 of {MANY:,} items")
    page.get_by_role("button", name="Reset").click()
    shows(page, f"{MANY:,} items")
    expect(cases(page)).to_have_count(25)
    page.locator("#more").click()
    expect(cases(page)).to_have_count(50)
    assert it.is_quiet()


@pytest.mark.parametrize(
    "step", ["document.querySelector('#flips button').click()", "location.hash = 'item=FAR'"]
)
def test_no_frame_draws_many_rows_and_none_twice(tab: OpenTab, many: Path, step: str) -> None:
    page = tab().open(many)
    expect(cases(page)).to_have_count(25)
    page.evaluate(
        """() => {
          window.drawn = [];
          new MutationObserver((changes) => window.drawn.push(
            changes.reduce((sum, each) => sum + each.addedNodes.length, 0),
          )).observe(document.getElementById("list"), { childList: true });
        }"""
    )
    page.evaluate(step.replace("FAR", extract_row(MANY // 3 - 1).item.id))
    # Not the driver's own waiting: it evaluates strings, which the page's policy forbids.
    wait_for(lambda: sum(page.evaluate("window.drawn")) >= 25, timeout_s=30)
    expect(cases(page)).to_have_count(25)
    drawn = page.evaluate("window.drawn")
    assert sum(drawn) == 25
    assert max(drawn) <= AT_ONCE


def test_the_policy_holds_even_where_escaping_would_fail(tab: OpenTab, tmp_path: Path) -> None:
    attack = "<img src='https://owned.invalid/x' onerror='owned()'><script>owned()</script>"
    html = render_html(make_record()).replace("</main>", f"{attack}</main>")
    (tmp_path / "report.html").write_text(html)
    it: Tab = tab()
    it.open(tmp_path / "report.html")
    assert any("Content Security Policy" in line for line in it.said)
    assert it.owned == []
    assert it.requests == it.blocked != []
