"""What the page's script makes of the items' data: marks, samples, orders, odd names."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from playwright.sync_api import Browser, Page, expect

from harness.report import html
from harness.report.html import render_html
from harness.report.items import listing
from harness.report.record import RoundRecord
from tests.browser import OpenTab, needs_chromium
from tests.report.factory import make_record, with_samples
from tests.report.rows import make_row

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def words(browser: Browser) -> Page:
    """A page that can compare words and nothing else."""
    page = browser.new_page()
    source = Path(html.__file__).parent / "templates" / "words.js"
    page.add_script_tag(content=source.read_text(encoding="utf-8"))
    return page


def compared(words: Page, before: str, after: str) -> Any:
    return words.evaluate("([before, after]) => compared(before, after)", [before, after])


@pytest.mark.parametrize(
    ("before", "after", "parts"),
    [
        ("Nora in Oslo.", "Nora in Rome.", "=Nora in |-Oslo|+Rome|=."),
        ("by tomorrow noon", "by tomorrow", "=by tomorrow|- noon"),
        # What changed on both sides of a space is one change.
        ("it was far away now", "it was so close now", "=it was |-far away|+so close|= now"),
        ("私はパンを", "私は米を", "=私は|-パン|+米|=を"),
        ("naïve", "naïf", "-naïve|+naïf"),
        ("same", "same", "=same"),
        ("", "new", "+new"),
    ],
)
def test_changed_words_are_told_apart(words: Page, before: str, after: str, parts: str) -> None:
    signs = {"same": "=", "before": "-", "after": "+"}
    found = compared(words, before, after)
    assert "|".join(signs[kind] + text for kind, text in found) == parts


def test_unlike_and_endless_texts_are_not_compared(words: Page) -> None:
    reference = "one two three four five six seven eight nine ten eleven twelve"
    assert compared(words, reference, " ".join(reversed(reference.split())) + " at length") is None
    assert compared(words, "b " * 50_000, "a b " * 50_000) is None


_texts = st.lists(st.sampled_from(["a", "b", "c", ",", " ", "\n", "·"]), max_size=30).map("".join)


@given(_texts, _texts)
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_parts_join_to_both_texts(words: Page, before: str, after: str) -> None:
    parts = compared(words, before, after)
    if parts is not None:
        assert "".join(text for kind, text in parts if kind != "after") == before
        assert "".join(text for kind, text in parts if kind != "before") == after


def opened(tab: OpenTab, record: RoundRecord, folder: Path, fragment: str = "") -> Page:
    (folder / "report.html").write_text(render_html(record), encoding="utf-8")
    return tab().open(folder / "report.html", fragment)


def with_tags(record: RoundRecord, name: str, values: list[str]) -> RoundRecord:
    """Every item had one more tag, its values in turn."""
    items = tuple(
        each.model_copy(update={"tags": each.tags | {name: values[n % len(values)]}})
        for n, each in enumerate(record.items)
    )
    return record.model_copy(update={"items": items})


def test_marks_are_against_the_reference_or_between_the_sides(tab: OpenTab, tmp_path: Path) -> None:
    record = make_record()
    item = next(each for each in record.items if "Mention case 7001." in each.messages[-1].content)
    page = opened(tab, record, tmp_path, f"#item={item.id}")
    case = page.locator("#list .case[open]")
    expect(case.locator(".answer.baseline del")).to_have_text(" noon")
    case.get_by_role("button", name="Between the sides").click()
    expect(case.locator("del")).to_have_count(0)
    expect(case.get_by_role("button", name="Between the sides")).to_be_focused()
    case.get_by_role("button", name="Nothing").click()
    expect(case.locator(".answer ins, .answer del")).to_have_count(0)


def test_each_sample_can_be_read(tab: OpenTab, tmp_path: Path) -> None:
    record = make_record()
    item_id = record.items[45].id
    page = opened(tab, with_samples(record, item_id), tmp_path, f"#item={item_id}")
    candidate = page.locator(".answer.candidate")
    expect(candidate).to_contain_text("2.67 of 5")
    expect(candidate.locator("[aria-pressed=true]")).to_have_text("3: 2")
    candidate.get_by_role("button", name="2: 5").click()
    expect(candidate).to_contain_text("A right answer.")
    expect(candidate).to_contain_text("Judge Right.")


def test_a_tag_is_a_filter_whatever_its_name(tab: OpenTab, tmp_path: Path) -> None:
    for name in ("constructor", "__proto__", "length", "<b>"):
        page = opened(tab, with_tags(make_record(), name, ["x", "y", "z"]), tmp_path)
        page.locator(f"select[name='tag.{name}']").select_option("y")
        expect(page.locator("#count")).to_have_text("20 of 60 items")


def test_a_tag_of_many_values_is_none(tab: OpenTab, tmp_path: Path) -> None:
    record = with_tags(make_record(), "number", [str(n) for n in range(60)])
    page = opened(tab, record, tmp_path)
    expect(page.locator("#count")).to_have_text("60 items")
    assert page.locator("select[name='tag.number']").count() == 0


def test_answers_that_grew_come_first(tab: OpenTab, tmp_path: Path) -> None:
    record = make_record()
    page = opened(tab, record, tmp_path, "#sort=longer")
    expect(page.locator("#count")).to_have_text("60 items")
    page.locator("#list summary").first.click()
    shown = page.locator("#list .case[open] .link").inner_text()
    listed = listing(record)

    def growth(item: dict[str, Any]) -> int:
        baseline, candidate = (
            len(listed["texts"][side["samples"][0]["text"]]) for side in item["sides"][:2]
        )
        return candidate - baseline

    most = max(map(growth, listed["items"]))
    assert growth(next(each for each in listed["items"] if each["id"] == shown)) == most


def test_a_link_reaches_an_item_that_is_far_down(tab: OpenTab, tmp_path: Path) -> None:
    rows = [
        make_row(
            "a",
            f"Question {n}",
            "Yes.",
            {"candidate": "Yes.", "baseline": "No."},
            {"candidate": 5, "baseline": 5},
        )
        for n in range(300)
    ]
    record = make_record(rows)
    far = record.items[299].id
    page = opened(tab, record, tmp_path, f"#item={far}")
    case = page.locator("#list .case").first
    expect(case.locator("summary")).to_be_focused()
    expect(case).to_contain_text("Question 299")
    expect(case).to_be_in_viewport()
    page.locator("#more").click()
    expect(page.locator("#list > li")).to_have_count(50)
    assert page.locator("#list .peek").all_text_contents().count("Question 299") == 1
    page.evaluate("location.hash = '#item=nothing'")
    expect(page.locator("#count")).to_have_text("The link's item is not in this round.")


def test_the_page_has_the_data_for_other_readers(tab: OpenTab, tmp_path: Path) -> None:
    page = opened(tab, make_record(), tmp_path)
    text = page.locator("#data").text_content()
    assert text
    assert json.loads(text)["items"][0]["id"] == make_record().items[0].id
    assert re.fullmatch(r"[^<>&]*", text)
