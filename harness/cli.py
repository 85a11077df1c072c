"""The command line: parse, call, print.

Results go to standard output, progress and errors to standard error. The only place that exits;
the codes are those of harness.errors and of the gate's decision. Every heavy import is inside a
command, so that `harness --help` is instant.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import sys
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.exceptions import TyperException

from harness.errors import EnvironmentFault, HarnessError, Interrupted

if TYPE_CHECKING:
    from harness.outcome import Outcome
    from harness.recipe import LoadedRecipe
    from harness.store import Store

app = typer.Typer(
    help="Train LoRA adapters, serve them hot, judge them, and release only what passed.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
alias_app = typer.Typer(help="Stable served names.", no_args_is_help=True)
app.add_typer(alias_app, name="alias")

DEFAULT_PORT = 8000
_CRASHED = 70
"""EX_SOFTWARE: a defect of ours, told apart from a failed gate."""
_INTERRUPTED = 130
"""What typer returns for Ctrl-C."""

RecipePath = Annotated[Path, typer.Argument(metavar="RECIPE", help="Recipe file (YAML).")]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY.PATH=VALUE", help="Override one key.")
]
Home = Annotated[
    Path | None, typer.Option(help="Store directory [default: $HARNESS_HOME or .harness].")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Alias = Annotated[str | None, typer.Option(help="Alias to move [default: gate.baseline].")]
Endpoint = Annotated[
    str | None, typer.Option(help="Base URL of a running `harness serve`, instead of starting one.")
]


@app.command()
def check(
    recipe: RecipePath, set_: Overrides = None, home: Home = None, json_: Json = False
) -> None:
    """Find everything wrong that can be found before any model runs."""
    from harness import pipeline

    _print(pipeline.check(_load(recipe, set_), _store(home)), json_)


@app.command()
def train(
    recipe: RecipePath, set_: Overrides = None, home: Home = None, json_: Json = False
) -> None:
    """Train the recipe's adapter and publish it into the store."""
    from harness.pipeline import obtain_adapter
    from harness.plan import make_plan
    from harness.progress import Reporter

    plan = make_plan(_load(recipe, set_))
    with Reporter() as reporter:
        version, n_steps = obtain_adapter(plan, _store(home), reporter)
    _print({"version": version, "trained_steps": n_steps}, json_)


@app.command("round")
def round_(
    recipe: RecipePath,
    set_: Overrides = None,
    promote: Annotated[bool, typer.Option("--promote", help="On a pass, move the alias.")] = False,
    alias: Alias = None,
    endpoint: Endpoint = None,
    home: Home = None,
    json_: Json = False,
) -> None:
    """One turn of the loop: check, train, publish, serve, probe, generate, judge, gate, report."""
    from harness.pipeline import run_round
    from harness.progress import Reporter
    from harness.release.gate import exit_code

    loaded = _load(recipe, [*(set_ or ()), *([f"compute.endpoint={endpoint}"] if endpoint else ())])
    if alias and not promote:
        raise HarnessError("--alias names what --promote moves", hint="add --promote")
    target = _alias_to_move(loaded, alias) if promote else None
    with Reporter() as reporter:
        outcome = run_round(loaded, _store(home), reporter, alias=target, clock=_now)
    _show_outcome(outcome, json_)
    raise typer.Exit(exit_code(outcome.record.decision))


@app.command()
def gate(run: Annotated[Path, typer.Argument(help="Run directory.")], json_: Json = False) -> None:
    """Make a run's decision again from its records."""
    from harness.outcome import decide_again
    from harness.release.gate import exit_code

    decision = decide_again(run)
    _print(decision.dump(), json_, lines=[rule.sentence for rule in decision.rules])
    raise typer.Exit(exit_code(decision))


@app.command()
def report(
    run: Annotated[Path, typer.Argument(help="Run directory.")], json_: Json = False
) -> None:
    """Write a run's pages again from its records."""
    from harness.outcome import report_again

    path = report_again(run)
    _print({"report": str(path)}, json_, lines=[str(path)])


@app.command()
def serve(
    recipe: Annotated[
        Path | None, typer.Argument(metavar="[RECIPE]", help="Take base and template from it.")
    ] = None,
    base: Annotated[str, typer.Option(help="Base model, without a recipe.")] = "pocket",
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Port [default: the recipe's, or 8000].")
    ] = None,
    home: Home = None,
) -> None:
    """Serve the base, all versions and all aliases until stopped."""
    from harness.pipeline import serve_store
    from harness.recipe import Base, Chat, Compute

    if recipe:
        chosen, root, _ = _load(recipe, None)
        model, chat, compute = chosen.base, chosen.chat, chosen.compute
    else:
        model, chat, compute, root = Base(model=base), Chat(), Compute(), Path.cwd()
    compute = compute.model_copy(update={"port": port or compute.port or DEFAULT_PORT})
    raise typer.Exit(serve_store(_store(home), model, chat, compute, root))


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

    store, at = _store(home), _now().isoformat(timespec="seconds")
    version = store.resolve(version)
    key, decision = latest_decision(store, version)
    moved = move(store, decision, key, alias=alias, at=at, run=None, override=override)
    _print(moved.dump(), json_)


