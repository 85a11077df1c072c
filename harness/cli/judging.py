"""Commands on the judge: whether it is fit, and how far people agree with it."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.app import (
    Endpoint,
    Home,
    Json,
    Overrides,
    Quiet,
    RecipePath,
    app,
    echo,
    find_run,
    load_recipe,
    open_store,
    overrides,
)

if TYPE_CHECKING:
    from harness.evaluation.calibration.calibrate import Calibration
    from harness.evaluation.calibration.trust import Answer

judge_app = typer.Typer(help="Is the judge fit? Labels by people.", no_args_is_help=True)
app.add_typer(judge_app, name="judge")

_EXIT: dict[Answer, int] = {"yes": 0, "with labels": 0, "unclear": 3, "no": 4}


@judge_app.command()
def calibrate(
    labels: Annotated[Path, typer.Argument(help="File of labels (JSON lines or CSV).")],
    run: Annotated[
        str | None,
        typer.Option(help="Run whose judge is meant: a directory, or a name in the store."),
    ] = None,
    home: Home = None,
    json_: Json = False,
    quiet: Quiet = False,
) -> None:
    """Hold the judge against people's labels: agreement, bias, and what labels are worth."""
    from harness.cli.calibration import calibration_lines
    from harness.evaluation.calibration.calibrate import calibrate as measure
    from harness.evaluation.calibration.labels import names_its_answers, read_labels
    from harness.evaluation.calibration.match import match, read_judged
    from harness.evaluation.calibration.trust import trust

    judged = read_judged(find_run(run, open_store(home))) if run else None
    rows = read_labels(labels)
    found = measure(match(rows, judged), judged)
    answer, because = trust(found)
    step = _next_step(found, answer, labels, run)
    if answer in ("yes", "with labels") and not any(names_its_answers(each.label) for each in rows):
        step = (
            f"columns candidate and baseline in the labels, with the versions' names; then {step}"
        )
    lines = [f"trust     {answer}: {because}"]
    if not quiet:
        lines = [*calibration_lines(found), *lines, f"next      {step}"]
    value = {**found.dump(), "trust": answer, "because": because, "next": step}
    echo(value, json_, lines=lines)
    raise typer.Exit(_EXIT[answer])


@judge_app.command()
def probe(
    recipe: RecipePath,
    set_: Overrides = None,
    endpoint: Endpoint = None,
    home: Home = None,
    json_: Json = False,
    quiet: Quiet = False,
) -> None:
    """Show the recipe's judge answers of known worth, and attacks; is it fit to decide?"""
    from harness.evaluate import examine_judge
    from harness.evaluation.judging.fitness import health_lines, health_rules
    from harness.progress import Reporter

    loaded = load_recipe(recipe, overrides(set_, endpoint))
    with Reporter(quiet=quiet) as reporter:
        health = examine_judge(loaded, open_store(home), reporter)
    fitness = loaded.recipe.judge.fitness
    rules = health_rules(health, fitness)
    is_fit = all(rule.status == "pass" for rule in rules)
    value = {**health.dump(), "rules": [rule.dump() for rule in rules], "fit": is_fit}
    broken = [rule.rule for rule in rules if rule.status != "pass"]
    verdict = f"fit by all {len(rules)} measures" if is_fit else f"not fit: {', '.join(broken)}"
    step = f"next     {_after_probe(recipe, is_fit)}"
    lines = [verdict] if quiet else [*health_lines(health, fitness), "", verdict, step]
    echo(value, json_, lines=lines)
    raise typer.Exit(0 if is_fit else 4)


def _after_probe(recipe: Path, is_fit: bool) -> str:
    if is_fit:
        return shlex.join(["harness", "round", str(recipe)])
    return "another judge.model or judge.prompt in the recipe, then the same command again"


def _next_step(found: Calibration, answer: Answer, labels: Path, run: str | None) -> str:
    label = shlex.join(["harness", "judge", "label", run]) if run else "harness judge label RUN"
    if answer == "no":
        return "harness judge probe RECIPE, then another judge.model or judge.prompt in the recipe"
    if answer == "unclear":
        return label
    if found.differences is None:
        return f"{label}   # scores of both sides let the gate correct the judge"
    # Whole, since a relative path starts from the recipe and not from here.
    return f"gate.calibration: {labels.absolute()} in the recipe, then harness round RECIPE"
