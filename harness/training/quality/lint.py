"""Data defects, counted while examples pass by. What is a defect stands in `defects`.

Knows nothing of files or tokens.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from harness.training.quality.defects import LINTS, Lint, turns_of
from harness.training.reading.example import Example

_SHOWN = 5
_SNIPPET = 80


class Finding(NamedTuple):
    source: str
    snippet: str


class LintReport(NamedTuple):
    """What one lint found."""

    id: str
    sentence: str
    severity: Literal["defect", "hint"]
    drops: bool
    n: int
    rate: float
    """Share of all examples."""
    shown: tuple[Finding, ...]


class Lints:
    """Counts every lint while examples pass by; keeps a few findings of each."""

    def __init__(self) -> None:
        self._n_examples = 0
        self._n_clean = 0
        self._counts = dict.fromkeys((lint.id for lint in LINTS), 0)
        self._shown: dict[str, list[Finding]] = {lint.id: [] for lint in LINTS}

    def add(self, index: int, example: Example) -> None:
        self._n_examples += 1
        found = findings(example)
        self._n_clean += not any(lint.drops for lint, _ in found)
        for lint, text in found:
            self._counts[lint.id] += 1
            if len(self._shown[lint.id]) < _SHOWN:
                self._shown[lint.id].append(Finding(example.source, _snippet(text)))

    @property
    def n_clean(self) -> int:
        """Examples that a cleaned file keeps."""
        return self._n_clean

    def result(self) -> tuple[LintReport, ...]:
        """One report a lint, in the order of the table, also where nothing was found."""
        return tuple(
            LintReport(
                id=lint.id,
                sentence=lint.sentence,
                severity=lint.severity,
                drops=lint.drops,
                n=self._counts[lint.id],
                rate=self._counts[lint.id] / max(1, self._n_examples),
                shown=tuple(self._shown[lint.id]),
            )
            for lint in LINTS
        )


def findings(example: Example) -> list[tuple[Lint, str]]:
    """Every lint that fires on an example, with the text that shows why."""
    turns = turns_of(example)
    found = ((lint, lint.check(example, turns)) for lint in LINTS)
    return [(lint, text) for lint, text in found if text is not None]


def is_clean(example: Example) -> bool:
    """Whether none of the lints that drop fires: what a cleaned file keeps."""
    turns = turns_of(example)
    return not any(lint.drops and lint.check(example, turns) is not None for lint in LINTS)


def _snippet(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SNIPPET else line[: _SNIPPET - 1] + "…"
