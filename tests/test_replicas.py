"""The servers on a store: who lives, who is gone, and whose file is taken away."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest

from harness.store.replicas import GONE_S, Replica, Replicas


@pytest.fixture
def replicas(tmp_path: Path) -> Replicas:
    return Replicas(tmp_path / "replicas")


def replica(number: int, **different: Any) -> Replica:
    known: dict[str, Any] = {
        "base_name": "pocket",
        "base_config": "c",
        "dtype": "float32",
        "pid": number,
    }
    place = {"id": f"{number:012x}", "url": f"http://h:{number}", "host": "h"}
    at = {"started_at": f"2030-01-0{9 - number}T00:00:00+00:00"}
    return Replica(**known | place | at | different)


def age(replicas: Replicas, each: Replica, seconds: float) -> Path:
    path = replicas._path(each.id)
    then = path.stat().st_mtime - seconds
    os.utime(path, (then, then))
    return path


def test_the_living_are_listed_oldest_first_until_they_leave(replicas: Replicas) -> None:
    assert replicas.living() == []
    one, two = replica(1), replica(2)
    replicas.register(one)
    replicas.register(two)
    assert replicas.living() == [two, one]
    replicas.forget(two.id)
    replicas.forget(two.id)
    assert replicas.living() == [one]


def test_a_silent_one_is_gone_and_a_beat_brings_it_back(replicas: Replicas) -> None:
    one = replica(1)
    replicas.register(one)
    age(replicas, one, GONE_S + 1)
    assert replicas.living() == []
    replicas.beat(one.id)
    assert replicas.living() == [one]


def test_a_file_from_the_future_is_of_nobody_who_lives(replicas: Replicas) -> None:
    """The clock was wrong when its server died."""
    one = replica(1)
    replicas.register(one)
    path = age(replicas, one, -2 * GONE_S)
    assert replicas.living() == []
    replicas.register(replica(2))
    assert not path.exists()


def test_whoever_may_only_read_sees_who_lives(
    replicas: Replicas, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = replica(1), replica(2)
    for each in (one, two):
        replicas.register(each)
    age(replicas, two, GONE_S + 1)

    def refuse(**options: Any) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(tempfile, "NamedTemporaryFile", refuse)
    assert replicas.living() == [one]
    with pytest.raises(OSError, match="Read-only"):
        replicas.register(two)


def test_a_beat_without_a_file_fails(replicas: Replicas) -> None:
    with pytest.raises(FileNotFoundError):
        replicas.beat("0" * 12)


def test_whoever_registers_takes_away_what_is_gone_and_what_it_replaces(
    replicas: Replicas,
) -> None:
    gone, before, same_url, now = (
        replica(1),
        replica(2),
        replica(3, url="http://h:4", host="another"),
        replica(4, url="http://h:2"),
    )
    for each in (gone, before, same_url):
        replicas.register(each)
    path = age(replicas, gone, GONE_S + 1)
    replicas.register(now)
    assert not path.exists()
    assert {each.id for each in replicas.living()} == {same_url.id, now.id}


def test_foreign_files_are_passed_over_and_kept(replicas: Replicas, tmp_path: Path) -> None:
    one = replica(1)
    replicas.register(one)
    foreign = [tmp_path / "replicas" / name for name in ("a.json", "b.json", "c.json")]
    for path, text in zip(foreign, ["{", "[]", '{"schema": 9, "id": "x"}'], strict=True):
        path.write_text(text)
    assert replicas.living() == [one]
    replicas.register(replica(2))
    assert all(path.exists() for path in foreign)
