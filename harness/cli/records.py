"""Commands on what the store holds: decisions, pages, versions and aliases. No model runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.app import Home, Json, alias_app, app, echo, now, open_store


@app.command()
def gate(run: Annotated[Path, typer.Argument(help="Run directory.")], json_: Json = False) -> None:
    """Make a run's decision again from its records."""
    from harness.outcome import decide_again
    from harness.release.gate import exit_code

    decision = decide_again(run)
    echo(decision.dump(), json_, lines=[rule.sentence for rule in decision.rules])
    raise typer.Exit(exit_code(decision))


@app.command()
def report(
    run: Annotated[Path, typer.Argument(help="Run directory.")], json_: Json = False
) -> None:
    """Write a run's pages again from its records."""
    from harness.outcome import report_again

    path = report_again(run)
    echo({"report": str(path)}, json_, lines=[str(path)])


@app.command()
def promote(
    version: Annotated[str, typer.Argument(help="name@digest")],
    alias: Annotated[str, typer.Option(help="Alias to move.")],
    override: Annotated[
        str | None, typer.Option(help="Why to move it without a passing decision; is recorded.")
    ] = None,
    home: Home = None,
    json_: Json = False,
) -> None:
    """Point an alias at a version that has a passing decision."""
    from harness.outcome import latest_decision
    from harness.release.promote import promote as move

    store, at = open_store(home), now().isoformat(timespec="seconds")
    version = store.resolve(version)
    key, decision = latest_decision(store, version)
    moved = move(store, decision, key, alias=alias, at=at, run=None, override=override)
    echo(moved.dump(), json_)


@app.command()
def rollback(
    alias: Annotated[str, typer.Argument(help="Alias to move back.")],
    home: Home = None,
    json_: Json = False,
) -> None:
    """Point an alias back at what it served before."""
    from harness.release.promote import rollback as move_back

    moved = move_back(open_store(home), alias, at=now().isoformat(timespec="seconds"))
    echo(moved.dump(), json_)


@alias_app.command("list")
def alias_list(home: Home = None, json_: Json = False) -> None:
    """Every alias and the version it points at."""
    echo(dict(open_store(home).aliases()), json_)


@alias_app.command("history")
def alias_history(
    alias: Annotated[str, typer.Argument(help="Alias.")], home: Home = None, json_: Json = False
) -> None:
    """Every move of an alias, oldest first."""
    moves = open_store(home).history(alias)
    lines = [f"{each['at']}  {each['previous'] or '-'} → {each['version']}" for each in moves]
    echo({"alias": alias, "moves": moves}, json_, lines=lines)


@app.command()
def versions(home: Home = None, json_: Json = False) -> None:
    """Every adapter version in the store."""
    found = open_store(home).versions()
    echo({"versions": found}, json_, lines=found)
