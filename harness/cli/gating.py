"""Commands on decisions: a run's own made again, one against another run, and the noise under all
of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.app import (
    Endpoint,
    Home,
    Json,
    Overrides,
    Quiet,
    app,
    echo,
    find_run,
    load_recipe,
    now,
    open_store,
    overrides,
)
from harness.errors import HarnessError

if TYPE_CHECKING:
    from harness.recipe import Gate
    from harness.types import Decision, NoiseFloor, RuleResult

_RECIPE_SUFFIXES = (".yaml", ".yml")


@app.command()
def gate(
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN|RECIPE",
            help="Run directory, or a run's name in the store; with --aa a recipe file.",
        ),
    ],
    against: Annotated[
        str | None,
        typer.Option(
            metavar="RUN|ALIAS|VERSION",
            help="Decide on the run's candidate against that of another finished run.",
        ),
    ] = None,
    aa: Annotated[
        bool,
        typer.Option("--aa", help="Measure the noise: a version against itself, all asked anew."),
    ] = False,
    candidate: Annotated[
        str | None,
        typer.Option(
            metavar="VERSION|ALIAS", help="With --aa: which [default: the recipe's latest version]."
        ),
    ] = None,
    set_: Overrides = None,
    endpoint: Endpoint = None,
    home: Home = None,
    json_: Json = False,
    quiet: Quiet = False,
) -> None:
    """Make a run's decision again from its records; no model runs but with --aa."""
    if aa:
        if against is not None:
            raise HarnessError("--aa compares a version with itself: leave --against out")
        settings = overrides(set_, endpoint)
        raise typer.Exit(_measure(Path(run), candidate, settings, home, json_, quiet))
    given = {"--candidate": candidate, "--set": set_, "--endpoint": endpoint}
    for option in (name for name, value in given.items() if value):
        raise HarnessError(
            f"{option} goes with --aa: a run has its own recipe", hint="harness gate --aa RECIPE"
        )
    if run.endswith(_RECIPE_SUFFIXES) and Path(run).is_file():
        raise HarnessError(f"{run}: a recipe, not a run", hint="add --aa, or name a round's run")
    if against is None:
        raise typer.Exit(_again(run, home, json_, quiet))
    raise typer.Exit(_against(run, against, home, json_, quiet))


def _again(run: str, home: Path | None, as_json: bool, quiet: bool) -> int:
    from harness.outcome import command_line, decide_again
    from harness.release.gate import exit_code

    store = open_store(home)
    decision = decide_again(find_run(run, store))
    lines = _decided(decision)
    if store.latest_decision(decision.candidate):
        line = command_line("why", decision.candidate, home=store.home)
        lines.append(f"next  {line}   # where it stands, and what to do now")
    echo(decision.dump(), as_json, lines=lines[:1] if quiet else lines)
    return exit_code(decision)


def _decided(decision: Decision) -> list[str]:
    """The verdict, and a line for every rule with its own."""
    from harness.report.terminal import MARKS
    from harness.report.view import is_unfit, is_unguarded

    def mark(rule: RuleResult) -> str:
        if is_unguarded(rule):
            return " "
        return MARKS["untrusted" if is_unfit(rule) else rule.status]

    sides = f"{decision.candidate} against {decision.baseline} on {decision.evalset}"
    head = f"{MARKS[decision.status]} {decision.status.upper()}  {sides}"
    return [head, *(f"  {mark(rule)} {rule.sentence}" for rule in decision.rules)]


def _against(run: str, other: str, home: Path | None, as_json: bool, quiet: bool) -> int:
    from harness.against import against
    from harness.cli.loop import show_outcome
    from harness.pipeline import tell_all
    from harness.progress import Reporter
    from harness.release.gate import exit_code

    store = open_store(home)
    outcome = against(find_run(run, store), other, store, clock=now)
    with Reporter(quiet=quiet) as reporter:
        tell_all(store, reporter)
    show_outcome(outcome, as_json, quiet)
    return exit_code(outcome.record.decision)


def _measure(
    path: Path,
    candidate: str | None,
    set_: list[str],
    home: Path | None,
    as_json: bool,
    quiet: bool,
) -> int:
    from harness.noise import measure_noise, supported_margin
    from harness.progress import Reporter

    loaded, store = load_recipe(path, set_), open_store(home)
    with Reporter(quiet=quiet) as reporter:
        floor = measure_noise(loaded, store, reporter, candidate=candidate, clock=now)
    margin = supported_margin(floor, loaded.recipe.gate)
    words = [word for each in set_ for word in ("--set", each)]
    code, step = _next_step(floor, loaded.recipe.gate, [path, *words], store.home)
    value = floor.dump() | {"supported_margin": margin, "next": step}
    lines = [*_floor_lines(floor, loaded.recipe.gate, margin), f"next      {step}"]
    echo(value, as_json, lines=lines[-2:-1] if quiet else lines)
    return code


def _next_step(floor: NoiseFloor, gate: Gate, recipe: list[object], home: Path) -> tuple[int, str]:
    """The exit code that a round of nothing but noise would have, and what to do next."""
    from harness.outcome import command_line

    found = floor.difference
    if found.lower is None or found.n_missing > gate.max_missing * found.n_pairs:
        return 4, "mend what leaves answers without a score, then the same command again"
    if found.lower <= -gate.margin:
        line = command_line("plan-eval", *recipe, home=home)
        return 3, f"{line}   # how many items, or samples, are enough"
    return 0, command_line("round", *recipe, home=home)


def _floor_lines(floor: NoiseFloor, gate: Gate, margin: float | None) -> list[str]:
    from harness.report.wording import plural

    found, n_samples = floor.difference, plural(floor.n_samples, "answer")
    asked = (
        f"{n_samples} a side to each of {found.n_pairs} items, temperature {floor.temperature:g}"
    )
    missing = f", {found.n_missing} without a score" if found.n_missing else ""
    return [
        f"noise     {floor.version} against itself on {floor.evalset}",
        f"judge     {floor.judge}",
        f"answers   {asked}: {found.n_identical} identical on both sides{missing}",
        f"gate      mean difference {_signed(found.mean)}, sd {_number(found.sd)}, lower bound "
        f"{_signed(found.lower)} (margin {gate.margin:g}); identical answers differ by 0",
        f"verdicts  mean difference {_signed(floor.judged_mean)}, sd {_number(floor.judged_sd)} "
        "where identical answers keep their two verdicts",
        f"supports  {_supported(margin, gate.margin)}",
    ]


def _supported(margin: float | None, wanted: float) -> str:
    if margin is None:
        return "no margin: nothing was compared, or in too few clusters"
    than = "at most" if margin <= wanted else "larger than"
    return (
        f"margins from {margin:.2f} on, {than} the recipe's {wanted:g}: smaller ones would stop "
        "this version itself more often than 1 time in 5"
    )


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _signed(value: float | None) -> str:
    return "–" if value is None else f"{value:+.2f}".replace("-", "−")
