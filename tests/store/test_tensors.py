"""Which of a folder's safetensors files are the weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from harness.jsonio import write_json
from harness.store.tensors import read_folder

INDEX = "model.safetensors.index.json"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The weights in two files, and once more in a third."""
    one, two = np.zeros((2, 2), np.float32), np.ones((2, 3), np.float32)
    save_file({"one": one}, tmp_path / "model-00001-of-00002.safetensors")
    save_file({"two": two}, tmp_path / "model-00002-of-00002.safetensors")
    save_file({"eins": one, "zwei": two}, tmp_path / "consolidated.safetensors")
    return tmp_path


def test_an_index_says_which_files_count(folder: Path) -> None:
    parts = {"one": "model-00001-of-00002.safetensors", "two": "model-00002-of-00002.safetensors"}
    write_json(folder / INDEX, {"weight_map": parts})
    assert {name: each.shape for name, each in read_folder(folder).items()} == {
        "one": (2, 2),
        "two": (2, 3),
    }


@pytest.mark.parametrize(
    "index", [None, [], {"weight_map": []}, {"weight_map": {"one": []}}, {"weight_map": {"a": "b"}}]
)
def test_without_one_that_names_a_file_here_all_of_them_do(folder: Path, index: object) -> None:
    write_json(folder / INDEX, index)
    assert set(read_folder(folder)) == {"one", "two", "eins", "zwei"}
