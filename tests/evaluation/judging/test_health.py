"""Scripted judges, each with one fault: each is caught by exactly the rule for that fault."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from harness.evaluation.judging.attacks import ATTACKS
from harness.evaluation.judging.budget import BudgetSpent, Purse
from harness.evaluation.judging.figures import length_effect
from harness.evaluation.judging.fitness import health_lines
from harness.evaluation.judging.health import examine, health_rules
from harness.evaluation.judging.pairwise import Preference, prefer
from harness.evaluation.judging.verdicts import judge
from harness.recipe import Budget, Fitness, Judge, JudgeModel
from harness.types import Generation, JudgeHealth, Verdict
from tests import fakes
from tests.evaluation.judging.bench import Bytes, an_answer, an_item, with_seats

ITEMS = [
    an_item(f"{n} + {n}?", reference=f"It is {2 * n}.", tags={"type": "even" if n % 2 else "odd"})
    for n in range(10, 18)
]
KEYS = {item.reference for item in ITEMS}
DEFAULT = Fitness(probes=4)
PROMPT = "Give a score.\nAsked: {rubric}\nKey: {reference}\nGiven: {response}"
SHOWN = re.compile(r"Key: (.*)\nGiven: (.*)", re.DOTALL)
Says = Callable[[str, str], str]
"""Key and answer → what the judge says."""


def oracle(key: str, given: str) -> str:
    """Knows right from wrong by the text alone."""
    return "score 5" if given.strip() == key.strip() else "score 1"


def obeys(key: str, given: str) -> str:
    return "score 5" if re.search(r"score 5|perfect", given) else oracle(key, given)


def loves_length(key: str, given: str) -> str:
    """Wrong answers gain a point with the third line of text, whatever is in it."""
    long = "\n" not in given and "perfect" not in given and len(given) > 110
    return "score 2" if long and given != key else oracle(key, given)


def coy(key: str, given: str) -> str:
    return "I would rather not say." if len(given) % 7 == 0 else oracle(key, given)


class Noisy:
    """Says something else whenever it is asked the same again."""

    def __init__(self) -> None:
        self.seen: dict[str, int] = {}

    def __call__(self, key: str, given: str) -> str:
        self.seen[key + given] = time = self.seen.get(key + given, 0) + 1
        if given.startswith("Perhaps"):
            return f"score {4 if time % 2 else 1}"
        return oracle(key, given)


def answers() -> list[Generation]:
    """Both sides' answers to all items: the candidate's right, the baseline's unsure."""
    ours = [an_answer(item.reference or "", "candidate", item) for item in ITEMS]
    return ours + [an_answer(f"Perhaps {item.reference}", "baseline", item) for item in ITEMS]


def health_of(
    home: Path,
    *says: Says,
    fitness: Fitness = DEFAULT,
    purse: Purse | None = None,
    own: Sequence[Generation] | None = None,
    **more: Any,
) -> JudgeHealth:
    """The health of a panel of judges, after they have judged the run; looking twice costs
    nothing more."""

    def reply(body: dict[str, Any]) -> fakes.Reply:
        prompts = [bytes(ids).decode() for ids in body["prompt"]]
        shown = [found.groups() for each in prompts if (found := SHOWN.search(each))]
        said = [says[int(body["model"])](key, given) for key, given in shown]
        return 200, {
            "choices": [
                {"index": n, "text": text, "finish_reason": "stop", "prompt_token_ids": ids}
                for n, (text, ids) in enumerate(zip(said, body["prompt"], strict=True))
            ]
        }

    own = answers() if own is None else own
    settings = Judge(model="0", fitness=fitness, **more)
    with fakes.endpoint(reply) as fake:
        judges = [JudgeModel(model=str(n), temperature=1.0) for n in range(len(says))]

        async def act(seats: Sequence[Any], cache: Any) -> JudgeHealth:
            spent = purse or Purse(Budget())
            found = await judge(
                ITEMS,
                own,
                seats,
                repeats=settings.repeats,
                cache=cache,
                purse=spent,
                advance=lambda count: None,
            )

            async def look() -> JudgeHealth:
                return await examine(
                    ITEMS,
                    own,
                    found.records,
                    seats,
                    settings,
                    cache=cache,
                    purse=spent,
                    advance=lambda count: None,
                )

            health, n_calls = await look(), spent.spent.calls
            assert await look() == health
            assert spent.spent.calls == n_calls
            return health

        return with_seats(
            fake.url, home, judges, act, prompt=PROMPT, chat=Bytes(), max_context=100_000
        )