@app.command()
def rollback(
    alias: Annotated[str, typer.Argument(help="Alias to move back.")],
    home: Home = None,
    json_: Json = False,
) -> None:
    """Point an alias back at what it served before."""
    from harness.release.promote import rollback as move_back

    moved = move_back(_store(home), alias, at=_now().isoformat(timespec="seconds"))
    _print(moved.dump(), json_)


@alias_app.command("list")
def alias_list(home: Home = None, json_: Json = False) -> None:
    """Every alias and the version it points at."""
    _print(dict(_store(home).aliases()), json_)


@alias_app.command("history")
def alias_history(
    alias: Annotated[str, typer.Argument(help="Alias.")], home: Home = None, json_: Json = False
) -> None:
    """Every move of an alias, oldest first."""
    moves = _store(home).history(alias)
    lines = [f"{each['at']}  {each['previous'] or '-'} → {each['version']}" for each in moves]
    _print({"alias": alias, "moves": moves}, json_, lines=lines)


@app.command()
def versions(home: Home = None, json_: Json = False) -> None:
    """Every adapter version in the store."""
    found = _store(home).versions()
    _print({"versions": found}, json_, lines=found)


@app.command()
def demo(
    directory: Annotated[
        Path, typer.Argument(help="Folder for the demo's recipes, data and evalset.")
    ] = Path("demo"),
    home: Home = None,
    json_: Json = False,
) -> None:
    """The whole loop on the pocket model, offline: one round that passes, one that is blocked."""
    from rich.console import Console

    from harness.demo import tell

    story = tell(directory, _store(home), Console(stderr=json_, highlight=False), clock=_now)
    if json_:
        _print(story.summary(), json_)
    raise typer.Exit(1 if story.problems else 0)


def main() -> None:
    """Entry point; maps every outcome to an exit code of the design."""
    signal.signal(signal.SIGTERM, _terminated)
    try:
        code = app(standalone_mode=False)
    except TyperException as error:
        code = _fail(HarnessError(error.format_message(), hint="harness --help"), error.exit_code)
    except HarnessError as error:
        code = _fail(error, error.exit_code)
    except (OSError, sqlite3.Error) as error:
        code = _fail(_machine_fault(error), EnvironmentFault.exit_code)
    except Exception as error:
        traceback.print_exc()
        code = _fail(
            HarnessError(f"a defect of harness: {type(error).__name__}: {error}"), _CRASHED
        )
    if code == _INTERRUPTED:
        _fail(HarnessError("interrupted", hint="run the same command to go on"), code)
    sys.exit(code if isinstance(code, int) else 0)


def _machine_fault(error: OSError | sqlite3.Error) -> EnvironmentFault:
    """A disk that is full or read-only, a damaged cache: nothing a recipe can mend."""
    if isinstance(error, sqlite3.Error):
        return EnvironmentFault(
            f"cache.sqlite of the store: {error}",
            hint="delete it if it is damaged; answers and verdicts are then asked for again",
        )
    return EnvironmentFault(str(error), hint="is the disk full, read-only, or the path right?")


def _terminated(signum: int, frame: object) -> None:
    """SystemExit, because asyncio lets nothing else out of a signal handler."""
    error = Interrupted("stopped by SIGTERM", hint="run the same command to go on")
    raise SystemExit(_fail(error, error.exit_code))


def _fail(error: HarnessError, code: int) -> int:
    if "--json" in sys.argv:
        value = {"status": "error", "error": str(error), "hint": error.hint, "exit_code": code}
        typer.echo(json.dumps(value, ensure_ascii=False))
    else:
        colour = None if os.environ.get("NO_COLOR") else "red"
        typer.secho(f"error: {error}", err=True, fg=colour)
        if error.hint:
            typer.echo(f"next:  {error.hint}", err=True)
    return code


def _load(path: Path, overrides: list[str] | None) -> LoadedRecipe:
    from harness.recipe import load

    return load(path, overrides or ())


def _store(home: Path | None) -> Store:
    from harness.store import Store, default_home

    path = home.absolute() if home else default_home()
    if path.exists() and not path.is_dir():
        raise HarnessError(
            f"{path}: not a folder", hint="the store is a folder: set --home or HARNESS_HOME"
        )
    return Store(path)


def _now() -> datetime:
    return datetime.now(UTC)


def _alias_to_move(loaded: LoadedRecipe, alias: str | None) -> str:
    from harness.store import require_alias

    name = alias or loaded.recipe.gate.baseline
    if name is None or name == "base" or "@" in name:
        raise HarnessError(
            f"--promote: gate.baseline = {name!r} is not an alias, so there is nothing to move",
            hint="name the alias: --promote --alias prod",
        )
    require_alias(name, loaded.recipe.base.model)
    return name


def _print(value: dict[str, Any], as_json: bool, *, lines: list[str] | None = None) -> None:
    if as_json:
        typer.echo(json.dumps(value, ensure_ascii=False, indent=1))
        return
    for line in (
        lines if lines is not None else [f"{key:<18} {each}" for key, each in value.items()]
    ):
        typer.echo(line)


def _show_outcome(outcome: Outcome, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(outcome.summary(), ensure_ascii=False, indent=1))
        return
    from rich.console import Console

    from harness.report.terminal import summary

    console = Console(highlight=False)
    console.print(summary(outcome.record))
    console.print(f"report   {outcome.run.report_path('html')}", soft_wrap=True)
    for line in outcome.next_steps():
        console.print(line, soft_wrap=True)
