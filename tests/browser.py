"""Pages in a real browser: Debian's Chromium, driven by Playwright."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from playwright.sync_api import Browser, Dialog, Frame, Page, Request, expect, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
PHONE: Final = {"width": 360, "height": 740}

# In CI a missing browser is a failure, not a skip.
needs_chromium = pytest.mark.skipif(
    CHROMIUM is None and not os.environ.get("CI"),
    reason="needs chromium: apt-get update && apt-get install -y chromium",
)

expect.set_options(timeout=30_000)  # a busy machine is no failure


@contextmanager
def chromium() -> Iterator[Browser]:
    """One browser, closed at the end."""
    with sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield browser
        browser.close()


def name_of(frame: Frame) -> str:
    """A frame's name, or that of the next frame around it that has one; "page" without any."""
    while not frame.name:
        if frame.parent_frame is None:
            return "page"
        frame = frame.parent_frame
    return frame.name


class Tab:
    """A page in a profile of its own, and all that it said, asked for or let run."""

    def __init__(self, browser: Browser, **context: Any) -> None:
        self._context = browser.new_context(**context)
        self.page: Page = self._context.new_page()
        self.said: list[str] = []
        """Console messages, errors that nobody caught, and dialogs."""
        self.requests: list[str] = []
        """Every URL that it tried to get, but its own and `data:`."""
        self.blocked: list[str] = []
        """Those that its policy stopped before anything was sent."""
        self.owned: list[str] = []
        """The name of the frame, for every call of `owned()`, as hostile text tries to."""
        self._own = ""
        self._context.expose_binding(
            "owned", lambda at, *_: self.owned.append(name_of(at["frame"]))
        )
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("dialog", self._answer)
        self.page.on("request", lambda request: self._note(request.url))
        self.page.on("requestfailed", self._failed)

    def _answer(self, dialog: Dialog) -> None:
        self.said.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _note(self, url: str) -> None:
        if url.partition("#")[0] != self._own and not url.startswith("data:"):
            self.requests.append(url)

    def _failed(self, request: Request) -> None:
        if request.failure == "csp":
            self.blocked.append(request.url)

    def open(self, at: Path | str, fragment: str = "") -> Page:
        """A file of this disk, as a person opens it, or an address."""
        self._own = at.absolute().as_uri() if isinstance(at, Path) else at
        self.page.goto(self._own + fragment)
        return self.page

    def is_quiet(self) -> bool:
        """Nothing was said, asked for or run; what is under way has a moment to show."""
        self.page.wait_for_timeout(50)
        assert (self.said, self.requests, self.owned) == ([], [], [])
        return True

    def close(self) -> None:
        self._context.close()


OpenTab = Callable[..., Tab]
