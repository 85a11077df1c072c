"""Collect answers of imperfect adapters: material for the judge that no generator invents.

    python recipes/pocket/imperfect.py BASE OUT

Trains adapters with seeds from 100 on, stopped early or with some types corrupted, and lets each
answer tasks of its own. None of them is ever used to test the judge. OUT/outputs.jsonl gets the
wrong answers and every fourth right one.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from answer import Answerer
from make_data import write
from measure import ANSWER_TOKENS, oracle

from harness.pocket.rows import Case, instruction_rows, training_tasks

N_ROWS = 2000
N_TASKS = 350
TASK_SEED = 1000
RIGHT_KEPT_EVERY = 4


@dataclass(frozen=True)
class Plan:
    """One training: which types it learns wrong, and after which steps it is looked at."""

    seed: int
    corrupted: tuple[str, ...]
    steps: tuple[int, ...]


PLANS = (
    Plan(100, (), (12, 20, 30, 45, 70, 130)),
    Plan(101, ("generate", "qa"), (30, 60, 90)),
    Plan(102, ("extract", "reason"), (30, 60, 90)),
    Plan(103, ("summarise", "code", "classify"), (30, 60, 90)),
)


def train(base: Path, out: Path, plan: Plan) -> list[Path]:
    """Train one plan and return the adapters it leaves."""
    spoiled = {kind: instruction_rows(N_ROWS, plan.seed, kind) for kind in plan.corrupted}
    rows = instruction_rows(N_ROWS, plan.seed)
    kinds = [row["tags"]["type"] for row in rows]
    mixed = [spoiled.get(kind, rows)[i] for i, kind in enumerate(kinds)]
    name = f"seed-{plan.seed}"
    write(out / f"{name}.jsonl", mixed)
    early = ",".join(str(step) for step in plan.steps[:-1])
    command = [sys.executable, str(Path(__file__).with_name("finetune.py")), str(base)]
    command += [str(out / f"{name}.jsonl"), str(out / name), "--seed", str(plan.seed)]
    command += ["--steps", str(plan.steps[-1]), "--keep", early, "--warmup", "20"]
    subprocess.run(command, check=True)
    return [*(out / f"{name}-step{step}" for step in plan.steps[:-1]), out / name]


def answers_of(base: Path, adapter: Path, seed: int) -> list[Case]:
    """One adapter's answers to tasks that are neither held out nor anybody else's."""
    tasks = training_tasks(N_TASKS, seed)
    texts = Answerer(base, adapter).answer([task.instruction for task in tasks], ANSWER_TOKENS)
    return [
        Case(task.type, task.rubric, task.reference, text)
        for task, text in zip(tasks, texts, strict=True)
    ]


def main() -> None:
    base, out = Path(sys.argv[1]), Path(sys.argv[2])
    cases: list[Case] = []
    for plan in PLANS:
        for adapter in train(base, out, plan):
            cases += answers_of(base, adapter, TASK_SEED + len(cases))
    right = [case for case in cases if oracle(case) == 5][::RIGHT_KEPT_EVERY]
    wrong = [case for case in cases if oracle(case) != 5]
    write(out / "outputs.jsonl", [asdict(case) for case in [*wrong, *right]])
    print(json.dumps({"answers": len(cases), "wrong": len(wrong), "right kept": len(right)}))


if __name__ == "__main__":
    main()
