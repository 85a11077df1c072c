"""The labelling page in a real browser, by real keys."""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from harness.report.wording import neutral
from tests.accessibility import overflow, paper, problems, tabbed
from tests.browser import PHONE, OpenTab, Tab, needs_chromium
from tests.evaluation.calibration.rounds import drawn, labels_of, write_run
from tests.report import payloads
from tests.workbench import command

pytestmark = needs_chromium
OWN = {"label.css", "label.js", "state"}
"""What the page is made of, below its address."""

SKIP_ALL = """async (n) => {
  let seen = "";
  for (let skipped = 1; skipped <= n; skipped++) {
    seen += document.getElementById("pair").innerText;
    document.body.dispatchEvent(new KeyboardEvent("keydown", { key: "s", bubbles: true }));
    const place = document.getElementById("place");
    while (skipped < n && !place.textContent.endsWith(`, ${skipped} skipped`)) {
      await new Promise((done) => setTimeout(done));
    }
  }
  return seen;
}"""
"""Goes through all pairs by the key; everything that was to be read."""


class Labelling:
    """`harness judge label --page` as a user starts it."""

    def __init__(self, *words: object) -> None:
        self.process = subprocess.Popen(
            command("judge", "label", *words, "--page"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stderr
        told = re.search(r"http://127\.0\.0\.1:\d+/[\w-]+/", self.process.stderr.readline())
        assert told
        self.url = told[0]

    def ends(self) -> tuple[int, str]:
        """Exit status and standard output."""
        out, _ = self.process.communicate(timeout=60)
        return self.process.returncode, out


Start = Callable[..., Labelling]


@pytest.fixture
def start() -> Iterator[Start]:
    started: list[Labelling] = []

    def begin(*words: object) -> Labelling:
        started.append(Labelling(*words))
        return started[-1]

    yield begin
    for each in started:
        with each.process:
            each.process.kill()


def asked(it: Tab, labelling: Labelling) -> set[str]:
    return {url.removeprefix(labelling.url) for url in it.requests}


def sees(page: Page, words: str) -> None:
    expect(page.locator("body")).to_contain_text(words, use_inner_text=True)


def press(page: Page, keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def test_three_pairs_by_keyboard(start: Start, tab: OpenTab, tmp_path: Path) -> None:
    run_dir = write_run(tmp_path / "run")
    labelling, it = start(run_dir, "--rater", "ann", "--n", 3), tab()
    page = it.open(labelling.url)
    sees(page, "1 of 3")
    press(page, "4u")  # the half of it
    for n, keys in enumerate(("52", "11", "34"), 1):
        sees(page, f"{n} of 3")
        press(page, keys)
    sees(page, "3 of 3 have a label")
    press(page, "u")
    sees(page, "Answer B")
    press(page, "35")
    sees(page, "3 of 3 have a label")
    page.keyboard.press("Enter")
    status, out = labelling.ends()
    assert status == 0
    assert "3 of 3 pairs labelled by ann, 3 now, 0 skipped" in out
    labels = labels_of(run_dir / "labels.jsonl")
    assert [each.item_id for each in labels[::2]] == [pair.item.id for pair in drawn().pairs[:3]]
    scores = [sorted(each.score or 0 for each in labels[n : n + 2]) for n in (0, 2, 4)]
    assert scores == [[2, 5], [1, 1], [3, 5]]
    assert it.said == []
    assert asked(it, labelling) == {*OWN, "act"}


def test_preferences_and_the_mouse(start: Start, tab: OpenTab, tmp_path: Path) -> None:
    run_dir = write_run(tmp_path / "run")
    labelling = start(run_dir, "--by", "preference", "--n", 2)
    page = tab().open(labelling.url)
    sees(page, "1 of 2")
    page.locator("[data-key=a]").click()
    sees(page, "2 of 2")
    assert page.evaluate("document.activeElement.tagName") == "BODY"  # no Enter presses it again
    press(page, "t")
    sees(page, "All labelled")
    labelling.process.send_signal(signal.SIGINT)
    status, out = labelling.ends()
    assert status == 130
    assert "2 of 2 pairs labelled" in out
    assert [each.preference for each in labels_of(run_dir / "labels.jsonl")][1] == "tie"
    press(page, "u")
    sees(page, "harness has ended or cannot be reached")


def test_everybody_can_label(start: Start, tab: OpenTab, tmp_path: Path) -> None:
    labelling = start(write_run(tmp_path / "run"))
    papers = set()
    for scheme in ("light", "dark"):
        page = tab(color_scheme=scheme).open(labelling.url)
        sees(page, "Answer B")
        assert problems(page) == []
        papers.add(paper(page))
    assert len(papers) == 2
    page = tab(viewport=PHONE).open(labelling.url)
    sees(page, "Answer B")
    assert overflow(page) <= 0
    assert problems(page) == []
    stops = tabbed(page)
    assert stops[:10] == [f"button {side}: {n}" for side in "AB" for n in range(1, 6)]
    assert [each.split()[-1] for each in stops[10:12]] == ["undo", "skip"]


def test_no_payload_runs_and_all_are_shown(start: Start, tab: OpenTab, tmp_path: Path) -> None:
    run_dir = write_run(tmp_path / "run", payloads.record())
    labelling, it = start(run_dir, "--n", 1000), tab()
    page = it.open(labelling.url)
    sees(page, "1 of ")
    seen = page.evaluate(SKIP_ALL, len(drawn(payloads.record()).pairs))
    sees(page, "Nothing left")
    for name, text in payloads.TEXTS.items():
        shown = " ".join(neutral(text).split())
        assert shown in " ".join(seen.split()), name
    assert page.title() == "Label answers"
    assert (it.said, it.owned, asked(it, labelling)) == ([], [], {*OWN, "act"})


def test_the_policy_holds_even_where_care_would_fail(
    start: Start, tab: OpenTab, tmp_path: Path
) -> None:
    labelling, it = start(write_run(tmp_path / "run")), tab()
    page = it.open(labelling.url)
    sees(page, "Answer B")
    page.evaluate(
        "document.getElementById('a').innerHTML = "
        '\'<img src=x onerror="owned()"><img src="http://127.0.0.1:9/x">\''
    )
    page.wait_for_timeout(200)
    assert it.owned == []
    assert "http://127.0.0.1:9/x" in it.blocked
    assert any("Content Security Policy" in line for line in it.said)
