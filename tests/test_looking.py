"""A round's judging by looks, from the drawn order to the decision; the judge is scripted."""

from __future__ import annotations

import asyncio
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from harness import jsonio
from harness.evaluation.cache import Cache
from harness.evaluation.client import Client
from harness.evaluation.judging.budget import BudgetSpent
from harness.evidence import Evidence, judge_answers
from harness.looking import compare_judged, open_looks, read_looks, register
from harness.pipeline import find_evidence
from harness.plan import Plan, plan_evaluation
from harness.precision import foretell
from harness.progress import Reporter
from harness.recipe import load
from harness.release.gate import decide
from harness.run import Run, read_records, write_records
from harness.sides import Sides, choose_judges
from harness.store import Store
from harness.types import Comparison, Decision, Generation, LookPlan, ProbeReport, Role, Verdict
from tests import fakes
from tests.workbench import write_recipe

CANDIDATE, BASELINE = "bot@" + "c" * 12, "bot@" + "b" * 12
KINDS = ("sum", "product")
N = 60
NOTHING = Evidence((), (), (), {}, False)
Scores = Callable[[int, str], int | None]
"""Place of the item and its slice → what the answer is worth; None: there is none."""


def equal(place: int, kind: str) -> int:
    return 3 + place % 3


def reads_the_score(body: dict[str, Any]) -> fakes.Reply:
    """The answers say what they are worth."""
    if "messages" not in body:
        return 200, {}
    found = re.search(r"worth (\d)", body["messages"][-1]["content"])
    assert found
    return fakes.says(f"score {found[1]}")


def plan_for(folder: Path, url: str, n: int = N, *, gate: Any = None, **judge: Any) -> Plan:
    judge = {"model": "judge", "endpoint": url, "api_key_env": "JUDGE_KEY", "timeout_s": 20,
             "fitness": {"probes": 0}, **judge}  # fmt: skip
    path = write_recipe(
        folder, judge=judge, gate={"baseline": "prod", "margin": 0.5} | (gate or {})
    )
    items = [
        {
            "messages": [{"role": "user", "content": f"What is {place} and {place}?"}],
            "reference": f"It is {place}.",
            "tags": {"type": KINDS[place % 2]},
        }
        for place in range(n)
    ]
    jsonio.write_jsonl(folder / "evalset" / "items.jsonl", items)
    return plan_evaluation(load(path))


def answered(plan: Plan, candidate: Scores, baseline: Scores = equal) -> list[Generation]:
    sides: dict[Role, Scores] = {"candidate": candidate, "baseline": baseline}
    return [
        _answer(item.id, role, place, scores(place, item.tags["type"]))
        for role, scores in sides.items()
        for place, item in enumerate(plan.evalset.items)
    ]


def _answer(item_id: str, role: Role, place: int, score: int | None) -> Generation:
    state, text = ("failed", "") if score is None else ("ok", f"{role} {place}: worth {score}")
    return Generation.model_validate({
        "item_id": item_id, "role": role, "model": CANDIDATE if role == "candidate" else BASELINE,
        "state": state, "text": text, "n_prompt_tokens": 5, "n_tokens": 3,
        "error": "timed out" if score is None else None,
    })  # fmt: skip


class Round:
    """A run that is judged, compared and decided as `gather` and `conclude` do."""

    def __init__(self, plan: Plan, home: Path, name: str = "one") -> None:
        self.plan, self.store, self.home = plan, Store(home), home
        self.run = Run(home / "runs" / name)
        self.sides: Sides = choose_judges(plan, self.store)._replace(
            candidate=CANDIDATE, baseline=BASELINE
        )

    def judge(self, answers: Sequence[Generation], at: str = "2030-01-01") -> Decision:
        number = register(self.plan, self.store, self.sides, self.run, at)
        looks = open_looks(self.plan, self.store, self.sides, self.run, number)

        async def go() -> Any:
            with Cache(self.home / "cache.sqlite") as cache, Reporter() as reporter:
                return await judge_answers(
                    self.plan, self.sides, self.run, answers, chats={},
                    client=Client("http://127.0.0.1:9"), cache=cache, reporter=reporter,
                    looks=looks, rules=(),
                )  # fmt: skip

        scored = asyncio.run(go())
        self.n_calls, self.verdicts = scored.n_calls, scored.verdicts
        comparison = compare_judged(self.plan, self.sides, answers, scored.verdicts, scored.looks)
        jsonio.write_json(self.run.comparison_path, comparison.dump())
        decision = decide(comparison, self.plan.recipe.gate, scored.rules)
        jsonio.write_json(self.run.decision_path, decision.dump())
        return decision

    @property
    def comparison(self) -> Comparison:
        return Comparison.model_validate(jsonio.read_json(self.run.comparison_path))

    @property
    def looks(self) -> LookPlan:
        found = read_looks(self.run)
        assert found
        return found

    def files(self) -> list[bytes]:
        paths = (self.run.comparison_path, self.run.decision_path, self.run.looks_path,
                 self.run.verdicts_path)  # fmt: skip
        return [path.read_bytes() for path in paths]


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUDGE_KEY", "none-needed")


