"""What the commands share: the application, its options, and how results are printed.

Every heavy import is inside a function, so that `harness --help` is instant.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.errors import HarnessError, RecipeError, nearest

if TYPE_CHECKING:
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

RecipePath = Annotated[Path, typer.Argument(metavar="RECIPE", help="Recipe file (YAML).")]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY.PATH=VALUE", help="Override one key.")
]
Home = Annotated[
    Path | None, typer.Option(help="Store directory [default: $HARNESS_HOME or .harness].")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="Only the verdict, warnings and errors.")
]
Alias = Annotated[str | None, typer.Option(help="Alias to move [default: gate.baseline].")]
Restart = Annotated[
    bool,
    typer.Option("--restart", help="Give up an interrupted training of this recipe's name."),
]
Endpoint = Annotated[
    str | None, typer.Option(help="Base URL of a running `harness serve`, instead of starting one.")
]


def load_recipe(
    path: Path, overrides: list[str] | None, *, commands: Iterable[str] = ()
) -> LoadedRecipe:
    """`commands`: what may have been meant in place of a file."""
    from harness.recipe import load

    if not path.exists():
        near = [*map(str, sorted(path.parent.glob("*.y*ml"))), *commands]
        close = difflib.get_close_matches(str(path), near, n=1)
        hint = f"did you mean {close[0]}?" if close else "recipes/ has some to start from"
        raise RecipeError(f"{path}: no such recipe file", hint=hint)
    return load(path, overrides or ())


def overrides(set_: list[str] | None, endpoint: str | None) -> list[str]:
    return [*(set_ or ()), *([f"compute.endpoint={endpoint}"] if endpoint else ())]


def open_store(home: Path | None) -> Store:
    from harness.store import Store, default_home

    path = home.absolute() if home else default_home()
    if path.exists() and not path.is_dir():
        raise HarnessError(
            f"{path}: not a folder", hint="the store is a folder: set --home or HARNESS_HOME"
        )
    return Store(path)


def find_run(name: str, store: Store) -> Path:
    """A run's folder, by its path or by its name in the store. Raises HarnessError for neither."""
    from harness.run import is_run

    runs_dir = store.home / "runs"
    for path in (Path(name), runs_dir / name):
        if name and is_run(path):
            return path
    runs = [each.name for each in runs_dir.glob("*/") if is_run(each)]
    where = f"no such run in {runs_dir}"
    if Path(name).is_dir():
        where = f"not a finished run (a folder without report.json), and {where}"
    if not runs:
        hint = "harness round RECIPE makes one; --home names another store"
        raise HarnessError(f"{name!r}: {where}, which has none", hint=hint)
    raise HarnessError(
        f"{name!r}: {where}: {nearest(name, runs)}", hint="harness history tells them apart"
    )


def now() -> datetime:
    return datetime.now(UTC)


def echo(value: dict[str, Any], as_json: bool, *, lines: list[str] | None = None) -> None:
    """Of both nothing reaches a terminal that could drive it."""
    from harness.report.wording import neutral, neutral_json

    if as_json:
        typer.echo(neutral_json(value, indent=1))
        return
    for line in (
        lines if lines is not None else [f"{key:<18} {each}" for key, each in value.items()]
    ):
        typer.echo(neutral(line))
