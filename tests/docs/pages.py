"""The pages a user reads, taken apart: blocks of code, what stands before them, links, headings.

How a page says what its blocks are:

* an indented block, or a fence of `sh`, is commands; so are the lines of a `console` fence that
  begin with `$ `, and its other lines are what they print, `…` where something is left out;
* a fence of another language is what it says (`yaml`: a recipe or a part of one);
* `<!-- not run: REASON -->` before a block: it is not run (or, for yaml and json, not loaded);
* `<!-- not run, line 2, 3: REASON -->`: these of its command lines are not;
* `<!-- exit 1: REASON -->`: its last command ends with that code.

Everything else is run (`tests/docs/sandbox.py`).
"""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from markdown_it import MarkdownIt
from markdown_it.token import Token

from tests.workbench import ROOT

COMMANDS = ("", "sh", "console")
"""Info words of blocks of commands; indented blocks have none."""
_MARK = re.compile(
    r"<!--\s*(?:(?P<what>not run)(?:,\s*lines?\s*(?P<lines>\d+(?:,\s*\d+)*))?"
    r"|exit\s*(?P<code>\d+)):\s*(?P<reason>.+?)\s*-->",
    re.DOTALL,
)


class Mark(NamedTuple):
    """What a comment says of the block below it; `lines` from 1, empty for all."""

    reason: str
    lines: tuple[int, ...] = ()
    code: int | None = None


class Block(NamedTuple):
    """A block of a page; `line` is where it begins, from 1."""

    path: Path
    line: int
    language: str
    text: str
    mark: Mark | None

    @property
    def place(self) -> str:
        return f"{self.path.relative_to(ROOT)}:{self.line}"

    @property
    def is_commands(self) -> bool:
        return self.language in COMMANDS

    @property
    def output(self) -> list[str]:
        """What a console block shows as printed, up to lines of `…`, which leave out."""
        lines = self.text.replace("\\\n", " ").splitlines()
        return [line for line in lines if line.strip() not in ("", "…") and line[:2] != "$ "]

    @property
    def commands(self) -> list[str]:
        """Its command lines, continued ones joined; comments and output left out."""
        text = self.text.replace("\\\n", " ")
        lines = text.splitlines()
        if self.language == "console":
            lines = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
        return [line for line in lines if line.strip() and not line.startswith("#")]

    @property
    def runnable(self) -> list[str]:
        """Those that are run."""
        if self.mark is None or self.mark.code is not None:
            return self.commands
        skipped = self.mark.lines
        return [each for n, each in enumerate(self.commands, 1) if skipped and n not in skipped]


class Link(NamedTuple):
    line: int
    target: str


class Page(NamedTuple):
    path: Path
    blocks: tuple[Block, ...]
    inline: tuple[tuple[int, str], ...]
    """Line and text of code within sentences."""
    links: tuple[Link, ...]
    anchors: frozenset[str]

    @property
    def name(self) -> str:
        return str(self.path.relative_to(ROOT))


def pages() -> list[Page]:
    """Every page of the repository that is for its users."""
    paths = [
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        *sorted((ROOT / "docs").rglob("*.md")),
        *sorted((ROOT / "recipes").rglob("*.md")),
    ]
    return [read(path) for path in paths]


def read(path: Path) -> Page:
    tokens = MarkdownIt("commonmark").enable("table").parse(path.read_text())
    found = list(_leaves(tokens))
    inline = tuple((line, each.content) for line, each in found if each.type == "code_inline")
    links = tuple(
        Link(line, str(each.attrs["href" if each.type == "link_open" else "src"]))
        for line, each in found
        if each.type in ("link_open", "image")
    )
    return Page(path, tuple(_blocks(path, tokens)), inline, links, frozenset(_anchors(tokens)))


def _leaves(tokens: list[Token]) -> Iterator[tuple[int, Token]]:
    """What stands within sentences, with the line of its paragraph."""
    line = 0
    for token in tokens:
        if token.map:
            line = token.map[0] + 1
        for child in token.children or ():
            yield line, child


def _blocks(path: Path, tokens: list[Token]) -> Iterator[Block]:
    mark: Mark | None = None
    for token in tokens:
        if token.type == "html_block":
            mark = _mark(token.content)
        elif token.type in ("code_block", "fence"):
            language = (token.info.split() or ["text"])[0] if token.type == "fence" else ""
            yield Block(path, (token.map or [0])[0] + 1, language, token.content, mark)
            mark = None
        elif token.type in ("inline", "heading_open"):
            mark = None


def _mark(comment: str) -> Mark | None:
    match = _MARK.search(comment)
    if match is None:
        return None
    lines = tuple(int(each) for each in (match["lines"] or "").split(",") if each.strip())
    code = int(match["code"]) if match["code"] else None
    return Mark(" ".join(match["reason"].split()), lines, code)


def _anchors(tokens: list[Token]) -> Iterator[str]:
    """GitHub's: lower case, without punctuation, spaces as hyphens, repeats numbered."""
    seen: dict[str, int] = {}
    for token, following in itertools.pairwise(tokens):
        if token.type == "heading_open":
            words = "".join(each.content for each in following.children or ())
            anchor = re.sub(r"[^\w\- ]", "", words.lower()).replace(" ", "-")
            seen[anchor] = seen.get(anchor, 0) + 1
            yield anchor if seen[anchor] == 1 else f"{anchor}-{seen[anchor] - 1}"


def harness_words(line: str) -> list[str] | None:
    """The words after `harness` of a command line, up to where the shell takes over; None for
    another program."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=";&|<>")
    lexer.whitespace_split, lexer.commenters = True, "#"
    words = list(lexer)
    end = next((n for n, word in enumerate(words) if set(word) <= set(";&|<>")), len(words))
    words = words[:end]
    return words[1:] if words and words[0].rpartition("/")[2] == "harness" else None
