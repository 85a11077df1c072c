"""Commands that train and evaluate: a whole round, its parts, and many at once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.app import (
    Alias,
    Endpoint,
    Home,
    Json,
    Overrides,
    Quiet,
    RecipePath,
    Restart,
    app,
    echo,
    load_recipe,
    now,
    open_store,
    overrides,
)
from harness.errors import EnvironmentFault, HarnessError

if TYPE_CHECKING:
    from rich.console import Console

    from harness.outcome import Outcome
    from harness.recipe import LoadedRecipe
    from harness.sweep.session import Swept


@app.command()
def check(
    recipe: RecipePath,
    set_: Overrides = None,
    row: Annotated[
        list[int] | None, typer.Option(min=1, help="Show this row, token by token.")
    ] = None,
    write_clean: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the rows without defects, as JSONL.")
    ] = None,
    write_heldout: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write the held-out examples, as an evalset.")
    ] = None,
    home: Home = None,
    json_: Json = False,
    quiet: Quiet = False,
) -> None:
    """Find everything wrong that can be found before any model runs."""
    from rich.console import Console
    from rich.text import Text

    from harness.checkup.files import judge_prompt, require_free, write_evalset, write_rows
    from harness.checkup.inspect import inspect
    from harness.checkup.text import brief, render
    from harness.progress import Reporter

    loaded = load_recipe(recipe, set_)
    require_free(loaded, write_clean, write_heldout)
    with Reporter(quiet=quiet) as reporter:
        found = inspect(loaded, open_store(home), reporter, rows=row or ())
    written = []
    if write_clean:
        written.append(write_rows(write_clean, found.clean()))
    if write_heldout:
        name = f"{found.plan.recipe.name}-heldout"
        prompt = judge_prompt(found.plan.recipe.judge.model)
        written.append(write_evalset(write_heldout, name, found.held_out(), found.kept(), prompt))
    if json_:
        echo(found.dump() | {"written": written}, json_)
        return
    console = Console(highlight=False)
    for part in [brief(found)] if quiet else render(found, whole=bool(row)):
        console.print(part, soft_wrap=quiet)
    for line in written:
        console.print(Text(line), soft_wrap=True)
    if not quiet:
        _next_is_round(console, recipe, set_, home)


def _next_is_round(
    console: Console, recipe: Path, set_: list[str] | None, home: Path | None
) -> None:
    from harness.outcome import command_line

    words = [word for each in set_ or () for word in ("--set", each)]
    line = command_line("round", recipe, *words, home=open_store(home).home)
    console.print(f"next     {line}", soft_wrap=True, markup=False)


@app.command()
def train(
    recipe: RecipePath,
    set_: Overrides = None,
    restart: Restart = False,
    home: Home = None,
    json_: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train the recipe's adapter and publish it into the store."""
    from harness.pipeline import obtain_adapter
    from harness.plan import make_plan, plan_line
    from harness.progress import Reporter
    from harness.training.reading.ahead import count_rows

    loaded, store = load_recipe(recipe, set_), open_store(home)
    with Reporter(quiet=quiet) as reporter:
        reporter.stage("check", count_rows(loaded), "rows")
        plan = make_plan(loaded, store, advance=reporter.advance)
        reporter.done(plan_line(plan))
        version, n_steps = obtain_adapter(plan, store, reporter, restart=restart)
    value = {"version": version, "trained_steps": n_steps}
    echo(value, json_, lines=[version] if quiet else None)


@app.command("round")
def round_(
    recipe: RecipePath,
    set_: Overrides = None,
    promote: Annotated[bool, typer.Option("--promote", help="On a pass, move the alias.")] = False,
    alias: Alias = None,
    endpoint: Endpoint = None,
    restart: Restart = False,
    home: Home = None,
    json_: Json = False,
    quiet: Quiet = False,
) -> None:
    """One turn of the loop: check, train, publish, serve, probe, generate, judge, gate, report."""
    from harness.pipeline import run_round
    from harness.progress import Reporter
    from harness.release.gate import exit_code

    loaded = load_recipe(recipe, overrides(set_, endpoint))
    if alias and not promote:
        raise HarnessError("--alias names what --promote moves", hint="add --promote")
    target = _alias_to_move(loaded, alias) if promote else None
    with Reporter(quiet=quiet) as reporter:
        outcome = run_round(
            loaded, open_store(home), reporter, alias=target, clock=now, restart=restart
        )
    show_outcome(outcome, json_, quiet)
    raise typer.Exit(exit_code(outcome.record.decision))


