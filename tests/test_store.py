"""The store: immutable versions, atomic aliases, no way out of the directory."""

from __future__ import annotations

import json
import multiprocessing
import shutil
from pathlib import Path

import pytest

from harness.errors import StoreError
from harness.jsonio import file_digest
from harness.store import PUBLISHED, Store, default_home, version_id
from harness.types import BaseInfo, ChatContract, Decision, Manifest, Status

AT = "2030-01-01T00:00:00+00:00"


def publish(store: Store, name: str = "bot", weights: str = "w") -> str:
    """A version whose files are stand-ins: the store looks at bytes only."""
    staged_dir = store.staging_dir(name)
    for each in PUBLISHED:
        (staged_dir / each).write_text(f"{each} {weights}")
    return store.add(staged_dir, manifest(staged_dir, name))


def manifest(folder: Path, name: str) -> Manifest:
    files = {each: file_digest(folder / each) for each in PUBLISHED}
    contract = ChatContract(template="t", tokenizer="k", special="s", stop_ids=(1,), probes="p")
    return Manifest(
        version=version_id(name, files, contract.dump()),
        base=BaseInfo(model="pocket", config="c", weights="w", dtype="float32"),
        contract=contract,
        rank=8,
        files=files,
        recipe="r",
        data="d",
        train_key=f"key {files['adapter_model.safetensors']}",
        seeds={"train": 0},
        packages={},
        n_rows=1,
        n_steps=1,
        probes=(),
    )


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def test_another_training_of_the_same_bytes_is_remembered(store: Store) -> None:
    version = publish(store)
    staged_dir = store.staging_dir("bot")
    for each in PUBLISHED:
        (staged_dir / each).write_bytes((store.version_dir(version) / each).read_bytes())
    other = store.manifest(version).model_copy(update={"train_key": "another package's"})
    assert store.add(staged_dir, other) == version
    assert store.find_trained("another package's") == version
    assert store.find_trained(store.manifest(version).train_key) == version
    shutil.rmtree(store.version_dir(version))
    assert store.find_trained("another package's") is None


def test_a_version_is_its_content(store: Store) -> None:
    version = publish(store)
    assert publish(store) == version != publish(store, weights="other")
    assert len(store.versions()) == 2
    assert store.manifest(version).version == version
    assert store.find_trained(store.manifest(version).train_key) == version
    assert store.find_trained("no such training") is None
    assert list((store.home / "staging").iterdir()) == []


def test_a_changed_file_is_noticed(store: Store) -> None:
    version = publish(store)
    store.verify(version)
    (store.version_dir(version) / "adapter_model.safetensors").write_text("x")
    with pytest.raises(StoreError, match="changed since it was published"):
        store.verify(version)


def test_a_file_that_is_not_the_manifests_is_not_added(store: Store) -> None:
    staged_dir = store.staging_dir("bot")
    for each in PUBLISHED:
        (staged_dir / each).write_text(each)
    record = manifest(staged_dir, "bot")
    (staged_dir / "adapter_config.json").write_text("changed")
    with pytest.raises(StoreError, match="not the file its manifest names"):
        store.add(staged_dir, record)
    assert store.versions() == []
    assert not staged_dir.exists()


@pytest.mark.parametrize(
    "name",
    ["../x@" + "0" * 12, "a/b@" + "0" * 12, "bot", "bot@xyz", "Bot@" + "0" * 12, "bot@" + "0" * 13],
)
def test_no_name_leaves_the_store(store: Store, name: str) -> None:
    with pytest.raises(StoreError, match="is not a version"):
        store.version_dir(name)


def test_an_unknown_version_offers_the_nearest(store: Store) -> None:
    version = publish(store)
    with pytest.raises(StoreError, match=f"did you mean '{version}'"):
        store.manifest(version[:-1] + ("0" if version[-1] != "0" else "1"))


def test_a_version_is_imported_whole_or_refused(store: Store, tmp_path: Path) -> None:
    version = publish(store)
    other = Store(tmp_path / "other")
    source_dir = store.version_dir(version)
    assert other.import_version(source_dir) == version == other.import_version(source_dir)
    (source_dir / "adapter_config.json").write_text("x")
    with pytest.raises(StoreError, match="not the file its manifest names"):
        Store(tmp_path / "third").import_version(source_dir)
    with pytest.raises(StoreError, match="not a published adapter"):
        store.import_version(tmp_path)


def test_a_manifest_of_another_schema_is_refused(store: Store) -> None:
    version = publish(store)
    path = store.version_dir(version) / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema": 3}))
    with pytest.raises(StoreError, match=r"manifest\.json: schema"):
        store.manifest(version)


