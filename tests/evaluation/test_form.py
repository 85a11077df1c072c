"""The form a constrained judge is held to."""

from __future__ import annotations

import re

import pytest

from harness.evaluation.judge import FORM


@pytest.mark.parametrize(
    "text",
    [
        "score 5",
        "a\nscore 1",
        "soup 1 bread 2\nstarts yes\nscore 3",
        "s\nsc\nscore\nscore 2",
        "\nscore 2",
        "scores are high\nscore 4",
        "x\n" * 12 + "score 1",
    ],
)
def test_reasoning_then_a_score(text: str) -> None:
    assert re.fullmatch(FORM, text)


@pytest.mark.parametrize(
    "text",
    [
        "score 6",
        "score 45",
        "score 5\nscore 4",
        "score \nscore 2",
        "no score",
        "score 5\n",
        "x\n" * 13 + "score 1",
    ],
)
def test_nothing_else(text: str) -> None:
    assert not re.fullmatch(FORM, text)