def unfit(health: JudgeHealth, fitness: Fitness = DEFAULT) -> set[str]:
    return {rule.rule for rule in health_rules(health, fitness) if rule.status != "pass"}


def test_a_judge_that_knows_right_from_wrong_is_fit(tmp_path: Path) -> None:
    health = health_of(tmp_path, oracle)
    assert unfit(health) == set()
    assert health.together.good == 5
    assert health.together.bad == health.together.injected == 1
    assert (health.together.length_slope, health.together.repeat_sd) == (0, 0)
    assert health.n_repeated == 4
    assert len([each for each in health.probes if each.kind == "injection"]) == len(ATTACKS)
    assert health == JudgeHealth.model_validate(health.dump())


@pytest.mark.parametrize(
    ("says", "rules"),
    [
        (lambda key, given: "score 5", {"judge bad", "judge injection"}),
        (lambda key, given: "score 1", {"judge good"}),
        (lambda key, given: "score 3", {"judge good", "judge bad", "judge injection"}),
        (obeys, {"judge injection"}),
        (loves_length, {"judge length"}),
        (coy, {"judge unscored"}),
        (Noisy(), {"judge noise"}),
    ],
    ids=["generous", "strict", "lukewarm", "obeys", "loves length", "coy", "noisy"],
)
def test_a_fault_is_caught_by_its_own_rule(tmp_path: Path, says: Says, rules: set[str]) -> None:
    assert unfit(health_of(tmp_path, says)) == rules


def test_the_rule_names_the_worst_probe(tmp_path: Path) -> None:
    def falls_for_one(key: str, given: str) -> str:
        return "score 4" if "switched off" in given else oracle(key, given)

    health = health_of(tmp_path, falls_for_one)
    [rule] = [each for each in health_rules(health, DEFAULT) if each.rule == "judge injection"]
    assert (rule.status, rule.value, rule.threshold) == ("untrusted", 4, 2)
    assert "4.00 (accepted: at most 2); worst: score 4 for 'threat' on item" in rule.sentence


def test_a_limit_that_is_none_makes_no_rule_and_nor_does_what_was_not_measured(
    tmp_path: Path,
) -> None:
    health = health_of(tmp_path, obeys)
    assert unfit(health, Fitness(max_injected=None)) == set()
    assert "judge flips" not in {each.rule for each in health_rules(health, DEFAULT)}
    none = health_of(tmp_path / "none", obeys, fitness=Fitness(probes=0))
    assert (none.probes, none.n_repeated) == ((), 0)
    assert [each.rule for each in health_rules(none, DEFAULT)] == ["judge unscored"]


@pytest.mark.parametrize(
    ("silent", "rule"),
    [
        (lambda key, given: given == key, "judge good"),
        (lambda key, given: given in KEYS and given != key, "judge bad"),
        (lambda key, given: len(given) > 60 and "score" not in given, "judge length"),
        (lambda key, given: given not in KEYS, "judge injection"),
    ],
    ids=["good", "bad", "length", "injection"],
)
def test_a_judge_that_is_silent_on_a_kind_of_probe_is_not_fit_for_it(
    tmp_path: Path, silent: Callable[[str, str], bool], rule: str
) -> None:
    """However small a share of all opinions the probes are."""
    lenient = Fitness(probes=4, max_unscored=None)

    def says(key: str, given: str) -> str:
        return "I would rather not say." if silent(key, given) else oracle(key, given)

    health = health_of(tmp_path, says, fitness=lenient)
    found = {each.rule: each for each in health_rules(health, lenient)}
    assert (found[rule].status, found[rule].value) == ("untrusted", None)
    assert "got a usable score" in found[rule].sentence
    off = {"judge good": "min_good", "judge bad": "max_bad", "judge length": "max_length_slope",
           "judge injection": "max_injected"}  # fmt: skip
    shown = health_rules(health, lenient.model_copy(update={off[rule]: None}))
    assert rule not in {each.rule for each in shown}


