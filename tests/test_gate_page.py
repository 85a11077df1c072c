"""What docs/gate.md says of the gate is what the gate does. That its recipes load: tests/docs."""

from __future__ import annotations

import re

import pytest
import yaml

from harness.recipe import Gate, Slices
from harness.release import stats
from harness.release.gate import decide
from harness.release.precision import Group
from harness.release.wording import confidence
from tests.release.build import compare_scores, make_gate
from tests.workbench import ROOT

PAGE = (ROOT / "docs" / "gate.md").read_text()
BLOCKS = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
BASELINE = [4, 5, 3, 4, 2, 4, 5, 3] * 30
FEW_CHANGES = [0, 0, -1, 0, 1, 0, 0, -1, 0, 0, 0, 1, 0, -2, 0, 1] * 15
MANY_DROPS = [0, -1, -1, 0, -1, 0, 0, -1] * 30


def test_every_key_has_a_line_of_yaml() -> None:
    shown = {key for block in BLOCKS for key in yaml.safe_load(block).get("gate", {})}
    assert shown == set(Gate.model_fields)
    [slices] = [keys["slices"] for each in BLOCKS if (keys := yaml.safe_load(each).get("gate", {}))
                and "slices" in keys]  # fmt: skip
    assert set(slices) == set(Slices.model_fields)


@pytest.mark.parametrize(
    ("changes", "n"), [(FEW_CHANGES, 240), (FEW_CHANGES, 48), (MANY_DROPS, 240)]
)
def test_its_sentences_are_the_gates(changes: list[int], n: int) -> None:
    candidate = [
        min(5, max(1, score + change)) for score, change in zip(BASELINE, changes, strict=True)
    ]
    gate = make_gate()
    decision = decide(compare_scores(candidate[:n], BASELINE[:n], gate), gate)
    (found,) = [rule for rule in decision.rules if rule.rule == "non-inferiority"]
    assert found.sentence in PAGE.splitlines()


def test_its_figures_are_those_of_the_code() -> None:
    last = stats.obf_tails(Gate().alpha, Gate().looks)[-1]
    for sd, changed in ((0.4, 0.2), (0.8, 1.0), (1.0, 1.0), (1.2, 1.0)):
        group = Group("overall", 1, None, sd, 1.0, changed)
        wide, narrow = group.needed(0.2, last), group.needed(0.1, last)
        assert re.search(rf"\| {sd}[^|]*\| {wide} \| {narrow} \|", PAGE), sd
    said = [f"{confidence(tail)[:-1]} %" for tail in stats.obf_tails(0.05, 4)]
    assert f"| confidence of every bound | {' | '.join(said)} |" in PAGE
