"""What was measured, whole or in part."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness.blame.kept import Kept

BATCHES = [[2, 0], [1, 4], [3]]
NUMBERS = np.arange(15, dtype=np.float32).reshape(5, 3)
"""Of rows 0 to 4: two items and a loss."""


def kept(tmp_path: Path, **about: int) -> Kept:
    found = Kept(tmp_path, {"version": "bot", **about})
    found.begin(n_parameters=7, exact=True)
    return found


def test_rows_come_back_in_their_own_order(tmp_path: Path) -> None:
    one = kept(tmp_path)
    assert one.result(5, 2) is None
    for batch in BATCHES:
        one.append(NUMBERS[batch])
    one.finish(BATCHES, 3)
    again = kept(tmp_path).result(5, 2)
    assert again
    np.testing.assert_array_equal(again.products, NUMBERS[:, :2])
    np.testing.assert_array_equal(again.losses, NUMBERS[:, 2])
    assert again.exact
    assert not list(tmp_path.rglob("*.part"))


def test_half_a_batch_is_measured_again(tmp_path: Path) -> None:
    one = kept(tmp_path)
    assert one.resume(BATCHES, 3) == 0
    one.append(NUMBERS[BATCHES[0]])
    one.append(NUMBERS[BATCHES[1]])
    part = next(tmp_path.rglob("*.part"))
    part.write_bytes(part.read_bytes()[:-5])
    assert kept(tmp_path).resume(BATCHES, 3) == 1
    assert part.stat().st_size == 2 * 3 * 4
    for batch in BATCHES[1:]:
        one.append(NUMBERS[batch])
    one.finish(BATCHES, 3)
    again = one.result(5, 2)
    assert again
    np.testing.assert_array_equal(again.products, NUMBERS[:, :2])


def test_another_question_has_another_directory(tmp_path: Path) -> None:
    one, other = kept(tmp_path), kept(tmp_path, method=2)
    one.keep_scale(np.ones(3, np.float32))
    assert other.scale() is None
    assert kept(tmp_path).scale() is not None


def test_a_damaged_file_is_measured_again(tmp_path: Path) -> None:
    one = kept(tmp_path)
    one.keep_scale(np.ones(3, np.float32))
    (one.path / "scale.npy").write_bytes(b"\x93NUMPY\x01\x00")
    assert one.scale() is None
    (one.path / "scale.npy").write_bytes(b"\x80\x04N.")  # a pickle
    assert one.scale() is None


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("about.json", b"{"),
        ("about.json", b"[]"),
        ("products.npy", b""),
        ("losses.npy", b"\x93NUMPY\x01\x00"),
    ],
)
def test_a_damaged_result_is_none(tmp_path: Path, name: str, damage: bytes) -> None:
    one = kept(tmp_path)
    for batch in BATCHES:
        one.append(NUMBERS[batch])
    one.finish(BATCHES, 3)
    assert one.result(5, 2)
    assert one.result(5, 3) is None
    assert one.result(4, 2) is None
    (one.path / name).write_bytes(damage)
    assert one.result(5, 2) is None


def test_what_is_no_number_is_no_result(tmp_path: Path) -> None:
    one = kept(tmp_path)
    for batch in BATCHES:
        one.append(np.where(NUMBERS[batch] == 0, np.nan, NUMBERS[batch]))
    one.finish(BATCHES, 3)
    assert one.result(5, 2) is None
