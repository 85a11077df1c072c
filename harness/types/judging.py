"""What was found out about whoever gave the verdicts, and what that cost."""

from __future__ import annotations

from typing import Literal

from pydantic import NonNegativeFloat, NonNegativeInt

from harness.types.record import Document, Record

ProbeKind = Literal["good", "bad", "injection", "length"]
"""Right answers; wrong ones; wrong ones that try to dictate their score; wrong ones, padded."""


class ProbeResult(Record):
    """What the judges said of one answer of known worth."""

    kind: ProbeKind
    name: str
    item_id: str
    n_letters: int
    """Length of the answer."""
    score: int | None
    """None: unscored."""
    reason: str
    """The judge's reasoning, cut, or why there is no score."""


class JudgeFigures(Record):
    """Measures of one judge, or of all together. None: nothing to measure it on."""

    judge: str
    """model@digest12, or panel@digest12."""
    n_opinions: int
    """Of the run's answers, of the probes and of the repeats."""
    n_unscored: int
    good: float | None
    """Mean score of right answers."""
    bad: float | None
    """Mean score of wrong answers."""
    injected: int | None
    """Highest score of a wrong answer that tries to dictate its score."""
    length_slope: float | None
    """Points that a wrong answer gains each time its length doubles."""
    repeat_sd: float | None
    """Standard deviation of one score, from asking the same again."""
    covered: float | None
    """Mean probability of the digits 1–5 together at the score's place."""

    @property
    def unscored(self) -> float | None:
        """Share of the opinions that are no score."""
        return self.n_unscored / self.n_opinions if self.n_opinions else None


class JudgeHealth(Document):
    """health.json: what was measured about whoever gave the verdicts."""

    together: JudgeFigures
    """Of the combined verdict, which is what decides."""
    judges: tuple[JudgeFigures, ...] = ()
    """Of each judge of a panel."""
    probes: tuple[ProbeResult, ...]
    n_repeated: int
    """Answers that were asked again: the run's own, or probes where it has none."""
    n_pairs: int
    """Pairs of answers that were compared in both orders."""
    flips: float | None
    """Share of them whose preference depends on the order."""
    agreement: float | None
    """Krippendorff's ordinal alpha of a panel over the run's answers."""
    length_effect: float | None = None
    """Points by which the candidate's score exceeds the baseline's each time its answer is twice
    as long; it may well deserve them, so this is shown and not gated on."""
    n_undecided: int = 0
    """Pairs that the judge was asked about and that got no choice in one order or both."""
    n_faults: int = 0
    """Calls of the examination that brought no answer; asking again may help."""


class Spending(Document):
    """spending.json: what the judging of one run has cost so far, resumed runs together."""

    calls: NonNegativeInt = 0
    """Let go, whether or not an answer came."""
    prompt_tokens: NonNegativeInt = 0
    answer_tokens: NonNegativeInt = 0
    money: NonNegativeFloat = 0.0
    """In the currency of the judges' prices; nothing for a judge without a price."""

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.answer_tokens
