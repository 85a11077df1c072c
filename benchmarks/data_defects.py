"""What `harness check` finds in real training files, beside what is known to be there.

    .venv/bin/python benchmarks/data_defects.py FOLDER [--show LINT]

Prints the tables of docs/data.md for every .json and .jsonl file under FOLDER. The rows known to
be defective are those of the original files of stanford_alpaca (first 5,000 rows), LLaMA-Factory's
demo data, Dolly and OpenAssistant; they count from 0 and were found by hand. `--show` prints thirty
random findings of one lint, to judge by eye.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from harness.errors import HarnessError
from harness.recipe import Source
from harness.training.quality.defects import LINTS
from harness.training.quality.diversity import Diversity, DiversityReport
from harness.training.quality.duplicates import Duplicates, ExactReport, NearDuplicates, NearReport
from harness.training.quality.kinds import kind_of_text
from harness.training.quality.lint import findings
from harness.training.quality.normalise import prompt_of
from harness.training.reading.example import Example, Skipped
from harness.training.reading.read import open_source

PLANTED: dict[str, dict[str, tuple[int, ...]]] = {
    "alpaca_5000.json": {
        "blank": (2335, 4658),
        "placeholder": (1275, 4361, 1750),
        "placeholder-input": (24, 93, 103, 211, 226, 344, 399, 121, 3242, 3550),
        "merged": (2710, 2930, 3493, 4052),
        "copied": (252, 1755, 1973, 2778, 3957, 4625),
        "label": (167, 3055),
        "unseen": (69, 221, 334, 389, 433, 514, 729, 809, 962, 1123, 1265, 1632),
        "open-end": (71, 91, 263, 320),
    },
    "dolly_3k.json": {"copied": (1615, 2213, 2329)},
    "oaast_rm_zh.json": {"no-preference": (144, 299, 311, 312, 591, 768)},
}
COUNTED = {
    "alpaca_en_demo.json": {"equal": 14},
    "dolly_3k.json": {"prompt again": 15},
    "dpo_en_demo.json": {"prompt again": 5},
    "identity.json": {"unresolved": 85},
}
"""How many there are, where that is known."""
LOOK_ALIKES: dict[str, dict[str, tuple[int, ...]]] = {
    "alpaca_5000.json": {"merged": (4541,), "refusal": (2024,)},
    "alpaca_en_demo.json": {"merged": (208, 923)},
}
DOLLY = {
    "open_qa": "qa",
    "general_qa": "qa",
    "closed_qa": "qa",
    "classification": "classify",
    "information_extraction": "extract",
    "summarization": "summarise",
    "brainstorming": "generate",
    "creative_writing": "generate",
}
"""Dolly's categories as instruction types."""


class Measured(NamedTuple):
    """What was found in one file."""

    name: str
    n_read: int
    refused: tuple[int, ...]
    exact: ExactReport
    near: NearReport
    diversity: DiversityReport
    found: dict[str, list[tuple[int, Example, str]]]
    """Lint → row, example and what shows the defect."""
    kinds: Counter[tuple[str, str]]
    """(type the data gives, type by pattern) → examples."""
    seconds: float
    """Of processor time."""


def measure(path: Path, folder: Path) -> Measured | str:
    """The measurements, or the line with which the file is refused."""
    exact, near, diversity = Duplicates(), NearDuplicates(), Diversity()
    found: dict[str, list[tuple[int, Example, str]]] = {lint.id: [] for lint in LINTS}
    kinds: Counter[tuple[str, str]] = Counter()
    refused: list[int] = []
    n_read, started = 0, time.process_time()
    try:
        for row, example in numbered(read(path, folder)):
            if isinstance(example, Skipped):
                refused.append(row)
                continue
            for observer in (exact, near, diversity):
                observer.add(n_read, example)
            for lint, text in findings(example):
                found[lint.id].append((row, example, text))
            answer = example.messages[-1].content
            kinds[example.type or "", kind_of_text(prompt_of(example), answer)] += 1
            n_read += 1
    except HarnessError as error:
        return str(error)
    similar = near.find(0.7)
    return Measured(path.name, n_read, tuple(refused), exact.result(), similar, diversity.result(),
                    found, kinds, time.process_time() - started)  # fmt: skip


def read(path: Path, folder: Path) -> Iterator[Example | Skipped]:
    """The file's examples under the first objective that takes its shape."""
    source = Source(path=str(path.relative_to(folder)))
    for objective in ("sft", "dpo", "kto"):
        try:
            return open_source(source, folder, objective=objective, on_error="skip").examples
        except HarnessError as error:
            if "objective" not in str(error):
                raise
            refusal = error
    raise refusal


def numbered(examples: Iterator[Example | Skipped]) -> Iterator[tuple[int, Example | Skipped]]:
    """Row numbers from 0; the pairs of one ranked list are one row."""
    row, before = -1, ""
    for example in examples:
        place, _, pair = example.source.partition(" pair ")
        row += not (pair and place == before)
        before = place
        yield row, example


