"""Canonical JSON, digests and atomic files."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from harness import jsonio
from harness.errors import DataError


def test_equal_values_have_one_encoding() -> None:
    assert jsonio.canonical({"b": 1, "a": "é"}) == '{"a":"é","b":1}'.encode()
    assert jsonio.digest({"a": 1, "b": 2}) == jsonio.digest({"b": 2, "a": 1})
    assert jsonio.digest((1, 2)) == jsonio.digest([1, 2])


def test_nan_is_never_written(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    with pytest.raises(ValueError, match="not JSON compliant"):
        jsonio.write_json(path, {"mean": float("nan")})
    assert not path.exists()


def test_a_failed_write_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.json"
    jsonio.write_json(path, 1)

    def full(handle: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="disk full"):
        jsonio.write_json(path, 2)
    assert jsonio.read_json(path) == 1
    assert [each.name for each in tmp_path.iterdir()] == ["a.json"]


def test_files_are_readable_by_other_users(tmp_path: Path) -> None:
    jsonio.write_json(tmp_path / "a.json", 1)
    assert stat.S_IMODE((tmp_path / "a.json").stat().st_mode) == 0o644


def test_broken_json_is_named_by_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a": 1}\n\n{"a": \n')
    with pytest.raises(DataError, match=r"rows\.jsonl:3: not JSON"):
        list(jsonio.read_jsonl(path))
    with pytest.raises(DataError, match=r"rows\.jsonl:3: not JSON"):
        jsonio.read_json(path)


def test_a_byte_order_mark_is_no_error(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}\r\n')
    assert list(jsonio.read_jsonl(path)) == [(1, {"a": 1})]
