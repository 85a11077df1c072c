"""What a row is to the gradient: token sequences, each with a sign and a way to sum its loss.

A supervised row is its own sequence, with the mean loss of its trained tokens. Preference rows are
taken where model and reference are the same: there DPO's gradient is that of
−β/2 · (log p(chosen) − log p(rejected)) (Rafailov et al. 2023, arXiv:2305.18290, equation 7) and
KTO's that of ∓β/4 · log p(answer) (Ethayarajh et al. 2024, arXiv:2402.01306, equation 8), with
log-probabilities summed over tokens. Factors that all rows share are left out. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from harness.chat.encode import IGNORED


class Predicted(NamedTuple):
    """Tokens with what of them is predicted."""

    input_ids: Sequence[int]
    labels: Sequence[int]
    """The token id where it counts, −100 elsewhere."""
    weight: float = 1.0
    """Factor of its mean loss."""


def of_row(row: dict[str, Any]) -> list[Predicted]:
    """The sequences whose weighted mean losses add up to the row's loss; the answer's first."""
    ids, labels = row["input_ids"], row["labels"]
    if row.get("rejected"):
        prompt = ids[: row["n_prompt"]]
        other = answered(prompt, row["rejected"])
        chosen = Predicted(ids, labels, _n_trained(labels))
        return [chosen, other._replace(weight=-_n_trained(other.labels))]
    if row.get("desirable") is not None:
        n_trained = _n_trained(labels)
        return [Predicted(ids, labels, n_trained if row["desirable"] else -n_trained)]
    return [Predicted(ids, labels)]


def answered(prompt: Sequence[int], answer: Sequence[int]) -> Predicted:
    """A prompt and an answer of which every token counts."""
    return Predicted([*prompt, *answer], [*([IGNORED] * len(prompt)), *answer])


def _n_trained(labels: Sequence[int]) -> float:
    return float(sum(label != IGNORED for label in labels))
