"""What a page says, without its markup."""

from __future__ import annotations

from html.parser import HTMLParser


class _Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._tag = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._tag = tag

    def handle_endtag(self, tag: str) -> None:
        self._tag = ""

    def handle_data(self, data: str) -> None:
        if self._tag not in ("script", "style"):
            self.found.append(data)


def words(html: str) -> str:
    """All text that a page shows, with single spaces."""
    parser = _Text()
    parser.feed(html)
    return " ".join(" ".join(parser.found).split())
