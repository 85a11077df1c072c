"""The pictures of the README: the pages of a finished store, as a browser shows them.

    .venv/bin/python docs/screenshots.py [--home STORE] [--out docs]

Without --home it first tells the demo's story into a store of its own, which takes two minutes.
Pages are rendered anew from the store's records, so that the pictures show what the present code
makes; the store is only read. Shown are the newest round that failed, its worst item with what
its answers have beside the reference, and all rounds. Needs chromium and the `dev` extra.
"""

from __future__ import annotations

import argparse
import io
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from harness.history.page import index_page
from harness.jsonio import read_json
from harness.report.html import render_html
from harness.report.index import render_index
from harness.report.record import RoundRecord
from harness.store import Store

WIDTH: Final = 1060
HEIGHT: Final = 1500
MARGIN: Final = 8
"""CSS pixels, of a picture at the most; there are two of the picture's to each."""
LIMIT: Final = 400_000
"""Bytes of a picture."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--home", type=Path)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = asked.home or told(Path(folder))
        store = Store(home)
        pages = Path(folder) / "pages"
        pages.mkdir()
        (pages / "report.html").write_text(render_html(newest_failure(store)))
        (pages / "index.html").write_text(render_index(index_page(store)))
        take(pages, asked.out)


def told(folder: Path) -> Path:
    """The demo's store, made now."""
    home = folder / "home"
    command = [sys.executable, "-m", "harness", "demo", str(folder / "demo"), "--home", str(home)]
    subprocess.run(command, check=True)
    return home


def newest_failure(store: Store) -> RoundRecord:
    """The record of the round whose regression is shown."""
    paths = sorted((store.home / "runs").glob("*/report.json"))
    found = [RoundRecord.model_validate(read_json(path)) for path in paths]
    failed = [each for each in found if each.decision.status == "fail"]
    if not failed:
        sys.exit(f"{store.home}: no failed round with a report.json")
    return max(failed, key=lambda each: each.finished_at)


def take(pages: Path, out: Path) -> None:
    with sync_playwright() as driver:
        path = shutil.which("chromium") or shutil.which("chromium-browser")
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        window = {"width": WIDTH, "height": HEIGHT}
        page = browser.new_page(viewport=window, device_scale_factor=2, color_scheme="light")
        page.goto((pages / "report.html").as_uri())
        shoot(page, out / "report.png", "main", "section[aria-labelledby=scores] figure")
        page.goto((pages / "report.html").as_uri() + "#flip=lost")
        page.locator("#list .case").first.wait_for()
        if not page.locator("#list .case[open]").count():
            page.locator("#list .case summary").first.click()
        page.evaluate("document.activeElement.blur()")
        shoot(page, out / "items.png", "#explorer", "#list > li:nth-child(4)")
        page.goto((pages / "index.html").as_uri())
        shoot(page, out / "index.png", "main", "section[aria-labelledby=scores]")
        browser.close()


def shoot(page: Page, path: Path, first: str, last: str) -> None:
    """From the top of `first` to the bottom of `last`, or as much of that as is allowed; in as many
    colours as a page has, which takes half the room."""
    top = page.locator(first).first.evaluate("each => each.getBoundingClientRect().top + scrollY")
    end = page.locator(last).first.evaluate("each => each.getBoundingClientRect().bottom + scrollY")
    clip = {"x": 0, "y": top, "width": WIDTH, "height": min(HEIGHT, end - top + MARGIN)}
    data = page.screenshot(clip=clip, full_page=True)
    with Image.open(io.BytesIO(data)) as picture:
        picture.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)
    if path.stat().st_size > LIMIT:
        sys.exit(f"{path}: {path.stat().st_size:,} bytes, more than {LIMIT:,}")


if __name__ == "__main__":
    main()
