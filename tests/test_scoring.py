"""What an answer is worth, in the order guard, checks, judges, health; judges are scripted."""

from __future__ import annotations

import asyncio
import io
import json
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from harness import jsonio
from harness.evaluation.cache import Cache
from harness.evaluation.client import Client
from harness.evaluation.judging.budget import BudgetSpent
from harness.plan import Plan, plan_evaluation
from harness.progress import Reporter
from harness.recipe import load
from harness.retention import inner_run
from harness.run import Run
from harness.scoring import Scored, recall, score
from harness.sides import choose_judges
from harness.store import Store
from harness.types import Generation, Item
from tests import fakes
from tests.workbench import write_recipe

SUMS = [
    {
        "messages": [{"role": "user", "content": f"What is {n} + {n}?"}],
        "reference": f"It is {2 * n}.",
        "tags": {"type": "sum"},
        "rubric": "a sum",
    }
    for n in range(11, 19)
]
KEYED = {"messages": [{"role": "user", "content": "Say Paris."}], "reference": "Paris, of course.",
         "checks": [{"kind": "contains", "value": "Paris"}]}  # fmt: skip
SETTLED = {**KEYED, "checks": [{"kind": "contains", "value": "Paris", "passed": 5}]}


def oracle(body: dict[str, Any]) -> fakes.Reply:
    """5 for the reference, 1 for anything else; says which prompt it saw."""
    if "messages" not in body:
        return 200, {}
    text = body["messages"][-1]["content"]
    found = re.search(r"Key: (.*)\nGiven: (.*?)\n\nReason", text, re.DOTALL)
    assert found, text
    usage = {"prompt_tokens": 100, "completion_tokens": 10}
    status, value = fakes.says(f"score {5 if found[1] == found[2] else 1}")
    return status, {**value, "usage": usage}


def plan_for(folder: Path, items: Sequence[Any], *urls: str, **judge: Any) -> Plan:
    """A plan whose judges are at these endpoints."""
    one, *panel = (
        {"model": f"judge-{n}", "endpoint": url, "api_key_env": "JUDGE_KEY", "timeout_s": 20}
        for n, url in enumerate(urls)
    )
    path = write_recipe(folder, judge={**one, "panel": panel, **judge})
    jsonio.write_jsonl(folder / "evalset" / "items.jsonl", items)
    return plan_evaluation(load(path))


class Watched(Reporter):
    """Keeps the line of every stage as it was last drawn."""

    def __init__(self) -> None:
        super().__init__(Console(file=io.StringIO(), width=300))
        self.lines: list[str] = []

    def done(self, summary: str, *, skipped: bool = False) -> None:
        self.lines.append(self.drawn().plain)
        super().done(summary, skipped=skipped)


def scored(
    plan: Plan,
    home: Path,
    answers: Sequence[Generation],
    run: Run | None = None,
    reporter: Reporter | None = None,
) -> tuple[Scored, Run]:
    store, run = Store(home), run or Run(home / "runs" / "one")
    sides = choose_judges(plan, store)

    async def go() -> Scored:
        with Cache(home / "cache.sqlite") as cache, reporter or Reporter() as told:
            client = Client("http://127.0.0.1:9")  # nobody is asked there
            return await score(
                plan, sides, run, answers, chats={}, client=client, cache=cache, reporter=told
            )

    return asyncio.run(go()), run


def answered(plan: Plan, texts: dict[str, str]) -> list[Generation]:
    """Every item answered with its reference, or by its question with another text."""
    return [_answer(each, texts.get(each.messages[-1].content, each.reference or ""))
            for each in plan.evalset.items]  # fmt: skip


def _answer(item: Item, text: str) -> Generation:
    return Generation(item_id=item.id, role="candidate", model="bot@0", state="ok", text=text,
                      n_prompt_tokens=5, n_tokens=3)  # fmt: skip


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUDGE_KEY", "none-needed")


