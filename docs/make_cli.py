"""Writes docs/cli.md, the reference of all commands, from the commands themselves.

    .venv/bin/python docs/make_cli.py

Not `typer … utils docs`, which cuts what a command does at 45 characters in its table and knows no
exit codes. Names, arguments and defaults are the library's own help records, so the page says what
`--help` says, at any width of a terminal. `tests/docs/test_cli_page.py` fails when it is stale.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import typer.main

from harness.cli.app import app

PAGE = Path(__file__).with_name("cli.md")
HEAD = """\
# Commands

Made from the commands by `.venv/bin/python docs/make_cli.py`; `harness COMMAND --help` says the
same.

Data goes to standard output, progress and errors to standard error. A recipe is given by its path,
a run by its directory or its name in the store, a version as `name@digest12`. `--set
train.lr=1e-4` replaces one key of the recipe, any number of times. The store is `--home`, else
`$HARNESS_HOME`, else `.harness` in the current folder. `--json` prints one JSON object, also of an
error.

| exit code | means |
|---|---|
| 0 | done, or the gate passed |
| 1 | the gate failed: a regression or a missed threshold |
| 2 | usage, recipe or data |
| 3 | inconclusive: too few prompts to tell |
| 4 | environment, endpoint or evidence not trustworthy |
| 70 | a defect of harness, with its traceback |
| 75, 130 | stopped by SIGTERM, Ctrl-C; the same command resumes |
| 141 | what read its output went away, as `head` does |

Every command may end with 2, 4, 70, 75, 130 or 141. Where one has more to say, its section does.
"""
_VERDICT = "the verdict's: 0 pass, 1 fail, 3 inconclusive, 4 untrusted"
EXITS = {
    "gate": f"{_VERDICT}. With `--aa`: 0 the version passes against itself, 3 it would not, "
    "4 too many answers have no score",
    "round": _VERDICT,
    "eval": _VERDICT,
    "sweep": "0 every point was evaluated, 4 some could not be",
    "demo": "0 the story went as it should, 1 it did not",
    "evalset check": "0 no errors (warnings are none), 2 errors",
    "judge calibrate": "0 the judge agrees with people, or labels correct it; 3 unclear; 4 no",
    "judge probe": "0 fit by all measures, 4 not fit",
    "serve": "0 stopped by SIGTERM after the requests under way; else the server's own",
    "serve status": "0 all servers see the store's aliases, 4 one does not, or none is up",
}
"""What the codes of a command mean, where it chooses one."""


class Entry(NamedTuple):
    """One command: its words after `harness`, and the library's record of it."""

    name: str
    command: Any


def entries(group: Any | None = None, prefix: tuple[str, ...] = ()) -> Iterator[Entry]:
    """All commands, by name. The one that a group runs without a word has the group's name."""
    group = group or typer.main.get_command(app)
    for word, command in sorted(group.commands.items()):
        if hasattr(command, "commands"):
            yield from sorted(entries(command, (*prefix, word)))
        else:
            yield Entry(" ".join(prefix if command.hidden else (*prefix, word)), command)


def render() -> str:
    found = list(entries())
    table = [f"| [`{name}`](#{_anchor(name)}) | {_first(command)} |" for name, command in found]
    parts = [HEAD, "| command | does |\n|---|---|", *table, *map(_section, found)]
    return "\n".join(parts) + "\n"


def _anchor(name: str) -> str:
    return f"harness-{name.replace(' ', '-')}"


def _first(command: Any) -> str:
    return _cell(command.help.partition("\n\n")[0].rstrip("."))


def _cell(text: str) -> str:
    """One line, safe within a cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")


def _section(entry: Entry) -> str:
    name, command = entry
    context = command.context_class(command, info_name=f"harness {name}")
    usage = " ".join([f"harness {name}", *command.collect_usage_pieces(context)])
    lines = [f"\n## `harness {name}`", " ".join(command.help.split()), "", f"```text\n{usage}\n```"]
    rows = []
    for param in command.get_params(context):
        record = param.get_help_record(context)
        if record and "--help" not in param.opts:
            rows.append(f"| `{_cell(record[0])}` | {_cell(record[1])} |")
    if rows:
        lines += ["", "| | |\n|---|---|", *rows]
    if command.epilog:
        lines += ["", command.epilog]
    if name in EXITS:
        lines += ["", f"Exit code: {EXITS[name]}."]
    return "\n".join(lines)


if __name__ == "__main__":
    PAGE.write_text(render())
