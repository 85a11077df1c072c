"""A store with a good version and one trained on other rows, and a run of both."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from harness.recipe import Recipe, load
from harness.store import Store
from harness.types import Item, Manifest, Role
from tests.blame import build
from tests.blame.faults import plant

N_ROWS = 40


class Home(NamedTuple):
    """Everything that blame needs."""

    store: Store
    recipe: Recipe
    candidate: Manifest
    baseline: Manifest
    items: list[Item]
    run_dir: Path

    def again(self, run_id: str, baseline: str, **changed: object) -> Path:
        """The same run against another baseline, or with other answers."""
        return self.run(run_id, baseline, [2, 5, 1, 5, None, 3, 2], **changed)

    def run(self, run_id: str, baseline: str, scores: list[int | None], **changed: object) -> Path:
        answers: dict[Role, list[str]] = {
            "candidate": [f"{item.reference} and more" for item in self.items],
            "baseline": [str(item.reference) for item in self.items],
        }
        both: dict[Role, list[int | None]] = {"candidate": scores, "baseline": [*[5] * 6, 2]}
        return build.keep_round(
            self.store, run_id, self.recipe, self.candidate, baseline, self.items, answers, both,
            **changed,
        )  # fmt: skip


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Threads of torch that wait for each other take minutes where a core has other work."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Of the seven items three regressed: by 4, 3 and 2 points."""
    folder = tmp_path_factory.mktemp("blame")
    store = Store(folder / "home")
    baseline = build.version(store, folder / "good", plant(N_ROWS, 0).rows, 1)
    candidate = build.version(store, folder / "bad", plant(N_ROWS, 1).rows, 2)
    recipe = load(folder / "bad" / "recipe.yaml").recipe
    home = Home(store, recipe, candidate, baseline, build.items(7), folder)
    return home._replace(run_dir=home.again("run", baseline.version))
