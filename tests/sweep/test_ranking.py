"""The ranking on made-up scores: order, bounds that allow for many points, and what has no rank."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from rich.console import Console

from harness.recipe import Gate
from harness.release import stats
from harness.sweep.ranking import Question, SweepRecord, Trained, rank
from harness.sweep.table import summary
from harness.types import Generation, Item, Role, Verdict
from tests.release.build import (
    BASELINE,
    Scores,
    make_gate,
    make_generation,
    make_items,
    make_verdict,
)

N = 40


def version(name: str) -> str:
    return f"{name}@{'0' * 12}"


def answers(
    items: Sequence[Item], role: Role, model: str, scores: Scores
) -> tuple[list[Generation], list[Verdict]]:
    generations = [make_generation(item, role, f"of {model}", model=model) for item in items]
    verdicts = [make_verdict(item, role, each) for item, each in zip(items, scores, strict=True)]
    return generations, verdicts


def ranking(
    points: Mapping[str, Scores | None], baseline: Scores | None = None, gate: Gate | None = None
) -> SweepRecord:
    """Points by name with their scores; None: its training failed."""
    n = next(len(each) for each in points.values() if each is not None)
    items = make_items(n)
    question = Question(
        recipe="bot",
        grid={"lora.r": tuple(points)},
        items=items,
        evalset="set@1",
        judge="judge@1",
        baseline=BASELINE,
        gate=gate or make_gate(),
    )
    generations, verdicts = answers(items, "baseline", BASELINE, baseline or [3] * n)
    trained = []
    for name, scores in points.items():
        made = version(name) if scores is not None else None
        trained.append(Trained(name, {"lora.r": name}, made, None if made else "it diverged"))
        more = (
            answers(items, "candidate", version(name), scores) if scores is not None else ([], [])
        )
        generations, verdicts = generations + more[0], verdicts + more[1]
    return rank(question, trained, generations, verdicts)


def test_the_highest_mean_is_first_and_far_points_are_not_the_best() -> None:
    record = ranking(
        {"low": [2] * N, "high": [5, 4] * (N // 2), "near": [4, 5] * (N // 2 - 1) + [4, 4]}
    )
    assert [(each.name, each.rank) for each in record.points] == [
        ("high", 1),
        ("near", 2),
        ("low", 3),
    ]
    assert [each.may_be_best for each in record.points] == [True, True, False]
    assert record.problems == ()


def test_points_of_one_mean_share_a_rank_in_the_order_of_the_grid() -> None:
    record = ranking({"a": [3] * N, "b": [4] * N, "c": [4] * N})
    assert [(each.name, each.rank) for each in record.points] == [("b", 1), ("c", 1), ("a", 3)]


def test_the_bounds_allow_for_every_point_that_was_looked_at() -> None:
    rng = np.random.default_rng(3)
    scores = {name: rng.integers(1, 6, N).tolist() for name in "abcd"}
    base = rng.integers(1, 6, N).tolist()
    record = ranking(scores, base, make_gate(alpha=0.08))
    first = record.points[0]
    for point in record.points:
        assert point.comparison is not None
        changes = np.subtract(scores[point.name], base).tolist()
        expected = stats.lower_bound(changes, 0.08 / 4, *stats.DIFFERENCES)
        assert point.comparison.overall.difference.lower == pytest.approx(expected)
        assert point.comparison.overall.base is None
        if point is first:
            assert point.behind is None
            continue
        assert point.behind is not None
        ahead = np.subtract(scores[first.name], scores[point.name]).tolist()
        expected = stats.lower_bound(ahead, 0.08 / 3, *stats.DIFFERENCES)
        assert point.behind.lower == pytest.approx(expected)
        assert point.behind.mean == pytest.approx(np.mean(ahead))


def test_the_best_point_is_seldom_left_out() -> None:
    """All points are equally good, so each of them is the best one; alpha is 0.2 to see misses."""
    rng, n_rounds, n_out = np.random.default_rng(5), 120, 0
    gate = make_gate(alpha=0.2, slices={"by": None})
    for _ in range(n_rounds):
        scores = {name: rng.integers(1, 6, 30).tolist() for name in "abc"}
        [watched] = [each for each in ranking(scores, gate=gate).points if each.name == "b"]
        n_out += not watched.may_be_best
    assert 0 < n_out < 0.2 * n_rounds


def test_a_missing_score_never_helps_the_first_to_be_ahead() -> None:
    first: list[int | None] = [4] * N
    other = [3] * (N - 2) + [4, 4]
    clear = ranking({"first": first, "other": other})
    holes = ranking({"first": [None, *first[1:]], "other": other}, gate=make_gate(max_missing=0.1))
    assert clear.points[1].behind is not None
    assert holes.points[1].behind is not None
    assert clear.points[1].behind.mean is not None
    assert holes.points[1].behind.n_missing == 1
    assert holes.points[1].behind.mean == pytest.approx(clear.points[1].behind.mean - 3 / N)


def test_what_has_no_evidence_has_no_rank() -> None:
    record = ranking({"failed": None, "silent": [5] * (N - 4) + [None] * 4, "good": [4] * N})
    states = {each.name: (each.state, each.rank) for each in record.points}
    assert states == {
        "good": ("ranked", 1),
        "failed": ("failed", None),
        "silent": ("untrusted", None),
    }
    assert record.points[0].name == "good"
    assert not any(each.may_be_best for each in record.points[1:])
    assert record.problems == (
        "failed: it diverged",
        f"silent: 4 of {N} answers missing or unscored, more than the 2.00% accepted",
    )


def test_a_refused_version_is_shown_and_not_compared() -> None:
    items = make_items(N)
    question = Question(
        "bot", {"lora.r": ("1", "2")}, items, "set@1", "judge@1", BASELINE, make_gate()
    )
    base, good = (
        answers(items, "baseline", BASELINE, [3] * N),
        answers(items, "candidate", version("good"), [4] * N),
    )
    points = [
        Trained("bad", {"lora.r": 1}, version("bad"), "bad@0: the adapter changes nothing"),
        Trained("good", {"lora.r": 2}, version("good"), None),
    ]
    record = rank(question, points, base[0] + good[0], base[1] + good[1])
    assert [(each.name, each.state) for each in record.points] == [
        ("good", "ranked"),
        ("bad", "untrusted"),
    ]
    assert record.problems == ("bad@0: the adapter changes nothing",)
    assert version("bad") in shown(record)


def test_an_unscored_baseline_is_a_problem() -> None:
    record = ranking({"a": [4] * N}, [None] * N)
    assert [each.state for each in record.points] == ["ranked"]
    assert "baseline" in record.problems[0]
    assert f"{N} of {N} answers missing" in record.problems[0]


def test_the_record_survives_its_file() -> None:
    record = ranking({"a": [3, 4] * (N // 2), "b": [4] * N, "c": None})
    assert SweepRecord.model_validate(record.dump()) == record
    assert record.dump()["schema"] == 1


def shown(record: SweepRecord, width: int = 120) -> str:
    console = Console(width=width, highlight=False)
    with console.capture() as captured:
        console.print(summary(record))
    return captured.get()


def test_the_table_says_who_may_be_the_best() -> None:
    text = shown(ranking({"1": [1] * N, "8": [5, 4] * (N // 2), "4": [4, 5] * (N // 2), "2": None}))
    rows = [line.split() for line in text.splitlines()]
    assert rows[2] == [
        "1",
        "8",
        "40",
        "4.50",
        "4.30–4.65",
        "100.0%",
        "+1.50",
        "+1.14",
        version("8"),
    ]
    assert ["—", "2", *["—"] * 7, "training", "failed"] in rows
    assert "3.50 *" in text
    assert "8 has the highest mean; 4 cannot be told apart from it on 40 items" in text
    assert "95% for all 4 points together" in text
    assert "2: it diverged" in text


def test_the_table_counts_what_was_not_scored() -> None:
    text = shown(
        ranking({"a": [4] * (N - 1) + [None], "b": [1] * N}, gate=make_gate(max_missing=0.1))
    )
    assert f"{N - 1}/{N}" in text
    assert "a is ahead of every other point" in text


def test_one_point_was_not_chosen() -> None:
    assert "was chosen by its score" in shown(ranking({"a": [4] * N, "b": [1] * N}))
    text = shown(ranking({"a": [4] * N}))
    assert "a sweep moves no alias" in text
    assert "was chosen by its score" not in text


def test_nothing_to_rank() -> None:
    record = ranking({"a": [None] * N})
    assert record.ranked == ()
    assert "no point can be ranked" in shown(record)
