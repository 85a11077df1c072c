"""The command on which training rows taught a candidate its regressions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.app import Home, Json, Quiet, app, echo, find_run, open_store

if TYPE_CHECKING:
    from rich.console import RenderableType

_Items = Annotated[
    list[str] | None,
    typer.Option("--item", metavar="ID", help="Ask about this regressed item; may be repeated."),
]
_Slice = Annotated[
    str | None, typer.Option("--slice", metavar="S", help="Ask about the regressions of a slice.")
]
_Top = Annotated[int, typer.Option(min=1, metavar="N", help="How many rows to show.")]


@app.command()
def blame(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run's directory or name.")],
    item: _Items = None,
    slice_: _Slice = None,
    top: _Top = 20,
    home: Home = None,
    json_: Json = False,
    quiet: Quiet = False,
) -> None:
    """Which training rows taught the candidate its regressions."""
    from harness.blame.asked import NothingRegressed, chosen
    from harness.blame.measure import measure
    from harness.blame.told import nothing, page, told
    from harness.outcome import command_line, read_record
    from harness.progress import Reporter

    store = open_store(home)
    run_dir = find_run(run, store)
    record = read_record(run_dir)
    try:
        asked = chosen(record, item or (), slice_)
    except NothingRegressed as none:
        echo(nothing(record).dump(), json_, lines=[str(none)])
        return
    with Reporter(quiet=quiet) as reporter:
        found = measure(run_dir, store, reporter)
    answer = told(record, found, asked, top)
    if json_:
        echo(answer.dump(), True)
        return
    _print(page(answer, found.why_there))
    if quiet:
        return
    step = command_line("failures", run, "--write", "next.jsonl", home=store.home)
    echo({}, False, lines=[f"next     {step}   # a worklist for the next round's data"])


def _print(page: RenderableType) -> None:
    from rich.console import Console

    Console(highlight=False).print(page)
