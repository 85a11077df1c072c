"""The command on what failed, and on the data that would mend it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli.app import Home, Json, Quiet, app, echo, find_run, open_store

if TYPE_CHECKING:
    from harness.failures.told import Failures
    from harness.store import Store

_Write = Annotated[
    Path | None,
    typer.Option("--write", metavar="FILE", help="Write a worklist for people: next.jsonl."),
]
_Slice = Annotated[
    str | None, typer.Option("--slice", metavar="S", help="Only the failures of a slice.")
]
_NoBlame = Annotated[
    bool, typer.Option("--no-blame", help="Without the most blamed rows, which take a model.")
]


@app.command()
def failures(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run's directory or name.")],
    slice_: _Slice = None,
    write: _Write = None,
    no_blame: _NoBlame = False,
    home: Home = None,
    json_: Json = False,
    quiet: Quiet = False,
) -> None:
    """What failed or regressed, in groups, with the training rows behind each."""
    from harness.failures.causes import find_causes
    from harness.failures.failed import clusters, failed_items
    from harness.failures.told import told
    from harness.failures.worklist import require_free, write_worklist
    from harness.outcome import read_record
    from harness.progress import Reporter

    store = open_store(home)
    run_dir = find_run(run, store)
    record = read_record(run_dir)
    if write:
        require_free(write)
    groups = clusters(record, failed_items(record, slice_))
    with Reporter(quiet=quiet) as reporter:
        causes = find_causes(run_dir, record, groups, store, reporter, with_blame=not no_blame)
    found = told(record, groups, causes, slice_)
    n_lines = write_worklist(write, found, record) if write and found.groups else 0
    if json_:
        written = {"worklist": str(write) if n_lines else None, "n_lines": n_lines}
        echo(found.dump() | written, True)
        return
    _print(found)
    if not quiet:
        echo({}, False, lines=_next(found, run, write, n_lines, store))


def _next(found: Failures, run: str, write: Path | None, n_lines: int, store: Store) -> list[str]:
    from harness.outcome import command_line

    if not found.groups:
        return ["nothing failed" + (", so no worklist is written" if write else "")]
    args: list[Any] = ["failures", run, *(["--slice", found.slice] if found.slice else [])]
    if not write:
        line = command_line(*args, "--write", "next.jsonl", home=store.home)
        return [f"next     {line}   # a worklist for people to fill in"]
    check = command_line("check", "RECIPE", home=store.home)
    return [
        f"next     fill in the {n_lines} lines of {write}, add it to data.sources, then",
        f"         {check}   # refuses what is not filled in, and held-out items",
    ]


def _print(found: Failures) -> None:
    from rich.console import Console

    from harness.failures.page import page

    Console(highlight=False).print(page(found))