def test_a_manifest_of_schema_1_is_one_of_supervised_training(store: Store) -> None:
    version = publish(store)
    path = store.version_dir(version) / "manifest.json"
    old = json.loads(path.read_text())
    for key in ("objective", "quantize"):
        del old[key]
    path.write_text(json.dumps(old | {"schema": 1}))
    manifest = store.manifest(version)
    assert (manifest.objective, manifest.quantize, manifest.dump()["schema"]) == ("sft", None, 1)


def test_an_alias_moves_and_remembers(store: Store) -> None:
    one, two = publish(store), publish(store, weights="2")
    assert store.move_alias("prod", one, at=AT, decision="d1", run="r1") is None
    assert store.move_alias("prod", two, at=AT, decision="d2", run="r2") == one
    assert store.resolve("prod") == two == store.resolve(two)
    assert store.served("prod") == [one, two]
    assert [each["decision"] for each in store.history("prod")] == ["d1", "d2"]
    assert store.history("other") == []


@pytest.mark.parametrize("alias", ["Prod", "a@b", "base", "", "../x"])
def test_an_alias_has_a_plain_name(store: Store, alias: str) -> None:
    version = publish(store)
    with pytest.raises(StoreError, match="is not an alias"):
        store.move_alias(alias, version, at=AT, decision=None, run=None)


def test_unknown_aliases_and_targets_are_refused(store: Store) -> None:
    version = publish(store)
    store.move_alias("prod", version, at=AT, decision=None, run=None)
    with pytest.raises(StoreError, match="did you mean 'prod'"):
        store.resolve("prd")
    with pytest.raises(StoreError, match="no version"):
        store.move_alias("prod", "bot@" + "0" * 12, at=AT, decision=None, run=None)
    assert store.resolve("prod") == version


def _move(home: Path, alias: str, version: str) -> None:
    for _ in range(20):
        Store(home).move_alias(alias, version, at=AT, decision=None, run=None)


def test_two_processes_lose_no_alias(store: Store) -> None:
    version = publish(store)
    context = multiprocessing.get_context("spawn")
    workers = [
        context.Process(target=_move, args=(store.home, f"alias{n}", version)) for n in range(3)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert set(store.aliases()) == {"alias0", "alias1", "alias2"}
    assert len(store.history()) == 60


def decision(status: Status = "fail") -> Decision:
    return Decision(
        status=status,
        candidate="bot@" + "0" * 12,
        baseline="pocket",
        evalset="e",
        judge="j",
        comparison=None,
        gate={},
        rules=(),
    )


def test_the_latest_decision_is_found(store: Store) -> None:
    version = decision().candidate
    assert store.latest_decision(version) is None
    failed = store.record(decision(), at=AT, run="r1")
    passed = store.record(decision("pass"), at=AT, run="r2")
    assert store.latest_decision(version) == (passed, decision("pass"))
    assert store.record(decision(), at=AT, run="r3") == failed
    assert store.latest_decision(version) == (failed, decision())
    assert store.latest_decision("bot@" + "1" * 12) is None


def test_a_move_that_another_process_forestalled_is_refused(store: Store) -> None:
    one, two = publish(store), publish(store, weights="2")
    store.move_alias("prod", one, at=AT, decision=None, run=None, expected=None)
    with pytest.raises(StoreError, match="was moved to"):
        store.move_alias("prod", two, at=AT, decision=None, run=None, expected=None)
    assert store.resolve("prod") == one


def test_the_base_named_by_an_alias_would_hide_the_version(store: Store) -> None:
    version = publish(store)
    with pytest.raises(StoreError, match="not the name of the base"):
        store.move_alias("pocket", version, at=AT, decision=None, run=None)


def test_two_stagings_never_meet(store: Store) -> None:
    assert store.staging_dir("bot") != store.staging_dir("bot")


def test_the_home_is_one_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_HOME", str(tmp_path / "h"))
    assert default_home() == tmp_path / "h"
    monkeypatch.delenv("HARNESS_HOME")
    monkeypatch.chdir(tmp_path)
    assert default_home() == tmp_path / ".harness"


@pytest.mark.parametrize("text", ["{}", "[]", '{"aliases": []}', '{"aliases": {"prod": 1}}'])
def test_a_damaged_alias_file_is_named(store: Store, text: str) -> None:
    store.home.mkdir()
    store.aliases_path.write_text(text)
    with pytest.raises(StoreError, match=r"aliases\.json: not an alias file"):
        store.aliases()
