"""Shared by all tests: a private home, no word from the network, and a browser on demand."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from tests.browser import OpenTab, Tab, chromium
from tests.workbench import free_port

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # As in a shell's background. The commands that tests start would inherit it, and some are
    # ended by Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _private_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


@pytest.fixture
def unused_port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One for a module: starting it takes longer than most of what is tested in it."""
    with chromium() as found:
        yield found


@pytest.fixture
def tab(browser: Browser) -> Iterator[OpenTab]:
    """Opens tabs, with Playwright's options of a context, that are closed with the test."""
    opened: list[Tab] = []

    def begin(**context: Any) -> Tab:
        opened.append(Tab(browser, **context))
        return opened[-1]

    yield begin
    for each in opened:
        each.close()
