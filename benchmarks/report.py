"""How fluid a report of many items is in a browser, beside the plain page with the same texts.

    .venv/bin/python -m benchmarks.report [--items 5000] [--repeats 5]

A round of realistic texts is made with a fixed seed, rendered, and opened from disk in Chromium,
as it is and slowed to a quarter of its speed (Emulation.setCPUThrottlingRate), which is about a
phone. Each step is timed in the page, from the event to the end of the frame that shows what it
changed; the worst of the repetitions counts. Beside it the plain approach: the same items as
<details> written into the page by the same template engine, found by the script that everybody
writes first, which hides those that do not match. Needs chromium and the `dev` extra. Prints what
docs/benchmarks.md shows: a sentence and a table, times over 100 ms marked.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from jinja2 import Environment
from playwright.sync_api import Page

from harness.report.html import render_html
from harness.types import Role
from tests.browser import chromium
from tests.report.factory import make_record
from tests.report.rows import Row, make_row

LINE_MS: Final = 100
"""What an interaction may take at the most."""
SLOW: Final = 4
QUERY: Final = "warranty"
SLICES: Final = "billing delivery returns account product complaint smalltalk safety".split()
WORDS: Final = (
    "order parcel invoice refund account password delivery address customer receipt day "
    "week number please thank would could because after before return replace broken late wrong "
    "double charge voucher shop store email phone call agent team reply help need want send sent "
    "arrive arrived wait waiting check status track found missing damaged box label courier note "
    "price total amount card bank transfer euro cent discount code item product size colour blue "
    "green small large new old again today tomorrow yesterday morning noon evening and the a to of"
).split()

_PLAIN: Final = """<!doctype html><meta charset="utf-8"><title>plain</title>
<style>body { font: 15px/1.5 sans-serif } .text { white-space: pre-wrap }</style>
<input id="q"><select id="slice"><option value="">all</option>{% for each in slices %}
<option>{{ each }}</option>{% endfor %}</select><p id="count">{{ rows | length }} items</p>
{% for row in rows %}
<details class="case" data-slice="{{ row.item.tags.type }}" id="i{{ row.item.id }}">
<summary>{{ row.scores.baseline }} → {{ row.scores.candidate }} {{ row.item.tags.type }}
{{ row.item.messages[-1].content[:200] }}</summary>
{% for each in row.item.messages %}<h4>{{ each.role }}</h4>
<div class="text">{{ each.content }}</div>{% endfor %}
<h4>reference</h4><div class="text">{{ row.item.reference }}</div>
{% for role, text in row.texts.items() %}<h4>{{ role }}: {{ row.scores[role] }}</h4>
<div class="text">{{ text }}</div><p>{{ row.reasons[role] }}</p>{% endfor %}</details>
{% endfor %}
<script>
const q = document.getElementById("q"), slice = document.getElementById("slice");
const cases = [...document.querySelectorAll(".case")];
function filter() {
  let n = 0;
  for (const each of cases) {
    const fits = (!slice.value || each.dataset.slice === slice.value) &&
      each.textContent.toLowerCase().includes(q.value.toLowerCase());
    each.hidden = !fits;
    n += fits;
  }
  document.getElementById("count").textContent = `${n} items`;
}
q.addEventListener("input", filter);
slice.addEventListener("input", filter);
</script>"""

_TIMED: Final = """async (told) => {
  const frame = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  await frame();
  const start = performance.now();
  const said = told && new Promise((done) => new MutationObserver(done)
    .observe(document.getElementById("count"), { childList: true }));
  { STEP }
  await said;
  await frame();
  return performance.now() - start;
}"""
"""Milliseconds from a step to the frame that shows what it did; `told`: it ends by saying how many
items there are."""
_SHOWN: Final = """async (selector) => {
  const frame = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  while (!document.querySelector(selector)) await frame();
  await frame();
  return performance.now();
}"""
"""Milliseconds from the beginning of a load to the frame that shows something."""


class Step(NamedTuple):
    name: str
    script: str
    told: bool = True


class Way(NamedTuple):
    """One kind of page and how it is used."""

    name: str
    html: str
    first: str
    """What is there once the page has its items."""
    linked: str
    """What is there once an item's link has been followed."""
    fragment: str
    steps: Sequence[Step]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=5_000)
    parser.add_argument("--repeats", type=int, default=5)
    asked = parser.parse_args()
    ways, made = make_ways(make_rows(asked.items))
    print(made, flush=True)
    with chromium() as browser, tempfile.TemporaryDirectory() as folder:
        found: dict[tuple[str, int], dict[str, list[float]]] = {}
        for way in ways:
            path = Path(folder) / f"{way.name}.html"
            path.write_text(way.html)
            for rate in (1, SLOW):
                times = found.setdefault((way.name, rate), {})
                for number in range(asked.repeats):
                    page = browser.new_page()
                    measure(page, path.as_uri(), way, rate, number, times)
                    page.close()
    print_table(*told(found))


