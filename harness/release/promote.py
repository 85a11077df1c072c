"""Move an alias because a decision allows it, or back because someone asks for it.

An alias moves forward only by a decision that ships, or by an override whose reason is kept in the
alias log. Knows nothing of what the decision was made from.
"""

from __future__ import annotations

from harness.errors import HarnessError, StoreError
from harness.release.gate import EXIT_CODE, ships
from harness.store import ROLLBACK, Store
from harness.types import Decision, Record


class PromotionRefused(HarnessError):
    """A decision does not allow its candidate to take the alias; exits as the decision does."""

    def __init__(self, message: str, *, exit_code: int, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.exit_code = exit_code


class Promotion(Record):
    """An alias that now points at `version`."""

    alias: str
    version: str
    previous: str | None
    """The version it pointed at; equal to `version` where nothing had to move."""
    decision: str | None
    """Id of the decision; None for a rollback."""
    override: str | None
    """Why the alias moved without a decision that allows it."""


def promote(
    store: Store,
    decision: Decision,
    decision_id: str,
    *,
    alias: str,
    at: str,
    run: str | None,
    override: str | None = None,
) -> Promotion:
    """Point `alias` at the decision's candidate; `at` is the time for the log, `run` the run's id.

    Promoting what the alias already points at changes and logs nothing. A decision is good only
    against the version it compared with: an alias that points elsewhere is not moved by it.
    Raises PromotionRefused with the decision's exit code unless the decision ships or `override`
    gives a reason, and StoreError for an unknown candidate or alias name.
    """
    if override is not None and not override.strip():
        raise PromotionRefused(
            "an override needs a reason; accepted: any text", exit_code=HarnessError.exit_code
        )
    version, current = decision.candidate, store.aliases().get(alias)
    if override is None:
        _require_allowed(decision, decision_id, alias, current)
    previous = current
    if current != version:
        previous = store.move_alias(
            alias,
            version,
            at=at,
            decision=decision_id,
            run=run,
            override=override,
            expected=current,
        )
    return Promotion(
        alias=alias,
        version=version,
        previous=previous,
        decision=decision_id,
        override=override,
    )


def rollback(store: Store, alias: str, at: str) -> Promotion:
    """Point `alias` at the version it pointed at before; rolling back again goes one further.

    Raises StoreError for an unknown alias and where the log has no earlier version.
    """
    current, history = store.resolve(alias), store.served(alias)
    if len(history) < 2:
        raise StoreError(
            f"{alias!r} has pointed at nothing before {current}", hint="harness alias list"
        )
    version = history[-2]
    store.move_alias(
        alias, version, at=at, decision=None, run=None, override=ROLLBACK, expected=current
    )
    return Promotion(
        alias=alias, version=version, previous=current, decision=None, override=ROLLBACK
    )


def _require_allowed(decision: Decision, decision_id: str, alias: str, current: str | None) -> None:
    version = decision.candidate
    if not ships(decision):
        reasons = [rule.sentence for rule in decision.rules if rule.status == decision.status]
        raise PromotionRefused(
            f"{alias!r} stays at {current or 'nothing'}: decision {decision_id} on {version} is "
            f"{decision.status}: {'; '.join(reasons)}",
            exit_code=EXIT_CODE[decision.status],
            hint="to move it all the same, give an override reason; it is kept in the alias log",
        )
    if current not in (None, version, decision.baseline):
        raise PromotionRefused(
            f"{alias!r} points at {current} by now, decision {decision_id} compared {version} with "
            f"{decision.baseline}",
            exit_code=EXIT_CODE["untrusted"],
            hint="run the comparison again, against the alias as it is",
        )
