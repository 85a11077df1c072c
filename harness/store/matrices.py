"""The matrices of a base, by the names of the modules an adapter may change.

Reads the headers of its safetensors files. PEFT, the checkpoint and vLLM may each put another
prefix before `layers.0…`, so what follows it decides (vLLM maps the prefixes by model).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from harness.errors import nearest
from harness.store.tensors import read_folder

_TAIL = re.compile(r"(?:^|\.)([^.]+\.\d+\..+)")
_PACKED = ("qweight", "weight_packed")
_PACKED_TYPES = ("U8", "I32", "U32")
"""Several quantised numbers in one; the shape is not the matrix's."""
_HEAD, _EMBEDDING = "lm_head", "embed_tokens"


class Matrix(NamedTuple):
    """One matrix of a base."""

    module: str
    shape: tuple[int, int] | None
    """(out, in) as stored; None for a quantised one, whose files do not tell."""


class Matrices:
    """All matrices of a base, found by an adapter's name of the module."""

    def __init__(self, found: list[Matrix]) -> None:
        self._by_tail: dict[str, list[Matrix]] = {}
        for matrix in found:
            self._by_tail.setdefault(tail(matrix.module), []).append(matrix)

    def __bool__(self) -> bool:
        return bool(self._by_tail)

    def find(self, module: str) -> list[Matrix]:
        """The one of this very name, else all with the same tail; an output head that is not
        stored is the embedding's."""
        found = self._by_tail.get(tail(module), [])
        if not found and tail(module) == _HEAD:
            found = self._by_tail.get(_EMBEDDING, [])
        return [each for each in found if each.module == module] or found

    def offer(self, module: str) -> str:
        """A sentence part about what there is instead of `module`."""
        kind = module.rpartition(".")[2]
        kinds: dict[str, list[str]] = {}
        for each in self._by_tail:
            kinds.setdefault(each.rpartition(".")[2], []).append(each)
        if kind not in kinds:
            return nearest(kind, kinds)
        return f"the last {kind} is {max(kinds[kind], key=_numbers)}"


def base_matrices(base_dir: Path) -> list[Matrix]:
    """The matrices that the safetensors files of a base hold, none where it has no such files.
    Raises StoreError for a damaged one."""
    found = []
    for name, tensor in read_folder(base_dir).items():
        module, _, kind = name.rpartition(".")
        if len(tensor.shape) != 2 or kind not in ("weight", *_PACKED):
            continue
        known = kind == "weight" and tensor.dtype not in _PACKED_TYPES
        found.append(Matrix(module, (tensor.shape[0], tensor.shape[1]) if known else None))
    return found


def tail(module: str) -> str:
    """A module's name from its first numbered part on (layers.0.mlp.up_proj); without one, its
    last part."""
    match = _TAIL.search(module)
    return match[1] if match else module.rpartition(".")[2]


def _numbers(name: str) -> list[int]:
    return [int(each) for each in re.findall(r"\d+", name)]