def make_rows(n: int) -> list[Row]:
    """Prompts of 60 to 120 words, answers of 30 to 120, reasons of 10 to 30."""
    chance = random.Random(7)

    def words(low: int, high: int) -> str:
        found = chance.choices(WORDS, k=chance.randint(low, high))
        if chance.random() < 0.02:
            found[chance.randrange(len(found))] = QUERY
        return " ".join(found)

    return [_row(chance, words, number) for number in range(n)]


def _row(chance: random.Random, words: Callable[[int, int], str], number: int) -> Row:
    reference = words(30, 120)
    texts: dict[Role, str] = {
        "baseline": _edited(chance, reference),
        "candidate": _edited(chance, reference),
        "base": words(30, 120),
    }
    scores: dict[Role, int | None] = {
        "baseline": chance.choice((3, 4, 5, 5)),
        "candidate": chance.choice((1, 3, 4, 5, 5, 5)),
        "base": chance.choice((1, 2, 3)),
    }
    reasons: dict[Role, str] = {role: words(10, 30) for role in texts}
    ask = f"{number} {words(60, 120)}"
    return make_row(chance.choice(SLICES), ask, reference, texts, scores, None, reasons)


def _edited(chance: random.Random, text: str) -> str:
    """The text with a word in twelve changed."""
    return " ".join(
        chance.choice(WORDS) if chance.random() < 1 / 12 else word for word in text.split()
    )


def make_ways(rows: list[Row]) -> tuple[list[Way], str]:
    """Both pages, and in a sentence what making them took."""
    record = make_record(rows)
    last = rows[-1].item.id
    ours, ours_s = timed(lambda: render_html(record))
    template = Environment(autoescape=True).from_string(_PLAIN)
    plain, plain_s = timed(lambda: template.render(rows=rows, slices=SLICES))
    ways = [
        Way("report", ours, "#list .case", ".case[open] .body", f"#item={last}", our_steps(last)),
        Way("plain", plain, ".case", f"#i{last}", f"#i{last}", plain_steps(last)),
    ]
    return ways, (
        f"Rendered in {ours_s:.1f} s into {megabytes(ours):.1f} MB "
        f"(plain: {plain_s:.1f} s, {megabytes(plain):.1f} MB).\n"
    )


def megabytes(html: str) -> float:
    return len(html.encode()) / 1e6


def timed(make: Callable[[], str]) -> tuple[str, float]:
    start = time.perf_counter()
    made = make()
    return made, time.perf_counter() - start


