"""What was measured, whole or in part."""

from __future__ import annotations

from pathlib import Path

import numpy as np

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
    assert one.result() is None
    for batch in BATCHES:
        one.append(NUMBERS[batch])
    told, again = one.finish(BATCHES, 3), kept(tmp_path).result()
    assert again
    for products, losses in (told, again):
        np.testing.assert_array_equal(products, NUMBERS[:, :2])
        np.testing.assert_array_equal(losses, NUMBERS[:, 2])
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
    np.testing.assert_array_equal(one.finish(BATCHES, 3)[0], NUMBERS[:, :2])


def test_another_question_has_another_directory(tmp_path: Path) -> None:
    one, other = kept(tmp_path), kept(tmp_path, method=2)
    one.keep_scale(np.ones(3, np.float32))
    assert other.scale() is None
    assert kept(tmp_path).scale() is not None
    assert kept(tmp_path).is_exact()


def test_a_damaged_file_is_measured_again(tmp_path: Path) -> None:
    one = kept(tmp_path)
    one.keep_scale(np.ones(3, np.float32))
    (one.path / "scale.npy").write_bytes(b"\x93NUMPY\x01\x00")
    assert one.scale() is None
    (one.path / "scale.npy").write_bytes(b"\x80\x04N.")  # a pickle
    assert one.scale() is None
