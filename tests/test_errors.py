"""The error tree and its exit codes."""

from __future__ import annotations

import re

from harness import errors
from harness.errors import HarnessError, nearest


def test_the_drawn_tree_is_the_real_one() -> None:
    drawn = dict(re.findall(r"(\w+)\s+(\d+)(?:\s|$)", errors.__doc__ or ""))
    kinds = {
        name: str(value.exit_code)
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, HarnessError)
    }
    assert {name: drawn[name] for name in kinds} == kinds
    assert len(kinds) == 9


def test_nearest_offers_the_closest_name_and_all() -> None:
    assert nearest("epoch", ["epochs", "lr"]) == "did you mean 'epochs'? accepted: epochs, lr"
    assert nearest("zzz", ["epochs"]) == "accepted: epochs"
    assert nearest("zzz", []) == "accepted: none"
