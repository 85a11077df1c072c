"""Every payload in every page: nothing runs, nothing is fetched, all of it can be read."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from jinja2 import Environment
from markdown_it import MarkdownIt
from playwright.sync_api import Page, Request, expect

from harness.report.html import render_html
from harness.report.index import render_index
from harness.report.junit import render_junit
from harness.report.markdown import render_markdown
from harness.report.wording import neutral, one_line, visible
from tests.browser import OpenTab, name_of, needs_chromium
from tests.report import payloads
from tests.report.factory import make_hostile_record
from tests.report.past import make_page

pytestmark = needs_chromium

_SCRIPT = (Path(__file__).parent / "payloads.js").read_text()
N_PLACES = 20
"""Of an item that hold a text: prompt, thoughts, references, rubric, answers, reasons, opinions."""
MARKDOWN = set(
    "a blockquote br code del details em h2 h3 h4 hr li ol p pre strong summary table tbody td th "
    "thead tr ul".split()
)


def squeezed(text: str) -> str:
    """Without the white space that a browser would collapse too."""
    return " ".join(text.split())


def do(page: Page, name: str, argument: object = None) -> Any:
    """What a function of payloads.js makes of the page."""
    return page.evaluate(f"{_SCRIPT.strip()}.{name}", argument)


def changed(page: Page, render: Callable[[str], str]) -> list[str]:
    """Names of the payloads with which a page has other elements than with a plain word."""
    pages = [render(text) for text in ("plain", *payloads.TEXTS.values())]
    for own in re.findall(
        r"<style>.*?</style>|<script type=.module.>.*?</script>", pages[0], re.DOTALL
    ):
        pages = [each.replace(own, "") for each in pages]
    places = do(page, "changed", pages)
    return [list(payloads.TEXTS)[place - 1] for place in places]


def unread(words: str, limit: int) -> list[str]:
    """Names of the payloads that do not stand in the words, in at most `limit` characters."""
    held = squeezed(words)
    return [
        name
        for name, text in payloads.TEXTS.items()
        if one_line(text, limit).removesuffix("…") not in held
    ]


def careless_markdown(text: str) -> str:
    """HTML of Markdown by a renderer that lets HTML and every link through."""
    renderer = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    renderer.validateLink = lambda url: True  # type: ignore[method-assign]
    return str(renderer.render(text))


def test_there_are_enough() -> None:
    assert len(payloads.TEXTS) >= 60
    assert len(set(payloads.TEXTS.values())) == len(payloads.TEXTS)


def test_each_does_harm_where_nobody_cares(tab: OpenTab, tmp_path: Path) -> None:
    """So the tests below can fail."""
    it = tab()
    harmed: set[str] = set()

    def note(request: Request) -> None:
        if "owned.invalid" in request.url:
            harmed.add(name_of(request.frame).removeprefix("of "))

    it.page.on("request", note)
    it.page.route("https://owned.invalid/**", lambda route: route.abort())
    (tmp_path / "control.html").write_text("<!doctype html><body>")
    page = it.open(tmp_path / "control.html")
    careless = payloads.careless()
    documents = {}
    for name, (place, text) in careless.items():
        if place != "jinja":
            documents[name] = careless_markdown(text) if place in payloads.IN_MARKDOWN else text
        elif Environment().from_string(text).render() != text:
            harmed.add(name)
    do(page, "frames", documents)
    cut = do(page, "use")
    page.wait_for_timeout(500)
    harmed |= {name.removeprefix("of ") for name in (*it.owned, *cut)}
    assert sorted(careless.keys() - harmed) == []


def test_a_careless_page_changes_its_shape(tab: OpenTab) -> None:
    found = changed(tab().page, lambda text: f'<p title="{text}">{text}</p>')
    assert {"script", "attribute", "end of an attribute", "image"} <= set(found)


def test_the_report_runs_none_and_shows_all(tab: OpenTab, tmp_path: Path) -> None:
    """Every item opened, every filter used."""
    it = tab()
    (tmp_path / "report.html").write_text(render_html(payloads.record()))
    page = it.open(tmp_path / "report.html")
    expect(page.locator("#count")).to_have_text(f"{len(payloads.TEXTS)} items")
    opened = do(page, "openAll", len(payloads.TEXTS))
    assert sorted(opened) == sorted(neutral(each.id) for each in payloads.record().items)
    missing = [
        name
        for name, text in payloads.TEXTS.items()
        if opened[neutral(text[:200] + name)].count(visible(text)) < N_PLACES
    ]
    assert missing == []
    assert do(page, "odd") == []
    assert do(page, "filterAll") == {}
    assert (page.locator("h1").count(), page.locator("script").count()) == (1, 2)
    assert page.title().startswith("Fail: ")
    do(page, "use")
    assert it.is_quiet()


def test_no_payload_changes_the_shape_of_the_report(tab: OpenTab) -> None:
    def render(text: str) -> str:
        return render_html(make_hostile_record(text))

    assert changed(tab().page, render) == []


def test_the_index_runs_none_and_shows_all(tab: OpenTab, tmp_path: Path) -> None:
    it = tab()
    (tmp_path / "index.html").write_text(render_index(payloads.index()))
    page = it.open(tmp_path / "index.html")
    assert do(page, "odd") == []
    assert unread(page.locator("main").inner_text(), 300) == []
    assert (page.title(), page.locator("script").count()) == ("All rounds", 0)
    do(page, "use")
    assert it.is_quiet()


def test_no_payload_changes_the_shape_of_the_index(tab: OpenTab) -> None:
    assert changed(tab().page, lambda text: render_index(make_page(text=text))) == []


def test_no_payload_is_markup_in_markdown(tab: OpenTab, tmp_path: Path) -> None:
    """As the most generous renderer has it, which leaves HTML in Markdown as it is."""
    records = [make_hostile_record(text) for text in payloads.TEXTS.values()]
    html = [careless_markdown(render_markdown(each)) for each in records]
    it = tab()
    (tmp_path / "report.html").write_text(f"<!doctype html><title>x</title>{'<hr>'.join(html)}")
    page = it.open(tmp_path / "report.html")
    within = "[...document.body.querySelectorAll('*')].map(each => each.localName)"
    assert set(page.evaluate(within)) <= MARKDOWN
    assert page.locator("body :is([href], [src], [id], [name])").count() == 0
    assert page.locator("h2").count() == len(records)
    assert unread(page.locator("body").text_content() or "", 300) == []
    do(page, "use")
    assert it.is_quiet()


def test_no_payload_breaks_junit() -> None:
    for name, text in payloads.TEXTS.items():
        root = ElementTree.fromstring(render_junit(make_hostile_record(text)))
        properties = {each.get("name"): each.get("value") for each in root.iter("property")}
        assert properties["run"] == one_line(text, 200), name
        places = {each.get("classname") for each in root.iter("testcase")}
        assert places == {one_line(f"gate.{each}", 200) for each in ("overall", text)}, name