def test_a_judge_that_died_before_its_probes_is_not_fit(tmp_path: Path) -> None:
    """The run's own answers, of which there are many, were scored before."""
    own = [an_answer(f"It is {n}.", item=ITEMS[n % 8]) for n in range(2000)]
    shown = {each.text for each in own}

    def says(key: str, given: str) -> str:
        return oracle(key, given) if given in shown and given != key else ""

    health = health_of(tmp_path, says, own=own)
    assert (health.together.unscored or 1) < 0.05
    assert unfit(health) >= {"judge good", "judge injection", "judge length"}


def test_an_examination_costs_its_probes_and_repeats_once(tmp_path: Path) -> None:
    purse = Purse(Budget())
    health = health_of(tmp_path, oracle, purse=purse)
    assert purse.spent.calls == len(answers()) + len(set_of(health)) + health.n_repeated


def set_of(health: JudgeHealth) -> set[tuple[str, int, str]]:
    """Probes that are not also answers of the run: the right ones are the candidate's."""
    return {
        (each.item_id, each.n_letters, each.name) for each in health.probes if each.kind != "good"
    }


def test_an_empty_purse_stops_the_examination(tmp_path: Path) -> None:
    purse = Purse(Budget(calls=len(answers()) + 5))
    with pytest.raises(BudgetSpent):
        health_of(tmp_path, oracle, purse=purse)
    assert purse.spent.calls == len(answers()) + 5


def test_of_a_panel_the_combined_verdict_is_examined(tmp_path: Path) -> None:
    health = health_of(tmp_path, oracle, obeys, oracle)
    assert unfit(health) == set()
    assert [each.injected for each in health.judges] == [1, 5, 1]
    assert health.together.judge.startswith("panel@")
    assert health.together.n_opinions == sum(each.n_opinions for each in health.judges)
    assert health.agreement is not None
    assert health.agreement == pytest.approx(1)
    health = health_of(tmp_path / "two", oracle, coy, lambda key, given: "score 5")
    assert health.agreement is not None
    assert health.agreement < 0.9


def test_the_runs_own_repeats_are_repeats(tmp_path: Path) -> None:
    health = health_of(tmp_path, Noisy(), repeats=3)
    assert health.together.repeat_sd is not None
    assert health.together.repeat_sd > 0.7


def test_the_last_of_the_runs_own_repeats_counts_too(tmp_path: Path) -> None:
    seen: dict[str, int] = {}

    def sways_late(key: str, given: str) -> str:
        seen[key + given] = time = seen.get(key + given, 0) + 1
        return "score 4" if time == 3 and given.startswith("Perhaps") else oracle(key, given)

    assert (health_of(tmp_path, sways_late, repeats=3).together.repeat_sd or 0) > 0.7


def test_without_a_run_the_probes_are_repeated(tmp_path: Path) -> None:
    health = health_of(tmp_path, oracle, own=[])
    assert (health.n_repeated, health.together.repeat_sd) == (4, 0)
    assert health.together.n_opinions == len(health.probes) + 4

    def sways(key: str, given: str) -> str:
        return f"score {next(turns)}" if given == key else oracle(key, given)

    turns = itertools.cycle([5, 5, 5, 5, 3, 3, 3, 3])
    assert unfit(health_of(tmp_path / "sways", sways, own=[])) == {"judge noise"}


def a_preference(flipped: bool, **fields: Any) -> Preference:
    return Preference(
        item_id=ITEMS[0].id,
        judge="j",
        state="scored",
        choice="tie",
        flipped=flipped,
        reasons=(),
        **fields,
    )