def counts_table(all_measured: list[Measured]) -> Iterator[str]:
    shown = [lint.id for lint in LINTS if any(each.found[lint.id] for each in all_measured)]
    head = ["file", "read", "refused", "equal", "prompt again", "near", *shown, "CPU s"]
    yield "| " + " | ".join(head) + " |"
    yield "|---" + "|--:" * (len(head) - 1) + "|"
    for each in all_measured:
        cells = [f"`{each.name}`", each.n_read, len(each.refused), each.exact.n_repeats,
                 each.exact.n_repeated_prompts, each.near.n_repeats,
                 *(len(each.found[lint]) for lint in shown), f"{each.seconds:.1f}"]  # fmt: skip
        yield "| " + " | ".join(map(str, cells)) + " |"


def planted_table(measured: Measured, path: Path) -> Iterator[str]:
    for lint, rows in PLANTED.get(measured.name, {}).items():
        found = {row for row, _, _ in measured.found[lint]}
        found |= set(measured.refused) if lint == "no-preference" else set()
        found |= without_input(measured, path, rows) if lint == "placeholder-input" else set()
        missed = sorted(set(rows) - found) or ""
        yield f"| `{measured.name}` | {lint} | {len(set(rows) & found)}/{len(rows)} | {missed} |"
    counts = {
        "equal": measured.exact.n_repeats,
        "prompt again": measured.exact.n_repeated_prompts,
        "unresolved": len(measured.found["unresolved"]),
    }
    for name, n in COUNTED.get(measured.name, {}).items():
        yield f"| `{measured.name}` | {name} | {counts[name]}/{n} | |"
    for lint, rows in LOOK_ALIKES.get(measured.name, {}).items():
        wrong = {row for row, _, _ in measured.found[lint]} & set(rows)
        yield f"| `{measured.name}` | {lint}: look-alikes flagged | {len(wrong)}/{len(rows)} | |"


def without_input(measured: Measured, path: Path, rows: tuple[int, ...]) -> set[int]:
    """Rows whose placeholder the reader has left out."""
    inputs = {row: json.loads(path.read_text())[row]["input"] for row in rows}
    return {
        row
        for row, example in numbered(read(path, path.parent))
        if row in inputs
        and isinstance(example, Example)
        and not prompt_of(example).endswith(inputs[row])
    }


def diversity_table(all_measured: list[Measured]) -> Iterator[str]:
    yield "| file | answer words 10–50–90 % | commonest opening | commonest ending | distinct-2 |"
    yield "|---|--:|--:|--:|--:|"
    for each in all_measured:
        report = each.diversity
        lengths = report.answer_words
        opening, ending = (
            f"{phrases[0].share:.1%}" if phrases else "–"
            for phrases in (report.openings, report.endings)
        )
        yield (
            f"| `{each.name}` | {lengths.tenth}–{lengths.median}–{lengths.ninetieth} | {opening} "
            f"| {ending} | {report.distinct_2 or 0:.2f} |"
        )


def kinds_table(measured: Measured) -> Iterator[str]:
    names = sorted({kind for _, kind in measured.kinds})
    yield "| tagged \\ by pattern | " + " | ".join(names) + " |"
    yield "|---" + "|--:" * len(names) + "|"
    for tag, kind in DOLLY.items():
        row = " | ".join(str(measured.kinds[tag, name]) for name in names)
        yield f"| {tag} ({kind}) | {row} |"
    right = sum(n for (tag, kind), n in measured.kinds.items() if DOLLY[tag] == kind)
    yield f"\nright: {right} of {measured.n_read} ({right / measured.n_read:.0%})"


def show(all_measured: list[Measured], lint: str) -> None:
    found = [(each.name, *one) for each in all_measured for one in each.found[lint]]
    for name, row, example, text in random.Random(0).sample(found, min(30, len(found))):
        print(f"{name}:{row} {prompt_of(example)[-100:]!r} → {text[:120]!r}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--show", choices=[lint.id for lint in LINTS])
    arguments = parser.parse_args()
    paths = sorted(each for each in arguments.folder.rglob("*.json*") if each.is_file())
    results = {path: measure(path, arguments.folder) for path in paths}
    all_measured = [each for each in results.values() if isinstance(each, Measured)]
    if arguments.show:
        show(all_measured, arguments.show)
        return
    print("\n".join(counts_table(all_measured)), "\n\n| file | refused with |\n|---|---|")
    for path, result in results.items():
        if isinstance(result, str):
            print(f"| `{path.name}` | {result} |")
    print("\n| file | defect | known rows found | missed |\n|---|---|--:|---|")
    for path, result in results.items():
        if isinstance(result, Measured):
            for line in planted_table(result, path):
                print(line)
    print("\n" + "\n".join(diversity_table(all_measured)))
    for each in all_measured:
        if each.name.startswith("dolly"):
            print("\n" + "\n".join(kinds_table(each)))


if __name__ == "__main__":
    main()