@app.command("eval")
def eval_(
    recipe: RecipePath,
    candidate: Annotated[
        str | None,
        typer.Option(
            metavar="VERSION|ALIAS", help="What to evaluate [default: the recipe's latest version]."
        ),
    ] = None,
    set_: Overrides = None,
    endpoint: Endpoint = None,
    home: Home = None,
    json_: Json = False,
    quiet: Quiet = False,
) -> None:
    """Evaluate a version against the gate, without a training; moves no alias."""
    from harness.evaluate import evaluate
    from harness.progress import Reporter
    from harness.release.gate import exit_code

    loaded = load_recipe(recipe, overrides(set_, endpoint))
    with Reporter(quiet=quiet) as reporter:
        outcome = evaluate(loaded, open_store(home), reporter, candidate=candidate, clock=now)
    show_outcome(outcome, json_, quiet)
    raise typer.Exit(exit_code(outcome.record.decision))


@app.command()
def sweep(
    recipe: RecipePath,
    grid: Annotated[
        list[str], typer.Option("--grid", metavar="KEY=V1,V2 ...", help="Values to combine.")
    ],
    more: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=V1,V2 ...]", hidden=True)
    ] = None,
    set_: Overrides = None,
    endpoint: Endpoint = None,
    restart: Restart = False,
    home: Home = None,
    json_: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train every combination of values, evaluate all in one server session, and rank them."""
    from harness.progress import Reporter
    from harness.sweep.session import sweep as run_sweep

    with Reporter(quiet=quiet) as reporter:
        swept = run_sweep(
            recipe,
            overrides(set_, endpoint),
            [*grid, *(more or ())],
            open_store(home),
            reporter,
            clock=now,
            restart=restart,
        )
    _show_sweep(swept, json_, quiet)
    raise typer.Exit(EnvironmentFault.exit_code if swept.record.problems else 0)


@app.command()
def demo(
    directory: Annotated[
        Path, typer.Argument(help="Folder for the demo's recipes, data and evalset.")
    ] = Path("demo"),
    home: Home = None,
    json_: Json = False,
    quiet: Quiet = False,
) -> None:
    """The whole loop on the pocket model, offline: one round that passes, one that is blocked."""
    from rich.console import Console

    from harness.demo import tell

    console = Console(stderr=json_, highlight=False)
    story = tell(directory, open_store(home), console, clock=now, quiet=quiet)
    if json_:
        echo(story.summary(), json_)
    raise typer.Exit(1 if story.problems else 0)


def _alias_to_move(loaded: LoadedRecipe, alias: str | None) -> str:
    from harness.store import require_alias

    recipe = loaded.recipe
    name = alias or recipe.gate.baseline
    is_target = alias is None and name in recipe.eval.targets
    if name is None or name == "base" or "@" in name or is_target:
        raise HarnessError(
            f"--promote: gate.baseline = {name!r} is not an alias, so there is nothing to move",
            hint="name the alias: --promote --alias prod",
        )
    require_alias(name, recipe.base.model)
    return name


def show_outcome(outcome: Outcome, as_json: bool, quiet: bool) -> None:
    """Print a finished round."""
    if as_json:
        echo(outcome.summary(), as_json)
        return
    from rich.console import Console
    from rich.text import Text

    from harness.report.terminal import brief, place, summary

    console, path = Console(highlight=False), outcome.run.report_path("html")
    console.print(brief(outcome.record) if quiet else summary(outcome.record), soft_wrap=quiet)
    console.print(Text("report   ") + place(path), soft_wrap=True)
    for line in [] if quiet else outcome.next_steps():
        console.print(line, soft_wrap=True, markup=False)


def _show_sweep(swept: Swept, as_json: bool, quiet: bool) -> None:
    if as_json:
        echo(swept.summary(), as_json)
        return
    from rich.console import Console

    from harness.sweep.table import brief, summary

    console = Console(highlight=False)
    console.print(brief(swept.record) if quiet else summary(swept.record), soft_wrap=quiet)
    console.print(f"record   {swept.run.run_dir}", soft_wrap=True, markup=False)
    if swept.next_command and not quiet:
        console.print(f"next     {swept.next_command}", soft_wrap=True, markup=False)
