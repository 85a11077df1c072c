"""What the gate names is looked up in the evalset before anything is spent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness import jsonio
from harness.errors import EvalsetError
from harness.plan import plan_evaluation
from harness.recipe import load
from tests.workbench import write_recipe

LABELS = {"calibration": "labels.jsonl"}


def planned(folder: Path, gate: dict[str, Any], **item: Any) -> None:
    """A # in `item` stands for the item's number."""
    path = write_recipe(folder, n_items=14, gate={"baseline": "base", **gate})
    items_path = folder / "evalset" / "items.jsonl"
    if item:
        own = json.dumps(item)
        items = [
            {**each, **json.loads(own.replace("#", str(number)))}
            for number, each in jsonio.read_jsonl(items_path)
        ]
        jsonio.write_jsonl(items_path, items)
    plan_evaluation(load(path))


@pytest.mark.parametrize(
    ("gate", "item", "message"),
    [
        (
            {"cluster": "tpye"},
            {},
            r"recipe.yaml:\d+: gate.cluster = 'tpye': no item of .*; did you mean 'type'",
        ),
        ({"cluster": "document"}, {"tags": {}}, "has that tag; it has none .set it to null"),
        (
            {"slices": {"critical": ["copyy"]}},
            {"tags": {"type": "copy"}},
            r"yaml:\d+: gate.slices.critical: no item .* has type = 'copyy'; did you mean 'copy'",
        ),
        (LABELS, {"cluster": "one"}, "labels in clusters are not corrected for"),
        ({}, {"cluster": "one"}, "make 1 cluster, and no bound .* fewer than 10"),
    ],
)
def test_what_is_not_there_is_named(
    tmp_path: Path, gate: dict[str, Any], item: dict[str, Any], message: str
) -> None:
    with pytest.raises(EvalsetError, match=message):
        planned(tmp_path, gate, **item)


@pytest.mark.parametrize(
    ("gate", "item"),
    [
        ({"cluster": "document"}, {"tags": {"type": "copy", "document": "page #"}}),
        ({"slices": {"critical": ["copy"]}}, {"tags": {"type": "copy"}}),
        ({**LABELS, "cluster": False}, {"cluster": "one"}),
        (LABELS, {}),
    ],
)
def test_what_is_there_is_accepted(
    tmp_path: Path, gate: dict[str, Any], item: dict[str, Any]
) -> None:
    planned(tmp_path, gate, **item)