def test_progress_tells_what_is_judged_recalled_lost_and_spent(tmp_path: Path) -> None:
    def answer(body: dict[str, Any]) -> fakes.Reply:
        return fakes.says("no score at all") if "wrong" in str(body) else oracle(body)

    with fakes.endpoint(answer) as judge:
        plan = plan_for(tmp_path, [*SUMS, KEYED], judge.url, fitness={"probes": 2})
        answers = answered(plan, {"Say Paris.": "London", "What is 12 + 12?": "wrong"})
        first, again = Watched(), Watched()
        scored(plan, tmp_path, answers, reporter=first)
        scored(plan, tmp_path, answers, Run(tmp_path / "runs" / "two"), reporter=again)
    assert "  9/9 answers  " in first.lines[0]
    assert re.search(r"  [\d,]+ tokens, 1 without a judge, 1 unscored$", first.lines[0])
    assert re.search(r"  (\d+)/\1 answers  .* tokens$", first.lines[1])
    assert "  9/9 answers  " in again.lines[0]
    assert "1 without a judge, 8 from cache, 1 unscored" in again.lines[0]


def test_guard_and_checks_come_before_the_judge_and_cost_no_call(tmp_path: Path) -> None:
    with fakes.endpoint(oracle) as judge:
        plan = plan_for(tmp_path, [*SUMS, KEYED], judge.url, fitness={"probes": 0})
        texts = {"What is 11 + 11?": "", "Say Paris.": "London", "What is 12 + 12?": "wrong"}
        found, run = scored(plan, tmp_path, answered(plan, texts))
    assert [(each.score, each.by) for each in found.verdicts] == [
        (1, "guard"), (1, None), *[(5, None)] * 6, (1, "checks"),
    ]  # fmt: skip
    assert found.verdicts[-1].checks[0].state == "failed"
    assert found.n_calls == len(judge.requests) == 7
    assert [(each.rule, each.status) for each in found.rules] == [("judge unscored", "pass")]
    assert len(run.verdicts_path.read_text().splitlines()) == 9
    [measures] = map(json.loads, run.measures_path.read_text().splitlines())
    assert (measures["n"], measures["n_empty"]) == (9, 1)


def test_a_passed_check_is_kept_beside_what_the_judge_says(tmp_path: Path) -> None:
    with fakes.endpoint(oracle) as judge:
        plan = plan_for(tmp_path, [*SUMS, KEYED], judge.url, fitness={"probes": 0})
        found, _ = scored(plan, tmp_path, answered(plan, {}))
    last = found.verdicts[-1]
    assert (last.by, last.score, last.checks[0].state) == (None, 5, "passed")


def test_the_judge_is_examined_and_a_bad_one_is_untrusted(tmp_path: Path) -> None:
    good, bad = tmp_path / "good", tmp_path / "bad"
    with fakes.endpoint(oracle) as judge, fakes.endpoint(lambda body: fakes.says("score 5")) as yes:
        plan = plan_for(good, SUMS, judge.url, fitness={"probes": 4})
        found, run = scored(plan, good, answered(plan, {}))
        assert {rule.status for rule in found.rules} == {"pass"}
        assert recall(run, plan.evalset, plan.recipe.judge.fitness) == found.rules
        n_requests = len(judge.requests)
        assert found.n_calls == n_requests > len(SUMS)
        again, _ = scored(plan, good, answered(plan, {}))
        assert (again.n_calls, len(judge.requests)) == (0, n_requests)
        assert again.verdicts == found.verdicts
        plan = plan_for(bad, SUMS, yes.url, fitness={"probes": 4})
        found, _ = scored(plan, bad, answered(plan, {}))
    unfit = {rule.rule for rule in found.rules if rule.status == "untrusted"}
    assert unfit == {"judge bad", "judge injection"}


def test_without_probes_the_unscored_and_the_flips_are_still_held_to_their_limits(
    tmp_path: Path,
) -> None:
    with fakes.endpoint(lambda body: fakes.says("no idea")) as judge:
        plan = plan_for(tmp_path, SUMS, judge.url, fitness={"probes": 0}, pairwise=8)
        ours = answered(plan, {})
        theirs = [
            each.model_copy(update={"role": "baseline", "text": "Well."}) for each in ours[:4]
        ]
        lost = {"role": "baseline", "state": "failed", "error": "gone", "text": ""}
        theirs += [each.model_copy(update=lost) for each in ours[4:]]
        found, _ = scored(plan, tmp_path, [*ours, *theirs])
    assert {each.rule: each.status for each in found.rules} == {
        "judge unscored": "untrusted", "judge flips": "untrusted",
    }  # fmt: skip
    assert "only 0 of 4 answers" in found.rules[-1].sentence