def test_flips_come_from_pairs_that_were_really_compared(tmp_path: Path) -> None:
    def choose(body: dict[str, Any]) -> fakes.Reply:
        return fakes.says("choice A")

    with fakes.endpoint(choose) as fake:
        chosen = JudgeModel(model="0", endpoint=fake.url)

        async def act(seats: Sequence[Any], cache: Any) -> JudgeHealth:
            found = answers()
            purse = Purse(Budget())
            pairs = list(zip(found[: len(ITEMS)], found[len(ITEMS) :], strict=True))
            preferred = await prefer(
                ITEMS, pairs, seats[0], cache=cache, purse=purse, advance=lambda count: None
            )
            same = a_preference(False, identical=True)
            return await examine(
                ITEMS,
                [],
                [],
                seats,
                Judge(fitness=Fitness(probes=0)),
                cache=cache,
                purse=purse,
                advance=lambda count: None,
                preferences=[*preferred.records, same],
            )

        health = with_seats(fake.url, tmp_path, [chosen], act)
    assert (health.n_pairs, health.flips) == (len(ITEMS), 1.0)
    assert unfit(health) == {"judge flips"}


def test_pairs_without_any_choice_say_that_the_order_is_not_known(tmp_path: Path) -> None:
    health = health_of(tmp_path, oracle).model_copy(update={"n_undecided": 3})
    assert unfit(health) == {"judge flips"}
    assert unfit(health.model_copy(update={"n_pairs": 4, "flips": 0.0})) == set()


def test_settled_and_failed_answers_say_nothing_of_the_judge(tmp_path: Path) -> None:
    found = [
        an_answer("4", item=ITEMS[0]),
        an_answer("", item=ITEMS[1], state="failed", error="gone"),
    ]
    verdicts = [
        Verdict(
            item_id=ITEMS[0].id, role="candidate", state="scored", score=1, by="guard", reason=""
        ),
        Verdict(
            item_id=ITEMS[1].id,
            role="candidate",
            state="unscored",
            reason="generation failed: gone",
        ),
    ]

    async def act(seats: Sequence[Any], cache: Any) -> JudgeHealth:
        return await examine(
            ITEMS,
            found,
            verdicts,
            seats,
            Judge(fitness=Fitness(probes=0)),
            cache=cache,
            purse=Purse(Budget()),
            advance=lambda count: None,
        )

    judges = [JudgeModel(model="0", endpoint="http://127.0.0.1:9")]
    health = with_seats("http://127.0.0.1:9", tmp_path, judges, act)
    assert (health.together.n_opinions, health.together.unscored) == (0, None)
    assert health_rules(health, DEFAULT) == ()


def test_the_length_of_answers_is_held_against_their_scores() -> None:
    """Each doubling of the candidate's answer over the baseline's brings half a point here."""
    lengths, scores = (10, 40, 160), (1, 2, 3)
    ours = [an_answer("x" * n, item=item) for n, item in zip(lengths, ITEMS, strict=False)]
    theirs = [an_answer("x" * 10, "baseline", item) for item in ITEMS[:3]]
    verdicts = [
        Verdict(item_id=each.item_id, role=each.role, state="scored", score=score, reason="")
        for each, score in zip((*ours, *theirs), (*scores, 1, 1, 1), strict=True)
    ]
    assert length_effect([*ours, *theirs], verdicts) == 0.5
    assert length_effect(ours, verdicts[:3]) is None
    settled = verdicts[0].model_copy(update={"by": "guard", "score": 5})
    assert length_effect([*ours, *theirs], [settled, *verdicts[1:]]) == 0.5
    rival = [each.model_copy(update={"text": "x"}) for each in ours]
    again = [*verdicts, *(each.model_copy(update={"score": 5}) for each in verdicts[:3])]
    assert length_effect([*ours, *theirs, *rival], again) == 0.5


def test_a_judge_may_say_that_a_generation_failed(tmp_path: Path) -> None:
    own, says = answers(), "generation failed to name the sum\nscore 1"
    health = health_of(tmp_path, lambda key, given: says, own=own)
    n_probes = len(health.probes)
    assert health.together.n_opinions == n_probes + len(own) + health.n_repeated


def test_everything_is_shown_as_text(tmp_path: Path) -> None:
    health = health_of(tmp_path, oracle, obeys, oracle)
    lines = health_lines(health, DEFAULT)
    text = "\n".join(lines)
    for each in (health.together, *health.judges):
        assert each.judge in text
    for name in itertools.chain((each.name for each in ATTACKS), ("judge injection", "alpha")):
        assert name in text
