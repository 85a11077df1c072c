"""The alias map follows the file and survives its damage."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.jsonio import write_json
from harness.store import Store
from serve.aliases import Aliases
from tests.serve.fakes import published


def test_absent_file_is_no_aliases_and_its_arrival_is_seen(tmp_path: Path) -> None:
    store = Store(tmp_path)
    aliases = Aliases(store.aliases_path)
    assert aliases.current() == {}
    version = published(store, "bot")
    store.move_alias("prod", version, at="now", decision=None, run=None)
    assert aliases.current() == {"prod": version}


def test_every_move_is_seen_even_at_the_same_size_and_time(tmp_path: Path) -> None:
    path = tmp_path / "aliases.json"
    aliases = Aliases(path)
    for digit in "012345678":
        write_json(path, {"schema": 1, "aliases": {"prod": f"bot@{digit * 12}"}})
        os.utime(path, ns=(1, 1))
        assert aliases.current() == {"prod": f"bot@{digit * 12}"}


@pytest.mark.parametrize(
    "damage", [b"", b'{"schema": 1, "alia', b"[]", b'{"aliases": {"prod": 3}}', b"\xff\xfe"]
)
def test_damage_keeps_the_last_good_map(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "aliases.json"
    aliases = Aliases(path)
    write_json(path, {"schema": 1, "aliases": {"prod": "bot@" + "0" * 12}})
    good = dict(aliases.current())
    path.write_bytes(damage)
    assert aliases.current() == good
    path.unlink()
    assert aliases.current() == good
    write_json(path, {"schema": 1, "aliases": {}})
    assert aliases.current() == {}


def test_an_unchanged_file_is_not_read_again(tmp_path: Path) -> None:
    path = tmp_path / "aliases.json"
    aliases = Aliases(path)
    write_json(path, {"schema": 1, "aliases": {"prod": "bot@" + "0" * 12}})
    assert aliases.current() is aliases.current()
