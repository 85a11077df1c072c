"""What was measured, as files: whole, or as far as it came.

    about.json      what it was made from, for people
    scale.npy       mean square of every parameter's gradient
    products.part   float32 numbers of the rows so far, in the order of visiting, batch by batch
    products.npy losses.npy   the result; losses.npy is written last

Knows nothing of models.
"""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.errors import DataError
from harness.jsonio import digest, read_json, write_bytes, write_json
from harness.types import SCHEMA

Array = NDArray[np.float32]
Batches = Sequence[Sequence[int]]
"""Places of rows, in the order of visiting."""


class Found(NamedTuple):
    """A whole measurement."""

    products: Array
    losses: Array
    exact: bool
    """False: gradients were projected."""


class Kept:
    """The directory of one measurement; another question has another."""

    def __init__(self, root: Path, about: dict[str, Any]) -> None:
        self.path = root / digest(about)[:12]
        self.about = about
        self._part = self.path / "products.part"
        self._products, self._losses = self.path / "products.npy", self.path / "losses.npy"

    @property
    def lock(self) -> Path:
        return self.path / ".lock"

    def begin(self, *, n_parameters: int, exact: bool) -> None:
        """Write down what it is made from and how."""
        how = {"n_parameters": n_parameters, "exact": exact}
        write_json(self.path / "about.json", {"schema": SCHEMA} | how | self.about)

    def result(self, n_rows: int, n_items: int) -> Found | None:
        """Where all rows are measured; None also where a file is gone or damaged."""
        products, losses, exact = _load(self._products), _load(self._losses), self._exact()
        if products is None or losses is None or exact is None:
            return None
        if products.shape != (n_rows, n_items) or losses.shape != (n_rows,):
            return None
        return Found(products, losses, exact)

    def _exact(self) -> bool | None:
        try:
            exact = read_json(self.path / "about.json")["exact"]
        except (OSError, DataError, LookupError, TypeError):
            return None
        return exact if isinstance(exact, bool) else None

    def scale(self) -> Array | None:
        """The mean squares, where they are known."""
        return _load(self.path / "scale.npy")

    def keep_scale(self, values: Array) -> None:
        _save(self.path / "scale.npy", values)

    def resume(self, batches: Batches, n_columns: int) -> int:
        """How many whole batches are measured; half a one is cut off."""
        n_bytes = self._part.stat().st_size if self._part.exists() else 0
        ends = [4 * n_columns * n for n in accumulate(map(len, batches))]
        n_done = sum(end <= n_bytes for end in ends)
        if n_bytes:
            os.truncate(self._part, ends[n_done - 1] if n_done else 0)
        return n_done

    def append(self, numbers: Array) -> None:
        """The numbers of the next batch: (rows, columns)."""
        with self._part.open("ab") as file:
            file.write(np.ascontiguousarray(numbers, np.float32).tobytes())
            file.flush()
            os.fsync(file.fileno())

    def finish(self, batches: Batches, n_columns: int) -> None:
        """Put the rows in their own order; the last column is their loss."""
        found = np.fromfile(self._part, np.float32).reshape(-1, n_columns)
        order = np.concatenate([np.asarray(batch, np.int64) for batch in batches])
        whole = np.empty_like(found)
        whole[order] = found
        _save(self._products, whole[:, :-1])
        _save(self._losses, whole[:, -1])
        self._part.unlink()


def _save(path: Path, values: Array) -> None:
    data = io.BytesIO()
    np.save(data, np.ascontiguousarray(values), allow_pickle=False)
    write_bytes(path, data.getvalue())


def _load(path: Path) -> Array | None:
    """None also for a file that is damaged: it is measured again."""
    try:
        found = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    whole = isinstance(found, np.ndarray) and found.dtype == np.float32
    return found if whole and np.isfinite(found).all() else None