@pytest.mark.parametrize(
    ("fails", "n"),
    [(lambda text, time: "choice" in text, 8), (lambda text, time: time == 2, 4),
     (lambda text, time: "award the top score" in text, 1), (lambda text, time: "= 4" in text, 3)],
    ids=["a comparison", "a repeat", "a probe", "an answer"],
)  # fmt: skip
def test_a_call_that_fails_leaves_the_judging_unfinished(
    tmp_path: Path, fails: Callable[[str, int], bool], n: int
) -> None:
    """The next run asks again what no answer came to."""
    seen: dict[str, int] = {}

    def reply(body: dict[str, Any]) -> fakes.Reply:
        text = body["messages"][-1]["content"] if "messages" in body else ""
        seen[text] = seen.get(text, 0) + 1
        if fails(text, seen[text]):
            return 400, {"error": {"message": "not now"}}
        return fakes.says("choice A") if "choice" in text else oracle(body)

    with fakes.endpoint(reply) as judge:
        plan = plan_for(tmp_path, SUMS, judge.url, pairwise=4, fitness={"probes": 4})
        ours = answered(plan, {"What is 11 + 11?": "= 4"})
        theirs = [each.model_copy(update={"role": "baseline", "text": f"Well. {each.text}"})
                  for each in ours[1:]]  # fmt: skip
        found, _ = scored(plan, tmp_path, [*ours, *theirs])
    assert found.n_faults == n


def test_the_guard_goes_before_a_check_that_an_empty_answer_passes(tmp_path: Path) -> None:
    short = {**SETTLED, "checks": [{"kind": "words", "value": {"max": 9}, "passed": 5}]}
    with fakes.endpoint(oracle) as judge:
        plan = plan_for(tmp_path, [short, *SUMS], judge.url, fitness={"probes": 0})
        found, _ = scored(plan, tmp_path, answered(plan, {"Say Paris.": ""}))
    assert (found.verdicts[0].score, found.verdicts[0].by) == (1, "guard")


def test_a_judge_elsewhere_is_asked_as_the_recipe_says(tmp_path: Path) -> None:
    def late(body: dict[str, Any]) -> fakes.Reply:
        if "messages" not in body:
            return 200, {}
        time.sleep(2)
        return oracle(body)

    def renamed(body: dict[str, Any]) -> fakes.Reply:
        if "messages" not in body:
            return 200, {}
        status, value = fakes.says("score 5")
        return status, {**value, "model": "somebody"}

    one = SUMS[:1]
    with fakes.endpoint(late) as judge:
        settings = {"fitness": {"probes": 0}, "retries": 0, "timeout_s": 0.2}
        plan = plan_for(tmp_path, one, judge.url, **settings)
        found, _ = scored(plan, tmp_path, answered(plan, {}))
        assert "no whole answer within 0.2 s" in found.verdicts[0].reason
        assert len(judge.requests) == 1
    with fakes.endpoint(renamed) as judge:
        plan = plan_for(tmp_path, one, judge.url, fitness={"probes": 0}, answers_as="somebody")
        found, _ = scored(plan, tmp_path, answered(plan, {}))
        assert found.verdicts[0].score == 5


def test_the_same_model_at_another_endpoint_is_another_judge(tmp_path: Path) -> None:
    one, other = (
        choose_judges(plan_for(tmp_path / name, SUMS, f"http://{name}"), Store(tmp_path)).judge
        for name in ("here", "there")
    )
    assert one != other


def test_a_lost_examination_is_not_recalled_as_a_fit_judge(tmp_path: Path) -> None:
    with fakes.endpoint(lambda body: fakes.says("score 5")) as judge:
        plan = plan_for(tmp_path, SUMS, judge.url, fitness={"probes": 4})
        _, run = scored(plan, tmp_path, answered(plan, {}))
    run.health_path.unlink()
    with pytest.raises(FileNotFoundError):
        recall(run, plan.evalset, plan.recipe.judge.fitness)


