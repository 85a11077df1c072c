"""The alias map follows the file and survives its damage."""

from __future__ import annotations

import os
import threading
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


def test_a_file_that_could_not_be_read_for_a_moment_is_read_at_the_next_look_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "aliases.json"
    write_json(path, {"schema": 1, "aliases": {"prod": "bot@" + "0" * 12}})
    aliases = Aliases(path)

    def fail(path: Path) -> bytes:
        raise OSError("stale file handle")

    with monkeypatch.context() as faulty:
        faulty.setattr(Path, "read_bytes", fail)
        assert aliases.current() == aliases.current() == {}
    assert len(caplog.records) == 1
    assert aliases.current() == {"prod": "bot@" + "0" * 12}


def test_half_a_file_is_read_again_though_its_stamp_stays(tmp_path: Path) -> None:
    path = tmp_path / "aliases.json"
    whole = b'{"schema": 1, "aliases": {}}'
    aliases = Aliases(path)
    path.write_bytes(b'{"aliases": {"prod": "old"}}')
    assert aliases.current() == {"prod": "old"}
    for data in (whole[:-2] + b"  ", whole):
        path.write_bytes(data)
        os.utime(path, ns=(1, 1))
        seen = aliases.current()
    assert seen == {}


def test_a_second_thread_never_sees_the_old_map_under_the_new_stamp(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "aliases.json"
    write_json(path, {"schema": 1, "aliases": {"prod": "old"}})
    aliases = Aliases(path)
    assert aliases.current() == {"prod": "old"}
    write_json(path, {"schema": 1, "aliases": {"prod": "new"}})
    read, seen = Path.read_bytes, []

    def read_while_another_asks(path: Path) -> bytes:
        monkeypatch.setattr(Path, "read_bytes", read)
        other = threading.Thread(target=lambda: seen.append(aliases.current()))
        other.start()
        other.join()
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", read_while_another_asks)
    assert aliases.current() == {"prod": "new"}
    assert seen == [{"prod": "new"}]


def test_an_unchanged_file_is_not_read_again(tmp_path: Path) -> None:
    path = tmp_path / "aliases.json"
    aliases = Aliases(path)
    write_json(path, {"schema": 1, "aliases": {"prod": "bot@" + "0" * 12}})
    assert aliases.current() is aliases.current()