def test_an_equal_candidate_on_many_items_is_decided_early(tmp_path: Path) -> None:
    with fakes.endpoint(reads_the_score) as judge:
        early = Round(plan_for(tmp_path / "a", judge.url), tmp_path / "early")
        answers = answered(early.plan, equal)
        decision = early.judge(answers)
        n_early = len(judge.requests)
        whole = Round(plan_for(tmp_path / "b", judge.url, gate={"looks": 1}), tmp_path / "whole")
        assert whole.judge(answers).status == decision.status == "pass"
    look = early.comparison.look
    assert look
    assert look.number < look.of == 4
    assert look.n_planned == N
    size = early.looks.sizes[look.number - 1]
    assert early.looks.taken == look.number
    assert n_early == early.n_calls == 2 * size < whole.n_calls == 2 * N
    assert whole.comparison.look
    assert (whole.comparison.look.of, whole.comparison.look.tail) == (1, 0.05)


def test_the_next_candidate_pays_for_no_verdict_of_the_baseline_again(tmp_path: Path) -> None:
    """Both stop early, so the same items of the baseline have to be asked for."""

    def better(place: int, kind: str) -> int:
        return 5 if place % 3 == 1 else equal(place, kind)

    with fakes.endpoint(reads_the_score) as judge:
        plan = plan_for(tmp_path, judge.url)
        one, other = (Round(plan, tmp_path / "home", name) for name in ("one", "other"))
        other.sides = other.sides._replace(candidate="bot@" + "d" * 12)
        one.judge(answered(plan, equal))
        judge.requests.clear()
        other.judge(answered(plan, better))
        asked = [each["messages"][-1]["content"] for each in judge.requests]
    assert one.looks.taken
    assert other.looks.taken
    assert other.looks.taken <= one.looks.taken < 4
    assert other.looks.order == one.looks.order
    assert asked
    assert not [text for text in asked if "baseline" in text]


def test_another_evalset_or_judge_has_another_order(tmp_path: Path) -> None:
    plan = plan_for(tmp_path / "a", "http://127.0.0.1:9")
    one = Round(plan, tmp_path / "home")
    other = Round(plan_for(tmp_path / "b", "http://127.0.0.1:9", model="other"), tmp_path / "home")
    assert one.plan.evalset.items == other.plan.evalset.items
    sides = one.sides._replace(candidate="bot@" + "d" * 12, baseline="bot@" + "e" * 12)
    first, same, judged, asked = (
        open_looks(of, one.store, by, one.run, 1).order
        for of, by in (
            (plan, one.sides),
            (plan, sides),
            (other.plan, other.sides),
            (replace(plan, evalset=plan.evalset._replace(digest="f" * 64)), one.sides),
        )
    )
    assert first == same
    assert len({first, judged, asked}) == 3


def test_items_that_were_not_judged_are_neither_missing_nor_scored(tmp_path: Path) -> None:
    with fakes.endpoint(reads_the_score) as judge:
        one = Round(plan_for(tmp_path, judge.url), tmp_path / "home")
        one.judge(answered(one.plan, equal))
    comparison, taken = one.comparison, one.looks.taken
    assert taken
    judged = set(one.looks.order[: one.looks.sizes[taken - 1]])
    assert {pair.item_id for pair in comparison.pairs} == judged
    assert {each.item_id for each in one.verdicts} == judged
    for part in (comparison.overall, *comparison.slices):
        assert part.difference.n_missing == 0
        for side in (part.candidate, part.baseline):
            assert (side.n_unscored, side.n_failed) == (0, 0)
            assert side.n_items == side.n_scored == part.difference.n_pairs
    assert comparison.overall.difference.n_pairs == len(judged) < N
    assert len(read_records(one.run.verdicts_path, Verdict)) == 2 * len(judged)
    assert [part.guarded for part in comparison.slices] == [True, True]