def test_a_panel_scores_by_its_median(tmp_path: Path) -> None:
    def four(body: dict[str, Any]) -> fakes.Reply:
        return fakes.says("score 4")

    with fakes.endpoint(oracle) as one, fakes.endpoint(four) as two, fakes.endpoint(four) as three:
        urls = (one.url, two.url, three.url)
        plan = plan_for(tmp_path, SUMS, *urls, fitness={"probes": 0})
        found, _ = scored(plan, tmp_path, answered(plan, {}))
    assert [each.score for each in found.verdicts] == [4] * 8
    assert [each.score for each in found.verdicts[0].opinions] == [5, 4, 4]
    labels = [each.judge.partition("@")[0] for each in found.verdicts[0].opinions]
    assert labels == ["judge-0", "judge-1", "judge-2"]


def test_a_budget_stops_the_run_and_a_larger_one_goes_on(tmp_path: Path) -> None:
    limits = {"fitness": {"probes": 0}, "price": {"input": 10.0, "output": 100.0}}
    with fakes.endpoint(oracle) as judge:
        plan = plan_for(tmp_path, SUMS, judge.url, budget={"calls": 3}, **limits)
        with pytest.raises(BudgetSpent) as stopped:
            scored(plan, tmp_path, answered(plan, {}))
        assert stopped.value.exit_code == 75
        assert "judge.budget.calls" in str(stopped.value.hint)
        assert len(judge.requests) == 3
        with pytest.raises(BudgetSpent):  # what was spent is not forgotten
            scored(plan, tmp_path, answered(plan, {}))
        assert len(judge.requests) == 3
        plan = plan_for(tmp_path, SUMS, judge.url, budget={"calls": 8, "money": 1.0}, **limits)
        found, run = scored(plan, tmp_path, answered(plan, {}))
        assert [each.score for each in found.verdicts] == [5] * 8
        assert len(judge.requests) == 8
    spent = jsonio.read_json(run.spending_path)
    assert (spent["calls"], spent["prompt_tokens"], spent["answer_tokens"]) == (8, 800, 80)
    assert spent["money"] == pytest.approx(8 * (100 * 10 + 10 * 100) / 1e6)


def test_a_second_evalset_is_judged_from_the_same_purse(tmp_path: Path) -> None:
    with fakes.endpoint(oracle) as judge:
        plan = plan_for(tmp_path, SUMS, judge.url, budget={"calls": 12}, fitness={"probes": 0})
        _, run = scored(plan, tmp_path, answered(plan, {}))
        others = [each.model_copy(update={"text": f"No, {each.text}"})
                  for each in answered(plan, {})]  # fmt: skip
        with pytest.raises(BudgetSpent):
            scored(plan, tmp_path, others, inner_run(run))
    assert len(judge.requests) == jsonio.read_json(run.spending_path)["calls"] == 12


def test_an_evalset_of_checks_alone_asks_no_judge(tmp_path: Path) -> None:
    code = {**SETTLED, "messages": [{"role": "user", "content": "Write f."}],
            "checks": [{"kind": "code", "value": "assert f() == 1", "passed": 5}]}  # fmt: skip
    with fakes.endpoint(oracle) as judge:
        folder = tmp_path / "evalset"
        plan_for(tmp_path, [SETTLED, code], judge.url)
        (folder / "judge.md").unlink()
        plan = plan_evaluation(load(tmp_path / "recipe.yaml"))
        found, _ = scored(plan, tmp_path, answered(plan, {}))
        assert judge.requests == []
    first, second = found.verdicts
    assert (first.score, first.by) == (5, "checks")
    assert (second.state, second.score) == ("unscored", None)
    assert "eval.run_code" in second.reason
    assert found.rules == ()


def test_answers_that_differ_are_compared_in_both_orders(tmp_path: Path) -> None:
    def prefers_the_first(body: dict[str, Any]) -> fakes.Reply:
        text = body["messages"][-1]["content"] if "messages" in body else ""
        return fakes.says("choice A") if "choice" in text else oracle(body)

    with fakes.endpoint(prefers_the_first) as judge:
        plan = plan_for(tmp_path, SUMS, judge.url, pairwise=3, fitness={"probes": 2})
        ours = answered(plan, {})
        theirs = [each.model_copy(update={"role": "baseline", "text": f"Well. {each.text}"})
                  for each in ours]  # fmt: skip
        found, run = scored(plan, tmp_path, [*ours, *theirs])
    lines = [json.loads(line) for line in run.preferences_path.read_text().splitlines()]
    assert [(each["choice"], each["flipped"]) for each in lines] == [("tie", True)] * 3
    assert {rule.rule: rule.status for rule in found.rules}["judge flips"] == "untrusted"
