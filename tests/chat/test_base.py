"""A base is found or refused by name."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from harness.chat.base import base_dir, base_info
from harness.errors import RecipeError
from harness.jsonio import file_digest
from harness.recipe import Base
from tests.chat.templates import POCKET


def test_pocket_is_inside_the_package() -> None:
    found = base_dir(Base(model="pocket"))
    assert found.samefile(POCKET)
    info = base_info(Base(model="pocket"), found)
    assert info.config == file_digest(POCKET / "config.json")
    assert info.dtype == "float32"


def test_a_directory_is_relative_to_the_recipe(tmp_path: Path) -> None:
    shutil.copytree(POCKET, tmp_path / "models" / "mine")
    assert base_dir(Base(model="models/mine"), tmp_path) == tmp_path / "models" / "mine"


@pytest.mark.parametrize(
    ("without", "expected"),
    [
        ("config.json", "config.json"),
        ("tokenizer.json", "a tokenizer"),
        ("model.safetensors", r"weights \(\*\.safetensors\)"),
    ],
)
def test_an_incomplete_model_names_what_is_missing(
    tmp_path: Path, without: str, expected: str
) -> None:
    directory = tmp_path / "model"
    shutil.copytree(POCKET, directory)
    (directory / without).unlink()
    with pytest.raises(RecipeError, match=rf"base\.model = .*lacks {expected}"):
        base_dir(Base(model=str(directory)))


def test_pickled_weights_are_refused(tmp_path: Path) -> None:
    directory = tmp_path / "model"
    shutil.copytree(POCKET, directory)
    (directory / "model.safetensors").rename(directory / "pytorch_model.bin")
    with pytest.raises(RecipeError, match="weights") as caught:
        base_dir(Base(model=str(directory)))
    assert "safetensors" in str(caught.value.hint)
    assert "pickled" in str(caught.value.hint)


@pytest.mark.parametrize("model", ["./missing", "/no/such/model", "just-a-word"])
def test_a_missing_directory(model: str) -> None:
    with pytest.raises(RecipeError, match=r"no such directory"):
        base_dir(Base(model=model))


def test_an_unknown_hub_id_offline() -> None:
    with pytest.raises(RecipeError, match=r"base\.model = 'nobody/no-such-model'") as caught:
        base_dir(Base(model="nobody/no-such-model"))
    assert "HF_HUB_OFFLINE" in str(caught.value.hint)
