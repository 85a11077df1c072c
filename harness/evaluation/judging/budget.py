"""What judging may cost and has cost, in calls, tokens and money.

A call is counted when it is let go, so the limit of calls is never passed; tokens and money are
known only from an answer, so those limits are passed by at most the calls then in flight. Take
right before a call, in a bounded number of workers, not for everything that waits. The client's
own attempts at one call count once. Knows nothing of judges or files.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

from harness.errors import Interrupted, RecipeError
from harness.evaluation.answers import Answer
from harness.recipe import Budget, Judge, Price
from harness.types import Spending

_MILLION = 1_000_000


class BudgetSpent(Interrupted):
    """The judging's budget leaves no further call; what was judged is kept."""


def _forget(spent: Spending) -> None:
    """Keeps nothing."""


class Purse:
    """Lets calls go while the budget lasts.

    `keep` is given the spending after every change, once for all changes of one turn of the
    event loop: writing it costs more than counting, and a process that is killed then has lost
    the cost of calls in flight only.
    """

    def __init__(
        self,
        budget: Budget,
        spent: Spending = Spending(),  # noqa: B008 - frozen
        keep: Callable[[Spending], None] = _forget,
    ) -> None:
        self.spent = spent
        self._budget, self._keep = budget, keep
        self._is_due = False
        self._is_unmetered = False

    def take(self, n: int) -> int:
        """How many of `n` calls may be made now, from the first; these are counted as made."""
        if any(True for _ in self._limits_met()):
            return 0
        limit = self._budget.calls
        n_taken = n if limit is None else min(n, limit - self.spent.calls)
        self._change(calls=self.spent.calls + n_taken)
        return n_taken

    def put_back(self, n: int) -> None:
        """Calls that were taken and then not let go, as those to an endpoint that is gone."""
        self._change(calls=self.spent.calls - n)

    def pay(self, answer: Answer, price: Price | None) -> None:
        """Count what one call cost, as the endpoint tells it. An endpoint that tells no tokens
        gets no further call where tokens or money are limited."""
        cost = (
            (answer.n_prompt_tokens * price.input + answer.n_tokens * price.output) / _MILLION
            if price
            else 0.0
        )
        self._is_unmetered |= answer.n_prompt_tokens == 0
        self._change(
            prompt_tokens=self.spent.prompt_tokens + answer.n_prompt_tokens,
            answer_tokens=self.spent.answer_tokens + answer.n_tokens,
            money=self.spent.money + cost,
        )

    def refusal(self) -> BudgetSpent:
        """What to raise once `take` has given less than was asked for and the calls in flight
        have ended."""
        spent = (
            f"{self.spent.calls} calls, {self.spent.tokens} tokens and "
            f"{self.spent.money:.4g} of money are spent"
        )
        key, why = next(self._limits_met(), ("calls", ""))
        if why:
            return BudgetSpent(
                f"judge.budget.{key}: {why}; {spent}",
                hint=f"limit judge.budget.calls in place of judge.budget.{key}; verdicts so far "
                "are kept",
            )
        return BudgetSpent(
            f"judge.budget.{key} = {getattr(self._budget, key)} leaves no further call: {spent}",
            hint=f"raise judge.budget.{key} and run again; verdicts so far are kept",
        )

    def _limits_met(self) -> Iterator[tuple[str, str]]:
        """Keys of the budget that allow no further call, and why if not by being spent."""
        for key in ("calls", "tokens", "money"):
            limit = getattr(self._budget, key)
            if limit is None:
                continue
            if getattr(self.spent, key) >= limit:
                yield key, ""
            elif key != "calls" and self._is_unmetered:
                yield (
                    key,
                    "cannot be held, since the endpoint does not tell how many tokens it read",
                )

    def _change(self, **values: float) -> None:
        self.spent = self.spent.model_copy(update=values)
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self._keep(self.spent)
            return
        if not self._is_due:
            self._is_due = True
            loop.call_soon(self._keep_now)

    def _keep_now(self) -> None:
        self._is_due = False
        self._keep(self.spent)


def cost_line(spent: Spending) -> str:
    """What judging has cost so far: money where the judges have prices."""
    return f"cost {spent.money:,.4g}" if spent.money else f"{spent.tokens:,} tokens"


def require_prices(settings: Judge) -> None:
    """Raises RecipeError where money is limited and a judge has no price."""
    if settings.budget.money is None:
        return
    for index, judge in enumerate(settings.judges):
        if judge.price is None:
            key = f"judge.panel.{index - 1}.price" if index else "judge.price"
            raise RecipeError(
                f"judge.budget.money = {settings.budget.money:g}, but {key} of {judge.model!r} is "
                "not set",
                hint=f"set {key}.input and {key}.output, per million tokens (0 for your own "
                "server), or limit judge.budget.calls or judge.budget.tokens",
            )
