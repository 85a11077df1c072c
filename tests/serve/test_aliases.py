"""The alias map follows the file and survives its damage."""

from __future__ import annotations

import os
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from harness.jsonio import write_json
from harness.store import Store
from serve.aliases import Aliases, Table
from tests.serve.fakes import published

ZERO = b'{"aliases": {"prod": "a"}, "splits": {"prod": {"a": 1, "b": 0}}}'
HUGE = b'{"aliases": {"prod": "a"}, "splits": {"prod": {"a": %d}}}' % 10**400
AS_VERSION = b'{"aliases": {"bot@0123456789ab": "bot@ba9876543210"}}'
SPLIT_AS_VERSION = b'{"aliases": {}, "splits": {"bot@0123456789ab": {"bot@ba9876543210": 1}}}'


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


def keys(n: int = 4000) -> list[str]:
    return [f"user {number}" for number in range(n)]


def picked(**shares: int) -> list[str | None]:
    table = Table({"prod": "a"}, {"prod": shares})
    return [table.pick("prod", key) for key in keys()]


def test_a_split_gives_every_version_its_share_and_every_key_one_version() -> None:
    answers = picked(a=70, b=20, c=10)
    assert answers == picked(c=10, a=70, b=20)
    counts = Counter(answers)
    for version, share in {"a": 0.7, "b": 0.2, "c": 0.1}.items():
        spread = 5 * (len(answers) * share * (1 - share)) ** 0.5  # five standard deviations
        assert abs(counts[version] - len(answers) * share) < spread


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"a": 90, "b": 10}, {"a": 50, "b": 50}),
        ({"a": 80, "b": 10, "c": 10}, {"a": 50, "b": 40, "c": 10}),
        ({"a": 90, "b": 10}, {"a": 9, "b": 1}),
        ({"a": 90, "b": 10}, {"a": 80, "b": 10, "c": 10}),
    ],
)
def test_when_weights_change_a_key_moves_only_to_a_version_that_grew_against_its_own(
    before: dict[str, int], after: dict[str, int]
) -> None:
    pairs = zip(picked(**before), picked(**after), strict=True)
    moved = {(str(old), str(new)) for old, new in pairs if old != new}
    grew = {
        (old, new)
        for old in before
        for new in after
        if after[new] * before[old] > before.get(new, 0) * after[old]
    }
    assert moved == grew


def test_two_aliases_are_split_apart_from_each_other() -> None:
    shares = {"a": 50, "b": 50}
    table = Table({"x": "a", "y": "a"}, {"x": shares, "y": shares})
    same = sum(table.pick("x", key) == table.pick("y", key) for key in keys())
    assert abs(same - 2000) < 5 * 1000**0.5


def test_what_is_not_split_is_answered_by_its_version_and_what_is_no_alias_by_none() -> None:
    table = Table({"prod": "a", "other": "b"}, {"prod": {"a": 1, "b": 1}})
    assert table.pick("other", "any") == "b"
    assert table.pick("nobody", "any") is None


def test_a_refresh_sees_what_a_stat_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As network file systems behave: attributes are fresh only once the file was opened."""
    path = tmp_path / "aliases.json"
    write_json(path, {"schema": 1, "aliases": {"prod": "old"}})
    aliases, stat, opened = Aliases(path), path.stat(), Path.open
    assert aliases.current() == {"prod": "old"}
    write_json(path, {"schema": 2, "aliases": {"prod": "new"}, "splits": {}})

    with monkeypatch.context() as cached:
        cached.setattr(Path, "stat", lambda self: stat)

        def open_(self: Path, mode: str) -> Any:
            cached.undo()
            return opened(self, mode)

        cached.setattr(Path, "open", open_)
        assert aliases.current() == {"prod": "old"}
        assert aliases.refresh().aliases == {"prod": "new"}


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b'{"schema": 1, "alia',
        b"[]",
        b'{"aliases": {"prod": 3}}',
        b"\xff\xfe",
        ZERO,
        HUGE,
        AS_VERSION,
        SPLIT_AS_VERSION,
    ],
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
