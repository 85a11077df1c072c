"""The rows that the page on training data shows are read as it says."""

from __future__ import annotations

import json
import re

from harness.training.reading.shapes import ACCEPTED, COLUMNS, detect, examples
from tests.workbench import ROOT


def test_a_row_of_every_shape_is_shown_and_trains_what_the_table_says() -> None:
    text = (ROOT / "docs" / "data.md").read_text()
    found = re.search(r"```json\n(.*?)```", text, re.DOTALL)
    assert found
    rows = [json.loads(line) for line in found[1].splitlines()]
    assert [detect(row) for row in rows] == list(COLUMNS)
    told = dict(re.findall(r"^\| `(\w+)` \| ([A-Z, ]+) \|", text, re.MULTILINE))
    assert list(told) == list(COLUMNS)
    for objective, shapes in ACCEPTED.items():
        named = [shape for shape in told if objective.upper() in told[shape].split(", ")]
        assert named == sorted(shapes, key=list(COLUMNS).index)
        for row in rows:
            if detect(row) in shapes:
                assert list(examples(dict(row), detect(row), objective, "data.md"))
