"""The story of the product on the pocket model, offline: one round passes, the next is blocked.

Writes two recipes, their data and their evalset into a folder as plain files, so that everything
the demo does can be read and run again by hand. Round two differs from round one in one thing:
the answers of one instruction type in its data are wrong.
"""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.text import Text

from harness import jsonio
from harness.outcome import Outcome, command_line
from harness.pipeline import Clock, run_round
from harness.pocket.oracle import JUDGE_TEMPLATE
from harness.pocket.rows import heldout_items, instruction_rows
from harness.progress import Reporter
from harness.recipe import load
from harness.report.terminal import brief, place, summary
from harness.store import Store

ALIAS = "prod"
CORRUPTED = "generate"
N_ROWS = 1500
_RECIPES = {"round1.yaml": "train.jsonl", "round2.yaml": "train-corrupted.jsonl"}


class Story(NamedTuple):
    """Both rounds, and what did not go as it should."""

    rounds: tuple[Outcome, Outcome]
    problems: list[str]

    def summary(self) -> dict[str, Any]:
        """What `harness demo --json` prints."""
        return {
            "status": "error" if self.problems else "pass",
            "problems": self.problems,
            "rounds": [each.summary() for each in self.rounds],
        }


def tell(
    directory: Path, store: Store, console: Console, *, clock: Clock, quiet: bool = False
) -> Story:
    """Run both rounds: the first should pass and be promoted, the second be blocked for the
    corrupted slice alone. `quiet`: print their verdicts alone."""
    write_files(directory)
    if not quiet:
        console.print(f"recipes, data and evalset: {directory}/", soft_wrap=True)
    with Reporter(quiet=quiet) as reporter:
        reporter.note("round one: tune the base on good data", "bold")
        first = _round(directory / "round1.yaml", store, reporter, clock)
        _show(console, first, quiet)
        reporter.note(f"round two: the same, but every {CORRUPTED!r} answer is wrong", "bold")
        second = _round(directory / "round2.yaml", store, reporter, clock)
        _show(console, second, quiet)
    problems = _problems(first, second)
    if problems or not quiet:
        _close(console, directory, first, second, problems)
    return Story((first, second), problems)


def write_files(directory: Path) -> None:
    """The demo's recipes, training data and evalset, as plain files."""
    data = {
        "train.jsonl": instruction_rows(N_ROWS, 0),
        "train-corrupted.jsonl": instruction_rows(N_ROWS, 0, corrupt=CORRUPTED),
    }
    for name, rows in data.items():
        jsonio.write_jsonl(directory / name, rows)
    evalset_dir = directory / "evalset"
    jsonio.write_jsonl(evalset_dir / "items.jsonl", heldout_items())
    jsonio.write_bytes(evalset_dir / "judge.md", (JUDGE_TEMPLATE + "\n").encode())
    jsonio.write_bytes(evalset_dir / "card.yaml", _CARD.encode())
    for name, source in _RECIPES.items():
        jsonio.write_bytes(directory / name, _RECIPE.format(data=source).encode())


def _round(path: Path, store: Store, reporter: Reporter, clock: Clock) -> Outcome:
    return run_round(load(path), store, reporter, alias=ALIAS, clock=clock)


def _show(console: Console, outcome: Outcome, quiet: bool) -> None:
    path = place(outcome.run.report_path("html"))
    console.print(brief(outcome.record) if quiet else summary(outcome.record), soft_wrap=quiet)
    console.print(Text("report  ") + path + Text("" if quiet else "\n"), soft_wrap=True)


def _problems(first: Outcome, second: Outcome) -> list[str]:
    """What did not go as the story says."""
    found = []
    if first.record.decision.status != "pass" or first.alias != ALIAS:
        found.append(f"round one was to pass and become {ALIAS!r}")
    if second.record.decision.status != "fail" or second.alias:
        found.append("round two was to be blocked")
    blamed = {
        rule.slice
        for rule in second.record.decision.rules
        if rule.status == "fail" and rule.slice != "overall"
    }
    if blamed != {CORRUPTED}:
        found.append(f"the gate was to blame {CORRUPTED!r} alone, it blamed {sorted(blamed)}")
    return found


def _close(
    console: Console, directory: Path, first: Outcome, second: Outcome, problems: list[str]
) -> None:
    if problems:
        console.print("the story did NOT go as it should:", style="red")
        for problem in problems:
            console.print(f"  {problem}", style="red")
        return
    console.print(
        f"The story went as it should: round one passed and {ALIAS!r} is "
        f"{first.record.decision.candidate};\nround two was blocked for {CORRUPTED!r}, so "
        f"{ALIAS!r} has not moved.",
        style="green",
        soft_wrap=True,
    )
    look = Text("\nlook     ") + place(second.run.report_path("html"))
    console.print(look, soft_wrap=True)
    for line in second.next_steps():
        console.print(line, soft_wrap=True, markup=False)
    home = first.run.run_dir.parents[1]
    serve = command_line("serve", "--port", 8000, home=home)
    console.print(f"serve    {serve}", soft_wrap=True, markup=False)
    console.print(
        "ask      curl -s http://127.0.0.1:8000/v1/chat/completions "
        f"-H 'content-type: application/json' \\\n           -d {_question(first)}",
        soft_wrap=True,
        markup=False,
    )
    again = command_line("round", directory / "round1.yaml", "--promote", home=home)
    console.print(f"again    {again}", soft_wrap=True, markup=False)


def _question(outcome: Outcome) -> str:
    """The shortest item that the version in production answers well, as a quoted request."""
    verdicts = outcome.record.verdicts
    scores = {each.item_id: each.score for each in verdicts if each.role == "candidate"}
    best = max(scores.get(each.id) or 0 for each in outcome.record.items)
    well = [each for each in outcome.record.items if (scores.get(each.id) or 0) == best]
    item = min(well, key=lambda each: len(each.messages[-1].content))
    messages = [message.dump() for message in item.messages]
    return shlex.quote(json.dumps({"model": ALIAS, "messages": messages}))


_CARD = """\
name: pocket-demo
purpose: held-out instructions of seven types in the pocket world
author: the harness authors
licence: Apache-2.0
limits: a closed little world; says nothing about language models at large
"""

_RECIPE = """\
# One round of the demo. Run it again by hand: harness round {{this file}} --promote
name: pocket-demo
base: {{model: pocket}}
data:
  sources: [{{path: {data}}}]
  max_length: 256
lora: {{r: 16, alpha: 32}}
train: {{max_steps: 150, batch: 32, lr: 4.0e-3, schedule: linear, warmup_steps: 10}}
eval: {{evalset: evalset, max_tokens: 64}}
judge: {{model: pocket-judge, max_tokens: 160}}
gate:
  baseline: prod          # compared with the base until there is a prod
  margin: 0.2
  thresholds: ["mean >= 4.0", "pass_share >= 0.75"]
  slices: {{by: type}}
  looks: 1                # the judge costs nothing here: judge every item
"""