def test_the_order_is_written_before_the_first_question(tmp_path: Path) -> None:
    seen: list[LookPlan | None] = []

    def reply(body: dict[str, Any]) -> fakes.Reply:
        seen.append(read_looks(one.run))
        return reads_the_score(body)

    with fakes.endpoint(reply) as judge:
        one = Round(plan_for(tmp_path, judge.url, concurrency=1), tmp_path / "home")
        one.judge(answered(one.plan, equal))
        asked = [re.search(r"\w+ (\d+): worth", each["messages"][-1]["content"])
                 for each in judge.requests]  # fmt: skip
    assert seen
    assert all(each and each.taken is None for each in seen)
    assert {each.order for each in seen if each} == {one.looks.order}
    place = {item.id: str(place) for place, item in enumerate(one.plan.evalset.items)}
    first = {place[item_id] for item_id in one.looks.order[: one.looks.sizes[0]]}
    assert {found[1] for found in asked[: 2 * len(first)] if found} == first


def test_an_interrupted_judging_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    """Stopped by its budget again and again, in every look."""

    def scores(place: int, kind: str) -> int:
        return equal(place, kind) - (place % 9 == 0)

    with fakes.endpoint(reads_the_score) as judge:
        straight = Round(plan_for(tmp_path / "a", judge.url), tmp_path / "straight")
        straight.judge(answered(straight.plan, scores))
        n_calls = len(judge.requests)
        assert n_calls == straight.n_calls
        judge.requests.clear()
        n_stops = 0
        for limit in range(5, 150, 10):
            plan = plan_for(tmp_path / "b", judge.url, budget={"calls": limit})
            pieces = Round(plan, tmp_path / "pieces")
            try:
                pieces.judge(answered(plan, scores), at=f"2030-01-{limit % 28 + 1:02}")
                break
            except BudgetSpent:
                n_stops += 1
                assert not pieces.run.comparison_path.exists()
        assert n_stops > 3
        assert len(judge.requests) == n_calls
        asked = [each["messages"][-1]["content"] for each in judge.requests]
        assert len(set(asked)) == len(asked)
        files = pieces.files()
        assert files == straight.files()
        pieces.judge(answered(plan, scores), at="2031-01-01")
        assert len(judge.requests) == n_calls
        assert pieces.files() == files
    assert len(pieces.store.attempts.read().attempts) == 1


def test_later_attempts_leave_an_earlier_decision_as_it_was(tmp_path: Path) -> None:
    with fakes.endpoint(reads_the_score) as judge:
        plan = plan_for(tmp_path, judge.url)
        one = Round(plan, tmp_path / "home")
        one.judge(answered(plan, equal))
        files = one.files()
        for number in range(20):
            other = Round(plan, tmp_path / "home", f"other {number}")
            other.sides = other.sides._replace(candidate=f"bot@{number:012}")
            register(plan, other.store, other.sides, other.run, "2030-01-02")
        last = other.judge(answered(plan, equal))
        one.judge(answered(plan, equal))
    assert one.files() == files
    assert other.looks.attempt == 21
    [rule] = [each for each in last.rules if each.rule == "attempts"]
    assert "attempt 21" in rule.sentence
    assert f"{N} of {N} items are burned" in rule.sentence


def test_a_stricter_attempt_has_smaller_tails(tmp_path: Path) -> None:
    with fakes.endpoint(reads_the_score) as judge:
        plan = plan_for(tmp_path, judge.url, gate={"looks": 1, "attempts": "strict"})
        tails = []
        for name in ("one", "two"):
            each = Round(plan, tmp_path / "home", name)
            each.judge(answered(plan, equal))
            assert each.comparison.look
            tails.append(each.comparison.tail)
    assert tails == [0.05 / 2, 0.05 / 6]


def test_an_attempt_cannot_be_made_an_earlier_one(tmp_path: Path) -> None:
    with fakes.endpoint(reads_the_score) as judge:
        plan = plan_for(tmp_path, judge.url, gate={"attempts": "strict"})
        for name in ("one", "two"):
            each = Round(plan, tmp_path / "home", name)
            each.judge(answered(plan, equal))
        first = read_looks(Run(tmp_path / "home" / "runs" / "one"))
        assert first
        jsonio.write_json(each.run.looks_path, first.dump())
        each.judge(answered(plan, equal))
    assert each.looks.attempt == 2


