"""What a page says, without its markup."""

from __future__ import annotations

from html.parser import HTMLParser


class _Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_data(self, data: str) -> None:
        self.found.append(data)


def words(html: str) -> str:
    """All text of a page, with single spaces."""
    parser = _Text()
    parser.feed(html)
    return " ".join(" ".join(parser.found).split())