def our_steps(last: str) -> list[Step]:
    def choose(name: str, value: str) -> str:
        return f"const f = {_FIELD.format(name)}; f.value = '{value}'; {_EVENT.format('f')}"

    keys = [Step(f"search, key {n}", choose("q", QUERY[:n])) for n in range(1, len(QUERY) + 1)]
    return [
        Step(
            "open an item", "document.querySelectorAll('#list summary')[NUMBER + 1].click()", False
        ),
        Step("filter by slice", choose("slice", SLICES[0])),
        Step("filter by slice, off", choose("slice", "")),
        Step("filter by score", choose("candidate", "1")),
        Step("filter by score, off", choose("candidate", "")),
        Step("filter by flip", "document.querySelector('#flips button').click()"),
        Step("filter by flip, off", "document.querySelector('#flips button').click()"),
        Step("order", choose("sort", "longer")),
        Step("into the search field", f"{_FIELD.format('q')}.focus()", False),
        *keys,
        Step("search, cleared", choose("q", "")),
        Step("link to an item, in the page", f"location.hash = 'item={last}'"),
    ]


def plain_steps(last: str) -> list[Step]:
    def choose(name: str, value: str) -> str:
        return f"{name}.value = '{value}'; {_EVENT.format(name)}"

    keys = [Step(f"search, key {n}", choose("q", QUERY[:n])) for n in range(1, len(QUERY) + 1)]
    return [
        Step("open an item", "document.querySelectorAll('summary')[NUMBER + 1].click()", False),
        Step("filter by slice", choose("slice", SLICES[0])),
        Step("filter by slice, off", choose("slice", "")),
        Step("into the search field", "q.focus()", False),
        *keys,
        Step("search, cleared", choose("q", "")),
        Step("link to an item, in the page", f"location.hash = 'i{last}'", False),
    ]


_FIELD: Final = "document.getElementById('filters').elements.namedItem('{}')"
_EVENT: Final = "{}.dispatchEvent(new Event('input', {{ bubbles: true }}))"


def measure(
    page: Page, url: str, way: Way, rate: int, number: int, times: dict[str, list[float]]
) -> None:
    """One visit: milliseconds of every step are added to `times`."""
    session = page.context.new_cdp_session(page)
    session.send("Emulation.setCPUThrottlingRate", {"rate": rate})

    def note(name: str, value: float) -> None:
        times.setdefault(name, []).append(value)

    page.goto(url + way.fragment, wait_until="commit")
    note("load at an item", page.evaluate(_SHOWN, way.linked))
    page.goto("about:blank")
    page.goto(url, wait_until="commit")
    note("load, to the first items", page.evaluate(_SHOWN, way.first))
    page.wait_for_load_state()
    for step in way.steps:
        script = step.script.replace("NUMBER", str(number))
        note(step.name, page.evaluate(_TIMED.replace("STEP", script), step.told))


def told(
    found: dict[tuple[str, int], dict[str, list[float]]],
) -> tuple[list[str], list[list[str]]]:
    """Head and rows of the table: the worst of every step, and the plain page's as a multiple."""
    names = list(found["report", 1])
    head = ["step"]
    for speed in ("", f", {SLOW}× slower"):
        head += [f"report{speed}", f"plain{speed}", "plain / report"]
    rows = [[name, *_cells(found, name, 1), *_cells(found, name, SLOW)] for name in _merged(names)]
    return head, rows


def _merged(names: Sequence[str]) -> list[str]:
    """All keys of a search as one."""
    return list(dict.fromkeys("search, a key" if ", key " in each else each for each in names))


def _cells(found: dict[tuple[str, int], dict[str, list[float]]], name: str, rate: int) -> list[str]:
    ours, plain = (
        max(
            (
                value
                for step, values in found[way, rate].items()
                if step == name or (name == "search, a key" and ", key " in step)
                for value in values
            ),
            default=None,
        )
        for way in ("report", "plain")
    )
    assert ours is not None
    over = "" if ours <= LINE_MS or name.startswith("load") else f" (over {LINE_MS})"
    if plain is None:
        return [f"{ours:,.0f}{over}", "", ""]
    return [f"{ours:,.0f}{over}", f"{plain:,.0f}", f"{plain / ours:.1f}"]


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    rule = ["---", *["---:"] * (len(head) - 1)]
    for row in (head, rule, *rows):
        print("| " + " | ".join(row) + " |")
    print(flush=True)


if __name__ == "__main__":
    main()
