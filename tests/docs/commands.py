"""Command lines read by the real command line, without running them."""

from __future__ import annotations

from typing import Any

import typer.main
from typer.exceptions import TyperException

from harness.cli.app import app

_ROOT: Any = typer.main.get_command(app)


def find(words: list[str]) -> tuple[Any, list[str]]:
    """The command that the words begin with, and the rest of them. Raises ValueError for none."""
    command, rest = _ROOT, words
    while hasattr(command, "commands"):
        names = command.commands
        if rest and rest[0] in names:
            command, rest = names[rest[0]], rest[1:]
        elif default := next((each for each in names.values() if each.hidden), None):
            command = default
        else:
            raise ValueError(f"{' '.join(words)!r}: no such command; accepted: {sorted(names)}")
    return command, rest


def parse(words: list[str]) -> None:
    """Reads a whole command line. Raises ValueError for what the tool would refuse as misused."""
    if words == ["--help"]:
        return
    command, rest = find(words)
    if "--help" in rest:
        return
    try:
        command.make_context(command.name, list(rest))
    except TyperException as error:
        raise ValueError(f"{' '.join(words)!r}: {error.format_message()}") from error


def options(words: list[str]) -> set[str]:
    """Those named in a piece of a command line that the command does not have."""
    command, rest = find(words)
    known = {option for param in command.params for option in (*param.opts, *param.secondary_opts)}
    named = {word.strip("[]").partition("=")[0] for word in rest if word.strip("[]")[:2] == "--"}
    return named - known - {"--help"}
