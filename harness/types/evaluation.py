"""What is asked, what was answered, and how it was scored."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from harness.types.chat import Message
from harness.types.record import Growing, Record

Role = Literal["candidate", "baseline", "base", "other"]
Score = Annotated[int, Field(ge=1, le=5)]
Expected = Annotated[float, Field(allow_inf_nan=False)]
"""A probability-weighted score."""


class Check(Record):
    """A demand on an answer that a program can verify; `harness.evaluation.checks` has the kinds.

    The failed checks of an answer settle its score with the lowest `failed` among them; if all
    pass and each says `passed`, the lowest of those does. Otherwise the judge scores it.
    """

    kind: str
    value: Any = None
    """What is demanded, as the kind says; of kinds that compare with the reference it may be
    absent."""
    failed: Score | None = 1
    """Score of an answer that fails; None: only noted."""
    passed: Score | None = None
    """Score of an answer that passes; None: the judge decides."""


class Sampling(Record):
    """How one item is asked, where that differs from the recipe's `eval`."""

    max_tokens: Annotated[int, Field(ge=1, le=2**24)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] | None = None


class Item(Growing):
    """One held-out prompt of an evalset."""

    later = frozenset({"references", "follow_ups", "checks", "cluster", "sampling"})

    id: str
    """First 12 hex digits of the digest of the fields below."""
    messages: tuple[Message, ...]
    reference: str | None = None
    tags: dict[str, str] = {}
    """Slice name → value, for example {"type": "reason"}."""
    rubric: str | None = None
    """What was asked or what matters, shown to the judge."""
    references: tuple[str, ...] = ()
    """Further right answers beside `reference`."""
    follow_ups: tuple[str, ...] = ()
    """Further turns of the user, each asked after the model's own answer to the one before; the
    answer to the last is judged."""
    checks: tuple[Check, ...] = ()
    cluster: str | None = None
    """Items with the same word here share a source and are not independent."""
    sampling: Sampling | None = None


class Target(Growing):
    """One model that is asked, and which side it stands for."""

    later = frozenset({"name", "shots", "endpoint"})

    role: Role
    model: str
    """Name in the request: a version, or the base's served name."""
    system: str | None = None
    """System prompt put before the item's messages."""
    name: str | None = None
    """Its key in the recipe's eval.targets; None for a version or the base as they are."""
    shots: tuple[Message, ...] = ()
    """Examples between the system prompt and the item's messages."""
    endpoint: str | None = None
    """Base URL where it is asked; None: the round's own server."""


class Generation(Growing):
    """One answer of one target to one item."""

    later = frozenset({"target", "earlier"})

    item_id: str
    role: Role
    model: str
    sample: int = 0
    state: Literal["ok", "truncated", "failed"]
    text: str
    """The answer without its stop token; empty when failed."""
    n_prompt_tokens: int
    n_tokens: int
    duration_s: float | None = None
    """Seconds of the request that carried it (shared by its batch)."""
    error: str | None = None
    """Why it failed; None otherwise."""
    target: str | None = None
    """Key in eval.targets, where it is one of those."""
    earlier: tuple[str, ...] = ()
    """The model's own answers before the item's follow-ups; `text` answers the last of them."""


class CheckResult(Record):
    """One check of one answer."""

    kind: str
    state: Literal["passed", "failed", "skipped"]
    """Skipped: it could not be run, and so says nothing."""
    note: str
    """What was seen, or why it was skipped."""


class Opinion(Record):
    """What one judge said of one answer, once."""

    judge: str
    """model@digest12"""
    repeat: int = 0
    state: Literal["scored", "unscored"]
    score: Score | None = None
    expected: Expected | None = None
    """Probability-weighted score, where log-probabilities cover enough."""
    covered: float | None = None
    """Probability of the digits 1–5 together at the score's place, where it is known."""
    reason: str
    """The judge's reasoning, or why there is no score."""


class Verdict(Growing):
    """What one generation is worth."""

    later = frozenset({"target", "by", "covered", "checks", "opinions"})

    item_id: str
    role: Role
    sample: int = 0
    state: Literal["scored", "unscored"]
    score: Score | None = None
    """1–5 when scored, None otherwise; of several opinions the (lower) median."""
    expected: Expected | None = None
    """Probability-weighted score, where the judge offers log-probabilities; of several opinions
    the mean."""
    reason: str
    """The judge's reasoning, or why there is no score."""
    target: str | None = None
    """Key in eval.targets, where it is one of those."""
    by: Literal["checks", "guard"] | None = None
    """Who settled it without a call: the item's checks, or the guard against degenerate answers.
    None: the judge."""
    covered: float | None = None
    """Smallest of the opinions' covered mass."""
    checks: tuple[CheckResult, ...] = ()
    opinions: tuple[Opinion, ...] = ()
    """Every opinion, where a panel or repeats gave more than one."""


def side_of(record: Generation | Verdict) -> str:
    """What its side is called: the role, or the target's key where it is beside them."""
    return record.role if record.role != "other" else record.target or record.role
