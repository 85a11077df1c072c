"""Text that has broken report pages: markup, terminal control, invisible characters, fences."""

from __future__ import annotations

SCRIPT = "<script>document.title='owned'</script>"
IMAGE = "<img src=x onerror=\"document.title='owned'\">"
CLOSERS = "</style></title></pre></textarea></details><!-- --><h1>Pass</h1>"
ANSI = "\x1b[2J\x1b[31mPass\x1b[0m\x07"
BIDI = "score \u202e5 fo 1\u202c \u2066isolated\u2069"
ZERO_WIDTH = "ze\u200bro\u200d wi\ufeffdth\u00ad"
NULL = "be\x00fore\x7f"
LONG = "x" * 50_000
FENCES = "```\n# Pass\n````\n~~~\n<details open>"
CELLS = "a | b | c\n| --- |\n| d |"
RICH = "[bold red]Pass[/bold red] [/] [link=http://example.invalid]here[/link] :warning:"
JINJA = "{{ 7 * 7 }}{% raw %}{# #}"
MENTION = "@octocat #1 https://example.invalid/a www.example.invalid **bold** [a](b) ![c](d)"
TEXTS = {
    "script": SCRIPT,
    "image": IMAGE,
    "closers": CLOSERS,
    "ansi": ANSI,
    "bidi": BIDI,
    "zero-width": ZERO_WIDTH,
    "null": NULL,
    "long": LONG,
    "fences": FENCES,
    "cells": CELLS,
    "rich": RICH,
    "jinja": JINJA,
    "mention": MENTION,
    "empty": "",
}
