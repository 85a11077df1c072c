"""Canonical JSON, digests and atomic files."""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Iterator
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


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"[" * 100_000, "nested too deep"),
        (b'{"a": ' + b"9" * 5000 + b"}", "a number has too many digits"),
        (b'{"a": "\\ud83d"}', r"a lone surrogate '\\ud83d' is not text"),
        (b'{"\\uDC00": 1}', "a lone surrogate"),
        (b'{"a": "\xed\xa0\x80"}', "byte 0xed is not UTF-8"),
        (b'{"a": "\xe9"}', "byte 0xe9 is not UTF-8"),
    ],
    ids=range(6),
)
def test_what_python_cannot_hold_is_named_by_file_and_line(
    tmp_path: Path, text: bytes, reason: str
) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"{}\n" + text + b"\n")
    with pytest.raises(DataError, match=rf"rows\.jsonl:2: not JSON: .*{reason}"):
        list(jsonio.read_jsonl(path))
    path.write_bytes(text)
    with pytest.raises(DataError, match=rf"rows\.jsonl(:1)?: not JSON: .*{reason}"):
        jsonio.read_json(path)


def test_whole_characters_written_as_pairs_are_text(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('["\\ud83d\\ude42", "\\\\ud83d"]')
    assert jsonio.read_json(path) == ["🙂", "\\ud83d"]


def test_a_path_that_is_no_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "file").touch()
    for name in ("nul\0", "x" * 300, "loop", "", "file/under"):
        with pytest.raises(DataError, match="cannot be read"):
            jsonio.read_json(tmp_path / name)
        with pytest.raises(DataError, match="cannot be read"):
            list(jsonio.read_jsonl(tmp_path / name))
    with pytest.raises(FileNotFoundError):
        jsonio.read_json(tmp_path / "none")


def test_chunks_are_written_as_they_come_and_half_a_file_is_none(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    seen: list[int] = []

    def chunks() -> Iterator[bytes]:
        for number in range(3):
            seen.append(sum(each.stat().st_size for each in tmp_path.iterdir()))
            yield bytes([65 + number]) * 2**17
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        jsonio.write_chunks(path, chunks())
    assert seen[2] > seen[0], "what was yielded before is on its way to the disk"
    assert list(tmp_path.iterdir()) == []
    expected = hashlib.sha256(b"ab").hexdigest()
    assert jsonio.write_chunks(path, (b"a", b"b")) == expected == jsonio.file_digest(path)
