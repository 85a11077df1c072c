"""A version's folder holds the published files and nothing else; no manifest leads out of it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.errors import StoreError
from harness.jsonio import file_digest
from harness.store import PUBLISHED, Store, check_adapter
from tests.serve.fakes import made_up, publish


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "home")


@pytest.fixture
def version(store: Store) -> str:
    return publish(store, "bot", made_up("bot"))


def edit(folder: Path, change: Callable[[dict[str, str]], object]) -> None:
    """Change what the manifest says of the files."""
    values = json.loads((folder / "manifest.json").read_text())
    change(values["files"])
    (folder / "manifest.json").write_text(json.dumps(values))


def refused_everywhere(store: Store, version: str, tmp_path: Path) -> str:
    """What verify says, and another store that is to import it."""
    with pytest.raises(StoreError) as verified:
        store.verify(version)
    other = Store(tmp_path / "other")
    with pytest.raises(StoreError):
        other.import_version(store.version_dir(version))
    assert other.versions() == []
    return str(verified.value)


@pytest.mark.parametrize(
    "name", ["../x", "/etc/hostname", "a/../../x", "adapter_model.bin", "manifest.json", "", "\x00"]
)
def test_a_manifest_may_name_the_published_files_only(
    store: Store, version: str, tmp_path: Path, name: str
) -> None:
    outside = store.version_dir(version).parent / "x"
    outside.write_text("outside")
    edit(store.version_dir(version), lambda files: files.update({name: file_digest(outside)}))
    words = refused_everywhere(store, version, tmp_path)
    assert f"files: {name!r} is one too many or missing; accepted: exactly adapter_con" in words
    assert outside.read_text() == "outside"


def test_a_manifest_must_name_all_of_them(store: Store, version: str, tmp_path: Path) -> None:
    edit(store.version_dir(version), lambda files: files.pop("chat_template.jinja"))
    assert "'chat_template.jinja' is one too many or missing" in refused_everywhere(
        store, version, tmp_path
    )


@pytest.mark.parametrize("name", [*PUBLISHED, "manifest.json"])
def test_a_link_is_no_file_of_a_version(
    store: Store, version: str, tmp_path: Path, name: str
) -> None:
    path = store.version_dir(version) / name
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    assert f"{name}: a link or a folder" in refused_everywhere(store, version, tmp_path)


def test_a_file_beside_the_published_is_refused(store: Store, version: str, tmp_path: Path) -> None:
    (store.version_dir(version) / "adapter_model.bin").write_bytes(b"\x80")
    assert "pickled weights can run code" in refused_everywhere(store, version, tmp_path)


def test_what_is_staged_is_held_to_the_same(store: Store, version: str) -> None:
    manifest = store.manifest(version)
    staged_dir = store.staging_dir("bot")
    shutil.copytree(store.version_dir(version), staged_dir, dirs_exist_ok=True)
    wrong = manifest.model_copy(update={"files": manifest.files | {"../x": "0" * 64}})
    with pytest.raises(StoreError, match=r"'\.\./x' is one too many"):
        store.add(staged_dir, wrong)
    (staged_dir / "tokenizer.json").write_text("{}")
    with pytest.raises(StoreError, match="vLLM ignores an adapter's own tokenizer"):
        store.add(staged_dir, manifest)


def test_a_manifest_changed_together_with_its_files_is_noticed(store: Store, version: str) -> None:
    folder = store.version_dir(version)
    (folder / "adapter_config.json").write_text("{}")
    digest = file_digest(folder / "adapter_config.json")
    edit(folder, lambda files: files.update({"adapter_config.json": digest}))
    with pytest.raises(StoreError, match="its files and chat contract have another digest"):
        store.verify(version)


def test_the_config_names_the_base_that_the_manifest_names(store: Store) -> None:
    for base, accepted in (("pocket", True), ("other", False)):
        files = made_up("bot")
        config = json.loads(files["adapter_config.json"]) | {"base_model_name_or_path": base}
        files["adapter_config.json"] = json.dumps(config).encode()
        folder = store.version_dir(publish(store, "bot", files))
        if accepted:
            assert check_adapter(folder, store.home / "no base").rank == 8
            continue
        with pytest.raises(StoreError, match="'other'; accepted: 'pocket', the base that manifest"):
            check_adapter(folder, store.home / "no base")
