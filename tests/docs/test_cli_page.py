"""docs/cli.md is what the commands are."""

from __future__ import annotations

import inspect
import re
import runpy
import sys

import pytest

from harness import errors
from tests.workbench import ROOT

MAKER = runpy.run_path(str(ROOT / "docs" / "make_cli.py"))


@pytest.mark.parametrize("columns", ["40", "200"])
def test_the_page_is_what_the_commands_say_at_any_width(
    columns: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setenv("FORCE_COLOR", "1")
    page = (ROOT / "docs" / "cli.md").read_text()
    assert page == MAKER["render"](), "run .venv/bin/python docs/make_cli.py"


def test_every_command_that_chooses_its_exit_code_says_what_it_means() -> None:
    chosen = {
        name
        for name, command in MAKER["entries"]()
        if "typer.Exit(" in inspect.getsource(inspect.unwrap(command.callback))
    }
    assert chosen == set(MAKER["EXITS"])


def test_the_page_has_every_exit_code_of_the_tool() -> None:
    main = sys.modules["harness.cli.main"]
    kinds = [each for each in vars(errors).values() if isinstance(each, type)]
    codes = {kind.exit_code for kind in kinds if issubclass(kind, errors.HarnessError)}
    codes |= {main._CRASHED, main._CUT_OFF, main._INTERRUPTED}
    table = MAKER["HEAD"].partition("| exit code")[2]
    assert {code for code in codes if not re.search(rf"\b{code}\b", table)} == set()
