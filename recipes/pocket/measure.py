"""Measure the pocket: exact answers per type, and the judge against the oracle.

    python recipes/pocket/measure.py BASE --adapter NAME=DIR ... [--judge DIR] [--json FILE]

Every adapter answers the 280 held-out items. The judge scores those answers; an adapter named
`base` is the base itself and is kept out of the pool, because its answers are all small talk.
"""

from __future__ import annotations

import argparse
import json
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from answer import Answerer

from harness.pocket.oracle import judge_prompt, score
from harness.pocket.rows import Case, heldout_items
from harness.pocket.world import TYPES

ANSWER_TOKENS = 64
JUDGE_TOKENS = 120
SCORES = (1, 2, 3, 4, 5)


def cases_of(base: Path, adapter: Path | None) -> list[Case]:
    """The held-out items with one model's answers."""
    items = heldout_items()
    questions = [item["messages"][0]["content"] for item in items]
    answers = Answerer(base, adapter).answer(questions, ANSWER_TOKENS)
    return [
        Case(item["tags"]["type"], item["rubric"], item["reference"], answer)
        for item, answer in zip(items, answers, strict=True)
    ]


def oracle(case: Case) -> int:
    return score(case.type, case.rubric, case.reference, case.response)


def exact_by_type(cases: Sequence[Case]) -> dict[str, float]:
    """Share of exact answers, per type and overall."""
    right = {kind: [oracle(c) == 5 for c in cases if c.type == kind] for kind in TYPES}
    right["all"] = [value for values in right.values() for value in values]
    return {kind: sum(values) / len(values) for kind, values in right.items()}


def judge_scores(base: Path, judge: Path, cases: Sequence[Case]) -> list[int | None]:
    """The judge's greedy score of each case; None when it gives none."""
    prompts = [judge_prompt(c.rubric, c.reference, c.response) for c in cases]
    texts = Answerer(base, judge).answer(prompts, JUDGE_TOKENS)
    ends = [re.search(r"\nscore ([1-5])$", text) for text in texts]
    return [int(end[1]) if end else None for end in ends]


def quadratic_kappa(pairs: Sequence[tuple[int, int]]) -> float | None:
    """Cohen's kappa with quadratic weights; None when one side never varies."""
    n = len(pairs)
    first, second = Counter(a for a, _ in pairs), Counter(b for _, b in pairs)
    seen = sum((a - b) ** 2 for a, b in pairs)
    by_chance = sum((a - b) ** 2 * first[a] * second[b] / n for a in SCORES for b in SCORES)
    return 1 - seen / by_chance if by_chance else None


def agreement(cases: Sequence[Case], scores: Sequence[int | None]) -> dict[str, Any]:
    """The judge against the oracle. An unscored answer counts as a disagreement."""
    truth = [oracle(case) for case in cases]
    pairs = [(a, b) for a, b in zip(truth, scores, strict=True) if b is not None]
    hits = [a == b for a, b in zip(truth, scores, strict=True)]
    by_type = {
        kind: [hit for case, hit in zip(cases, hits, strict=True) if case.type == kind]
        for kind in TYPES
    }
    return {
        "n": len(cases),
        "n_unscored": len(cases) - len(pairs),
        "kappa": quadratic_kappa(pairs),
        "exact": sum(hits) / len(hits),
        "exact_by_type": {kind: sum(v) / len(v) for kind, v in by_type.items()},
        "bias": sum(b - a for a, b in pairs) / max(1, len(pairs)),
        "confusion": [[pairs.count((a, b)) for b in SCORES] for a in SCORES],
    }


def _line(name: str, shares: dict[str, float]) -> str:
    return f"{name:>20} " + " ".join(f"{kind} {share:.3f}" for kind, share in shares.items())


def _print_agreement(name: str, found: dict[str, Any]) -> None:
    kappa = "none" if found["kappa"] is None else f"{found['kappa']:.3f}"
    print(
        f"{name:>20} n {found['n']} unscored {found['n_unscored']} kappa {kappa}"
        f" exact {found['exact']:.3f} bias {found['bias']:+.3f}"
    )
    print(_line("", found["exact_by_type"]))
    for truth, row in zip(SCORES, found["confusion"], strict=True):
        print(f"{'oracle':>20} {truth}: {row}")


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """All figures, printed on the way."""
    named = {name: None if name == "base" else Path(path) for name, path in options.adapter}
    cases = {name: cases_of(options.base, path) for name, path in named.items()}
    figures: dict[str, Any] = {"exact": {}, "judge": {}}
    for name, answered in cases.items():
        figures["exact"][name] = exact_by_type(answered)
        print(_line(name, figures["exact"][name]))
    if options.judge is None:
        return figures
    flat = [case for answered in cases.values() for case in answered]
    scores = judge_scores(options.base, options.judge, flat)
    pool: tuple[list[Case], list[int | None]] = ([], [])
    for index, (name, answered) in enumerate(cases.items()):
        part = scores[index * len(answered) : (index + 1) * len(answered)]
        figures["judge"][name] = agreement(answered, part)
        _print_agreement(name, figures["judge"][name])
        if name != "base":
            pool[0].extend(answered)
            pool[1].extend(part)
    if pool[0]:
        figures["judge"]["pool"] = agreement(*pool)
        _print_agreement("pool", figures["judge"]["pool"])
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("base", type=Path)
    parser.add_argument("--adapter", type=lambda text: text.split("=", 1), action="append")
    parser.add_argument("--judge", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    figures = measure(options)
    if options.json is not None:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
