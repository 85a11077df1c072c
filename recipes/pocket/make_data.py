"""Write the pocket data: training rows, the corrupted round, the judge's rows, the evalset.

    python recipes/pocket/make_data.py OUT [--outputs OUTPUTS.jsonl]

OUT gets train.jsonl, corrupted.jsonl and judge.jsonl; evalsets/pocket/items.jsonl is rewritten.
OUTPUTS are answers of imperfect adapters (recipes/pocket/imperfect.py), added to the judge's rows.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from harness.pocket.rows import (
    Case,
    heldout_items,
    instruction_rows,
    judge_rows,
    synthetic_cases,
)

N_ROWS = 4800
N_SYNTHETIC = 6000
CORRUPTED_TYPE = "generate"
ITEMS = Path("evalsets/pocket/items.jsonl")


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    """One row a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = (json.dumps(row, ensure_ascii=False) for row in rows)
    path.write_text("".join(f"{line}\n" for line in lines))
    print(f"{path}: {len(rows)} rows")


def read_cases(path: Path) -> list[Case]:
    """Answers of real adapters as cases for the judge."""
    return [Case(**json.loads(line)) for line in path.read_text().splitlines()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--outputs", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    write(options.out / "train.jsonl", instruction_rows(N_ROWS, options.seed))
    corrupted = instruction_rows(N_ROWS, options.seed, CORRUPTED_TYPE)
    write(options.out / "corrupted.jsonl", corrupted)
    cases = synthetic_cases(N_SYNTHETIC, options.seed)
    cases += read_cases(options.outputs) if options.outputs else []
    write(options.out / "judge.jsonl", judge_rows(cases, options.seed))
    write(ITEMS, heldout_items())


if __name__ == "__main__":
    main()
