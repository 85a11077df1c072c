"""A base is found or refused by name."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from harness.chat.base import base_dir, base_info, max_context, read_config, tensor_shapes
from harness.errors import DataError, RecipeError
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


COMMIT = "0123456789abcdef0123456789abcdef01234567"


def test_a_hub_id_is_recorded_with_its_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    repository = tmp_path / "models--team--model"
    shutil.copytree(POCKET, repository / "snapshots" / COMMIT)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    base = Base(model="team/model")
    found = base_dir(base)
    assert found == repository / "snapshots" / COMMIT
    info = base_info(base, found)
    assert (info.model, info.revision) == ("team/model", COMMIT)
    assert info.weights == base_info(Base(model="pocket"), POCKET).weights
    assert base_info(Base(model="pocket"), POCKET).revision is None


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("~nobody-here/model", "'~nobody-here/model' in the recipe: there is no such home"),
        ("x" * 300, "no such directory"),
        ("./" + "x/" * 3000, "no such directory"),
        ("x" * 300 + "/y", "not on this machine and not downloadable"),
        ("./loop", "no such directory"),
        ("./file/under", "no such directory"),
    ],
    ids=range(6),
)
def test_a_path_that_cannot_be_is_named(tmp_path: Path, model: str, message: str) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "file").touch()
    with pytest.raises(RecipeError, match=message):
        base_dir(Base(model=model), tmp_path)


def cut(path: Path, n_bytes: int) -> None:
    path.write_bytes(path.read_bytes()[:n_bytes])


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: cut(path, 0),
        lambda path: cut(path, 6),
        lambda path: cut(path, 100),
        lambda path: cut(path, path.stat().st_size - 1),
        lambda path: path.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0"),
        lambda path: (path.unlink(), path.mkdir()),
    ],
    ids=["empty", "short", "header", "cut", "pointer", "folder"],
)
def test_damaged_weights_are_refused(tmp_path: Path, damage: Any) -> None:
    directory = tmp_path / "model"
    shutil.copytree(POCKET, directory)
    damage(directory / "model.safetensors")
    with pytest.raises(RecipeError, match=r"model\.safetensors is damaged or cut short"):
        base_dir(Base(model=str(directory)))


def test_shapes_come_from_every_file() -> None:
    shapes = tensor_shapes(POCKET)
    assert shapes["model.layers.0.self_attn.q_proj.weight"] == (128, 128)
    assert shapes["model.layers.0.self_attn.q_norm.weight"] == (32,)


@pytest.mark.parametrize("text", ["[]", "null", '"a"', "3"])
def test_a_config_that_is_no_object_is_refused(tmp_path: Path, text: str) -> None:
    directory = tmp_path / "model"
    shutil.copytree(POCKET, directory)
    (directory / "config.json").write_text(text)
    with pytest.raises(RecipeError, match=r"config\.json holds a \w+; accepted: a JSON object"):
        base_dir(Base(model=str(directory)))
    assert read_config(directory, "none.json") == {}


def test_a_config_that_is_not_json_is_refused(tmp_path: Path) -> None:
    directory = tmp_path / "model"
    shutil.copytree(POCKET, directory)
    (directory / "config.json").write_text("[" * 100_000)
    with pytest.raises(DataError, match=r"config\.json: not JSON: nested too deep"):
        base_dir(Base(model=str(directory)))


@pytest.mark.parametrize("longest", [None, 0, -1, 8, True, "1024", 1e30, 10**30, [1024]])
def test_a_silly_context_is_refused(tmp_path: Path, longest: Any) -> None:
    text = json.dumps({"max_position_embeddings": longest})
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(RecipeError, match=r"max_position_embeddings = .*accepted: 16 or more"):
        max_context(Base(model="x"), tmp_path)


def test_the_context_of_a_model_with_parts(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"text_config": {"max_position_embeddings": 4096}}))
    assert max_context(Base(model="x"), tmp_path) == 4096
    path.write_text(json.dumps({"text_config": None, "max_position_embeddings": 100_000}))
    assert max_context(Base(model="x"), tmp_path) == 8192
    assert max_context(Base(model="x", max_context=100_000), tmp_path) == 100_000
    with pytest.raises(RecipeError, match=r"attends to 100000 tokens at most"):
        max_context(Base(model="x", max_context=100_001), tmp_path)
    path.write_text(json.dumps({"text_config": [1]}))
    with pytest.raises(RecipeError, match="max_position_embeddings = None"):
        max_context(Base(model="x"), tmp_path)
