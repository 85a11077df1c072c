"""The purse of the judging: exact in calls, late by what is in flight in tokens and money."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from harness.errors import RecipeError
from harness.evaluation.answers import Answer
from harness.evaluation.judging.budget import BudgetSpent, Purse, require_prices
from harness.recipe import Budget, Judge, JudgeModel, Price
from harness.types import Spending

PRICE = Price(input=2.0, output=10.0)


def answer(n_prompt_tokens: int = 100, n_tokens: int = 10) -> Answer:
    return Answer(
        text="score 3",
        finish_reason="stop",
        prompt_ids=None,
        token_ids=None,
        n_tokens=n_tokens,
        duration_s=0.1,
        digits=None,
        prompt_logprobs=None,
        n_prompt_tokens=n_prompt_tokens,
    )


def test_without_a_budget_everything_goes_and_is_counted() -> None:
    purse = Purse(Budget())
    assert purse.take(1000) == 1000
    purse.pay(answer(), PRICE)
    purse.pay(answer(), None)
    cost = 100 * 2e-6 + 10 * 10e-6
    assert purse.spent == Spending(calls=1000, prompt_tokens=200, answer_tokens=20, money=cost)


def test_never_one_call_more_than_allowed() -> None:
    purse = Purse(Budget(calls=10))
    assert [purse.take(4), purse.take(4), purse.take(4), purse.take(4)] == [4, 4, 2, 0]
    assert purse.spent.calls == 10


def test_never_one_call_more_under_concurrency() -> None:
    purse, made = Purse(Budget(calls=50)), []

    async def worker() -> None:
        while purse.take(1):
            await asyncio.sleep(0)
            made.append(1)
            purse.pay(answer(), None)

    async def go() -> None:
        await asyncio.gather(*(worker() for _ in range(16)))

    asyncio.run(go())
    assert len(made) == purse.spent.calls == 50


@pytest.mark.parametrize(
    ("budget", "key"), [(Budget(tokens=1000), "tokens"), (Budget(money=0.0029), "money")]
)
def test_tokens_and_money_are_passed_only_by_calls_in_flight(budget: Budget, key: str) -> None:
    purse = Purse(budget)

    async def worker() -> None:
        while purse.take(1):
            await asyncio.sleep(0)
            purse.pay(answer(), PRICE)

    async def go() -> None:
        await asyncio.gather(*(worker() for _ in range(4)))

    asyncio.run(go())
    assert 10 <= purse.spent.calls <= 10 + 3  # a call costs 110 tokens, 0.0003 of money
    refusal = purse.refusal()
    assert f"judge.budget.{key} = " in str(refusal)
    assert f"raise judge.budget.{key}" in (refusal.hint or "")


def test_what_was_spent_before_counts() -> None:
    purse = Purse(Budget(calls=10), Spending(calls=8))
    assert purse.take(5) == 2
    purse = Purse(
        Budget(calls=10, tokens=100), Spending(calls=3, prompt_tokens=90, answer_tokens=9)
    )
    assert purse.take(5) == 5
    purse.pay(answer(1, 0), None)
    assert purse.take(1) == 0
    assert "judge.budget.tokens = 100" in str(purse.refusal())


def test_a_refusal_says_what_is_spent_and_what_to_raise() -> None:
    purse = Purse(Budget(calls=2, money=9.0))
    purse.take(3)
    purse.pay(answer(), PRICE)
    refusal = purse.refusal()
    assert isinstance(refusal, BudgetSpent)
    assert refusal.exit_code == 75
    assert str(refusal) == (
        "judge.budget.calls = 2 leaves no further call: 2 calls, 110 tokens and 0.0003 of money "
        "are spent"
    )
    assert refusal.hint == "raise judge.budget.calls and run again; verdicts so far are kept"


@pytest.mark.parametrize("key", ["tokens", "money"])
def test_an_endpoint_that_tells_no_tokens_is_not_taken_for_a_free_one(key: str) -> None:
    purse = Purse(Budget(**{key: 1000}))
    assert purse.take(1) == 1
    purse.pay(answer(0, 0), PRICE)
    assert purse.take(1) == 0
    refusal = purse.refusal()
    assert "does not tell how many tokens" in str(refusal)
    assert "limit judge.budget.calls in place of" in (refusal.hint or "")
    unlimited = Purse(Budget(calls=5))
    unlimited.pay(answer(0, 0), None)
    assert unlimited.take(1) == 1


def test_what_is_kept_is_never_behind_by_more_than_calls_in_flight() -> None:
    kept = list[Spending]()
    purse = Purse(Budget(), Spending(), kept.append)

    async def go() -> None:
        for round_ in range(1, 4):
            assert purse.take(32) == 32
            await asyncio.sleep(0)
            assert kept[-1].calls == 32 * round_
            for _ in range(32):
                purse.pay(answer(), PRICE)
            await asyncio.sleep(0)
            assert kept[-1] == purse.spent

    asyncio.run(go())
    assert len(kept) == 6  # once for all that changed together
    purse.take(1)  # also where no loop runs
    assert kept[-1].calls == 97


def test_spending_survives_its_file() -> None:
    spent = Spending(calls=3, prompt_tokens=5, answer_tokens=2, money=0.25)
    assert Spending.model_validate(spent.dump()) == spent
    assert spent.dump()["schema"] == 1


PANEL = (JudgeModel(), JudgeModel(model="b", price=PRICE))


@pytest.mark.parametrize(
    ("settings", "missing"),
    [
        ({}, None),
        ({"budget": Budget(calls=1, tokens=1)}, None),
        ({"budget": Budget(money=1), "price": PRICE}, None),
        ({"budget": Budget(money=1)}, "judge.price"),
        ({"budget": Budget(money=1), "price": PRICE, "panel": PANEL}, "judge.panel.0.price"),
    ],
)
def test_limited_money_needs_prices(settings: dict[str, Any], missing: str | None) -> None:
    judge = Judge(**settings)
    if missing is None:
        require_prices(judge)
        return
    with pytest.raises(RecipeError) as caught:
        require_prices(judge)
    assert f"{missing} of " in str(caught.value)
    assert f"set {missing}.input" in (caught.value.hint or "")