@pytest.mark.parametrize("order", ["kept", "lost", "earlier", "before there were attempts"])
def test_a_finished_run_without_its_own_order_is_judged_again(
    order: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its bounds would forget what looks and earlier attempts cost."""
    with fakes.endpoint(reads_the_score) as judge:
        plan = plan_for(tmp_path, judge.url, gate={"looks": 1, "attempts": "strict"})
        for name in ("one", "two"):
            each, answers = Round(plan, tmp_path / "home", name), answered(plan, equal)
            each.judge(answers)
    run, store, sides = each.run, each.store, each.sides
    write_records(run.generations_path, answers)
    report = ProbeReport(version=CANDIDATE, n_rows=1, max_difference=0, tolerance=1, min_effect=1)
    jsonio.write_json(run.probe_path, report.dump())
    run.finish("judge", jsonio.digest([sides, sides.target_records, plan.serving]))
    if order == "earlier":
        jsonio.write_json(run.looks_path, each.looks.model_copy(update={"attempt": 1}).dump())
    if order in ("lost", "before there were attempts"):
        run.looks_path.unlink()
    if order == "before there were attempts":
        store.attempts.path.unlink()
    monkeypatch.setattr("harness.pipeline.served", lambda *_: NOTHING)
    found = find_evidence(
        plan, store, sides, run, Reporter(), clock=lambda: datetime(2030, 1, 1, tzinfo=UTC)
    )
    assert (found == NOTHING) == (order in ("lost", "earlier"))


def test_with_two_in_five_answers_failed_nothing_stops_early_or_passes(tmp_path: Path) -> None:
    def failed(place: int, kind: str) -> int | None:
        return None if place % 5 < 2 else 5

    def few(place: int, kind: str) -> int | None:
        return None if place >= 36 else 5

    def worst(place: int, kind: str) -> int | None:
        return None if place % 5 < 2 else 1

    with fakes.endpoint(reads_the_score) as judge:
        plan = plan_for(tmp_path, judge.url)
        for name, scores in {"failed": failed, "few": few, "worst": worst}.items():
            one = Round(plan, tmp_path / name)
            decision = one.judge(answered(plan, scores))
            assert decision.status == "untrusted", name
            assert one.looks.taken == 4
            assert one.comparison.overall.candidate.n_failed == 24
            lost = Round(plan, tmp_path / f"baseline {name}")
            assert lost.judge(answered(plan, equal, scores)).status == "untrusted"
            assert lost.looks.taken == 4


def test_a_judge_that_loses_answers_neither_passes_nor_fails_early(tmp_path: Path) -> None:
    def reply(body: dict[str, Any]) -> fakes.Reply:
        if "messages" in body and "worth 3" in body["messages"][-1]["content"]:
            return 400, {"error": {"message": "not now"}}
        return reads_the_score(body)

    with fakes.endpoint(reply) as judge:
        one = Round(plan_for(tmp_path, judge.url), tmp_path / "home")
        assert one.judge(answered(one.plan, equal)).status == "untrusted"
    assert one.looks.taken == 4


def test_a_drop_in_one_slice_keeps_the_whole_from_passing_early(tmp_path: Path) -> None:
    def dropped(place: int, kind: str) -> int:
        return 5 if kind == "product" else equal(place, kind) - 1

    with fakes.endpoint(reads_the_score) as judge:
        plan = plan_for(tmp_path, judge.url)
        one = Round(plan, tmp_path / "home")
        decision = one.judge(answered(plan, dropped))
    assert one.looks.taken == 4
    assert decision.status == "fail"
    [rule] = [each for each in decision.rules if each.status == "fail"]
    assert (rule.rule, rule.slice) == ("slice drop", "sum")


def test_a_slice_that_no_look_has_reached_is_judged(tmp_path: Path) -> None:
    """The first of ten looks would do for the rest, and has rarely one of the two."""
    gate = {"looks": 10, "margin": 3.9, "slices": {"min_n": 2}}
    with fakes.endpoint(reads_the_score) as judge:
        plan = plan_for(tmp_path, judge.url, gate=gate)
        items = tuple(
            item.model_copy(update={"tags": {"type": "rare" if place < 2 else "common"}})
            for place, item in enumerate(plan.evalset.items)
        )
        plan = replace(plan, evalset=plan.evalset._replace(items=items))
        for number in range(4):
            one = Round(plan, tmp_path / "home", f"{number}")
            one.sides = one.sides._replace(candidate=f"bot@{number:012}")
            assert one.judge(answered(plan, equal)).status == "pass"
            assert one.looks.taken == 10


def test_a_large_drop_of_the_whole_is_decided_early(tmp_path: Path) -> None:
    with fakes.endpoint(reads_the_score) as judge:
        plan = plan_for(tmp_path, judge.url)
        one = Round(plan, tmp_path / "home")
        assert one.judge(answered(plan, lambda *_: 1, lambda *_: 5)).status == "fail"
    assert one.looks.taken == 1
    assert one.n_calls == N // 2


@pytest.mark.parametrize(
    "gate",
    [{"thresholds": ["min >= 1"]}, {"thresholds": ["mean >= 3.5 point"]}],
    ids=["the lowest", "an estimate"],
)
def test_a_number_without_a_bound_is_judged_to_its_end(tmp_path: Path, gate: Any) -> None:
    with fakes.endpoint(reads_the_score) as judge:
        plan = plan_for(tmp_path, judge.url, gate=gate)
        one = Round(plan, tmp_path / "home")
        assert one.judge(answered(plan, equal)).status == "pass"
    assert one.looks.taken == 4


def test_an_unfit_judge_is_examined_on_what_it_judged_and_untrusted(tmp_path: Path) -> None:
    def yes(body: dict[str, Any]) -> fakes.Reply:
        return fakes.says("score 5") if "messages" in body else (200, {})

    with fakes.endpoint(yes) as judge:
        plan = plan_for(tmp_path, judge.url, fitness={"probes": 4})
        one = Round(plan, tmp_path / "home")
        decision = one.judge(answered(plan, equal))
    assert decision.status == "untrusted"
    assert one.comparison.look
    health = jsonio.read_json(one.run.health_path)
    n_own = health["together"]["n_opinions"] - len(health["probes"]) - health["n_repeated"]
    assert n_own == 2 * one.comparison.overall.difference.n_pairs < 2 * N


def test_a_damaged_order_is_drawn_again_and_is_the_same(tmp_path: Path) -> None:
    with fakes.endpoint(reads_the_score) as judge:
        one = Round(plan_for(tmp_path, judge.url), tmp_path / "home")
        answers = answered(one.plan, equal)
        one.judge(answers)
        files, n_calls = one.files(), len(judge.requests)
        one.run.looks_path.write_text("{")
        one.judge(answers)
        assert (one.files(), len(judge.requests)) == (files, n_calls)


def test_an_order_that_was_not_drawn_is_not_followed(tmp_path: Path) -> None:
    with fakes.endpoint(reads_the_score) as judge:
        one = Round(plan_for(tmp_path, judge.url), tmp_path / "home")
        answers = answered(one.plan, equal)
        one.judge(answers)
        files = one.files()
        changed = one.looks.model_copy(update={"sizes": (5, N), "tails": (0.4, 0.4)})
        jsonio.write_json(one.run.looks_path, changed.dump())
        one.judge(answers)
        assert one.files() == files


def test_what_the_evalset_can_certify_is_said_before_anything_is_spent(tmp_path: Path) -> None:
    said = {}
    for margin in (0.5, 0.2):
        plan = plan_for(tmp_path, "http://127.0.0.1:9", gate={"margin": margin})
        screen = io.StringIO()
        with Reporter(Console(file=screen, width=200)) as reporter:
            foretell(plan, Store(tmp_path / "home"), reporter)
        said[margin] = screen.getvalue().splitlines()
    enough, [line, warning] = said[0.5], said[0.2]
    assert enough == [line]
    assert f"{N} items" in line
    assert "can rule out a drop of 0." in line
    assert "are too few for gate.margin = 0.2" in warning


def test_rivals_are_an_attempt_each(tmp_path: Path) -> None:
    one = Round(plan_for(tmp_path, "http://127.0.0.1:9"), tmp_path / "home")
    rivals = one.sides._replace(rivals=("bot@" + "d" * 12,))
    for _ in range(2):
        assert register(one.plan, one.store, rivals, one.run, "2030-01-01") == 1
    found = one.store.attempts.read().attempts
    assert [each.candidate for each in found] == [CANDIDATE, "bot@" + "d" * 12]
