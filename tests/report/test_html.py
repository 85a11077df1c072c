from __future__ import annotations

import base64
import hashlib
import itertools
import json
import re
from html.parser import HTMLParser

import pytest

from harness.report.html import render_html
from harness.report.items import listing
from harness.types import Status
from tests.report import hostile
from tests.report.factory import (
    make_hostile_record,
    make_record,
    make_uncompared_record,
    with_others,
)
from tests.report.rows import make_rows
from tests.report.words import words

VOID = {"meta", "link", "br", "img", "input"}


class Page(HTMLParser):
    """Tags, attributes and scripts of a page; fails on a closing tag that closes nothing."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] == ["script"]:
            self.scripts.append((self.tags[-1][1], data))


def test_the_verdict_comes_first_and_names_the_slice() -> None:
    html = render_html(make_record())
    assert "Fail Fails overall and in slice generate" in words(
        html.partition("<section")[0] + "</main></body></html>"
    )
    parts = re.findall(r'<h2 id="([\w-]+)"', html)
    order = ["rules", "scores", "items", "lineage"]
    assert [each for each in parts if each in order] == order


def test_targets_beside_the_sides_have_a_row() -> None:
    page = words(render_html(with_others(make_record(), "few-shot")))
    assert "overall few-shot 4.40" in page
    assert "few-shot" not in words(render_html(make_record()))


@pytest.mark.parametrize(
    ("status", "word"),
    [
        ("pass", "Pass"),
        ("fail", "Fail"),
        ("inconclusive", "Inconclusive"),
        ("untrusted", "Untrusted"),
    ],
)
def test_the_verdict_is_a_word_and_a_shape(status: Status, word: str) -> None:
    html = render_html(make_record(status=status))
    heading = re.search(r"<h1>(.*?)</h1>", html, re.DOTALL)
    assert heading
    assert heading[1].endswith(word)
    assert f'href="#{status}"' in heading[1]


def test_counts_stand_beside_the_estimates() -> None:
    page = words(render_html(make_record()))
    # slice generate, candidate: mean, interval, min, five counts, pass share, four states
    assert "candidate 1.22 1.03 to 1.41 1 14 4 0 0 0 0.0% 18 2 2 1" in page
    assert "baseline 4.60 4.39 to 4.81 4 0 0 0 8 12 100.0% 20 0 0 0" in page


def test_rules_show_number_bound_and_threshold() -> None:
    page = words(render_html(make_record()))
    assert "overall −1.000 −1.417 −0.200" in page
    assert "classify 0.900 0.810 0.500" in page


def test_every_way_an_item_went_is_counted() -> None:
    page = words(render_html(make_record()))
    assert "Lost 21 No score 2 Tied 1 Same text 32 Rose 4 Gained 2" in page


def test_lineage_is_complete() -> None:
    record = make_record()
    page = words(render_html(record))
    manifest, contract = record.manifest, record.manifest.contract
    for value in (
        manifest.version,
        manifest.recipe,
        manifest.data,
        manifest.train_key,
        manifest.base.config,
        contract.template,
        contract.tokenizer,
        contract.special,
        contract.probes,
        "torch 2.13.0",
        "train 0",
        "from cache 47",
        "slices.by type",
        record.run_id,
        record.finished_at,
        record.decision.judge,
        record.decision.evalset,
    ):
        assert value in page


def test_headings_step_down_and_tables_have_headers() -> None:
    page = Page(render_html(make_record()))
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    scopes = [attrs.get("scope") for tag, attrs in page.tags if tag == "th"]
    assert len(scopes) > 40
    assert None not in scopes


def test_every_plot_has_a_title() -> None:
    html = render_html(make_record())
    plots = re.findall(r'<svg role="img"[^>]*>(.{7})', html, re.DOTALL)
    assert len(plots) > 4 + 4
    assert set(plots) == {"<title>"}


def assert_self_contained(html: str) -> Page:
    page = Page(html)
    assert page.open == []
    for tag, attrs in page.tags:
        assert tag not in {"img", "iframe", "object", "embed", "base"}
        assert not any(
            name.startswith("on") or name in {"src", "style", "action", "formaction"}
            for name in attrs
        )
        for name in ("href", "xlink:href"):
            assert (attrs.get(name) or "#").startswith(("#", "data:,"))
    policy = [attrs["content"] or "" for _, attrs in page.tags if "http-equiv" in attrs]
    assert "default-src 'none'" in policy[0]
    scripts = [hashed(each) for each in run_scripts(page)]
    assert re.findall(r"script-src ([^;]*)", policy[0]) == [f"'sha256-{each}'" for each in scripts]
    return page


def run_scripts(page: Page) -> list[str]:
    """Sources of the scripts that a browser would run."""
    return [text for attrs, text in page.scripts if attrs.get("type") != "application/json"]


def hashed(source: str) -> str:
    return base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()


def test_the_page_needs_nothing_else() -> None:
    html = render_html(make_record())
    assert_self_contained(html)
    style = re.search(r"<style>(.*?)</style>", html, re.DOTALL)
    assert style
    assert not re.search(r"url\(|@import", style[1])


@pytest.mark.parametrize("name", hostile.TEXTS)
def test_hostile_text_stays_text(name: str) -> None:
    html = render_html(make_hostile_record(hostile.TEXTS[name]))
    page = assert_self_contained(html)
    assert [tag for tag, _ in page.tags].count("h1") == 1
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u200b-\u200f\u202a-\u202e\u2066-\u2069]", html)


def test_hostile_text_is_shown_as_it_is() -> None:
    page = words(render_html(make_hostile_record(hostile.SCRIPT + hostile.BIDI + hostile.JINJA)))
    assert "<script>document.title='owned'</script>score ⟨U+202E⟩5 fo 1⟨U+202C⟩" in page
    assert "{{ 7 * 7 }}" in page


def data(html: str) -> str:
    [text] = [text for attrs, text in Page(html).scripts if attrs.get("id") == "data"]
    return text


@pytest.mark.parametrize("name", hostile.TEXTS)
def test_the_data_can_end_no_element(name: str) -> None:
    text = data(render_html(make_hostile_record(hostile.TEXTS[name] + "\u2028\u2029")))
    assert not re.search("[<>&\u2028\u2029]", text)
    assert len(json.loads(text)["items"]) == 3


def test_the_data_is_the_listing() -> None:
    record = make_hostile_record(hostile.SCRIPT + hostile.CELLS)
    assert json.loads(data(render_html(record))) == json.loads(json.dumps(listing(record)))


def test_long_text_is_cut_once() -> None:
    html = render_html(make_hostile_record(hostile.LONG))
    assert "Texts are cut at 20,000 characters." in words(html)
    assert len(html) < 40 * len(hostile.LONG)


def test_an_absent_side_is_nowhere() -> None:
    rows = make_rows()[20:24]
    for row in rows:
        del row.scores["base"]
    assert " base " not in words(render_html(make_record(rows))).partition("Lineage")[0]


def test_a_slice_without_any_score_shows_dashes() -> None:
    rows = make_rows()[:4]
    for row in rows:
        row.scores["candidate"] = row.scores["baseline"] = row.scores["base"] = None
        row.reasons.update(dict.fromkeys(row.scores, "the judge was away"))
    page = words(render_html(make_record(rows, status="untrusted")))
    assert "candidate — — — 0 0 0 0 0 0.0% 0 4 0 0" in page
    assert "no score on any side" in page


def test_a_round_without_comparison_has_verdict_rules_and_lineage() -> None:
    html = render_html(make_uncompared_record())
    assert_self_contained(html)
    page = words(html)
    assert "Untrusted The evidence cannot be trusted" in page
    assert "Nothing was compared" in page
    assert "report.md beside this file" not in page
    assert "Lineage" in page


def test_the_page_is_a_pure_function_of_the_record() -> None:
    assert render_html(make_record()) == render_html(make_record())


def _luminance(colour: str) -> float:
    """Relative luminance of #rrggbb, WCAG 2."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_text_contrasts_with_the_paper_in_light_and_dark() -> None:
    html = render_html(make_record())
    themes = [dict(re.findall(r"--(\w+): (#\w{6})", block)) for block in html.split(":root")[1:3]]
    assert len(themes[0]) == len(themes[1]) > 10
    for theme in themes:
        for name in ("ink", "muted", "pass", "fail", "inconclusive", "untrusted", "left"):
            for ground in ("paper", "panel"):
                dim, bright = sorted((_luminance(theme[name]), _luminance(theme[ground])))
                assert (bright + 0.05) / (dim + 0.05) >= 4.5, (name, ground, theme)


def test_the_items_name_the_commands_that_find_their_cause() -> None:
    record = make_record()
    page = words(render_html(record))
    assert f"harness failures {record.run_id}" in page
    assert f"harness blame {record.run_id}" in page
