"""docs/moving.md: keys that it names are there, refused ones are refused, its program works."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from pydantic import ValidationError

from harness import jsonio
from harness.evaluation.checks import KINDS
from harness.recipe import Recipe, Train
from tests.docs.pages import read
from tests.workbench import ROOT, harness_json

PAGE = read(ROOT / "docs" / "moving.md")
TEXT = PAGE.path.read_text()
CONFIG = """\
prompts: ["Answer briefly: {{question}}"]
tests:
  - vars: {question: "Who sings?"}
    metadata: {type: qa}
    assert:
      - {type: icontains, value: Ida}
      - {type: llm-rubric, value: Friendly.}
      - {type: latency, threshold: 100}
  - vars: {question: "Where is Ida?"}
    assert: [{type: equals, value: In Rome.}]
"""


def has(path: str) -> bool:
    """Whether a recipe has the key."""
    model: Any = Recipe
    for part in path.split("."):
        fields = getattr(model, "model_fields", {})
        if part not in fields:
            return False
        kind = fields[part].annotation
        model = next((each for each in get_args(kind) if hasattr(each, "model_fields")), kind)
    return True


def test_every_key_of_a_recipe_that_it_names_is_one() -> None:
    sections = "base|chat|data|lora|train|compute|serve|eval|judge|gate"
    named = set(re.findall(rf"`((?:{sections})\.[a-z_.]+[a-z])(?=[`:,])", TEXT))
    assert len(named) > 30
    assert {each for each in named if not has(each)} == {"judge.md"}


@pytest.mark.parametrize("key", ["packing", "assistant_only_loss", "chat_template_path", "seed"])
def test_what_it_says_has_no_key_is_refused_as_an_extra(key: str) -> None:
    assert f"`{key}`" in TEXT
    with pytest.raises(ValidationError, match="cannot be passed to TRL"):
        Train.model_validate({"extra": {key: 1}})


def test_the_checks_that_it_names_are_checks() -> None:
    [program] = [each.text for each in PAGE.blocks if each.text.startswith('"""promptfoo')]
    named = set(re.findall(r'": "(\w+)",', program))
    assert len(named) == 6
    assert named <= set(KINDS)


def test_tests_of_promptfoo_become_items(tmp_path: Path) -> None:
    [program] = [each.text for each in PAGE.blocks if each.text.startswith('"""promptfoo')]
    (tmp_path / "promptfooconfig.yaml").write_text(CONFIG)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    assert done.stdout == "left out: latency of Answer briefly: Who sings?\n"
    made = ("evalset", "import", tmp_path / "items.jsonl", "--to", tmp_path / "made")
    harness_json(*made, "--author", "us", "--licence", "internal", home=tmp_path)
    [first, second] = [each for _, each in jsonio.read_jsonl(tmp_path / "made" / "items.jsonl")]
    assert first["rubric"] == "Friendly."
    assert first["checks"] == [{"kind": "contains", "value": "Ida", "failed": 1}]
    assert second["checks"] == [{"kind": "exact", "value": "In Rome.", "failed": 1}]
    assert yaml.safe_load(CONFIG)["tests"][0]["metadata"] == first["tags"]
