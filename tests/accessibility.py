"""What a page must have to be read, heard and used by everybody, checked in the browser itself."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Page

_RULES = Path(__file__).with_suffix(".js").read_text()
_FOCUS = """() => {
  const at = document.activeElement;
  if (!at || at === document.body) return null;
  const style = getComputedStyle(at);
  const seen = [style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0,
    style.boxShadow !== "none", at.localName === "a" && at.closest("svg")];
  const name = at.getAttribute("aria-label") || at.textContent || at.name || at.id;
  return {name: `${at.localName} ${name.trim().slice(0, 60)}`, visible: seen.some(Boolean)};
}"""


def problems(page: Page) -> list[str]:
    """Landmarks, headings in order, names of all controls and pictures, contrast of all text."""
    found: list[str] = page.evaluate(_RULES)
    return found


def tabbed(page: Page, limit: int = 300) -> list[str]:
    """What the tab key comes to, in order; every stop shows that it has the focus."""
    page.evaluate("() => { document.activeElement.blur(); scrollTo(0, 0); }")
    stops: list[str] = []
    for _ in range(limit):
        page.keyboard.press("Tab")
        stop = page.evaluate(_FOCUS)
        if stop is None:
            break
        assert stop["visible"], f"no sign of the focus on {stop['name']}"
        stops.append(stop["name"])
    return stops


def overflow(page: Page) -> int:
    """Pixels that the page is wider than its window."""
    found: int = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    return found


def paper(page: Page) -> str:
    """The colour behind the text."""
    found: str = page.evaluate("getComputedStyle(document.body).backgroundColor")
    return found
