"""The cache keeps what it was given, for many readers."""

from __future__ import annotations

from pathlib import Path

from harness.evaluation.cache import Cache


def test_values_survive_and_are_found_by_key(tmp_path: Path) -> None:
    path = tmp_path / "cache.sqlite"
    with Cache(path) as cache:
        cache.put({f"k{n}": {"n": n, "text": "é\n"} for n in range(1200)})
    with Cache(path) as one, Cache(path) as other:
        found = one.get([f"k{n}" for n in range(1300)])
        assert len(found) == 1200
        assert found["k7"] == {"n": 7, "text": "é\n"}
        other.put({"k7": {"n": 8}})
        assert one.get(["k7"]) == {"k7": {"n": 8}}
