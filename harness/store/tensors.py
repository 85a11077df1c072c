"""Safetensors files read without the library: names, types and shapes first, then one by one.

The format is small (https://github.com/huggingface/safetensors#format), and its library maps the
file into memory, where a file cut short under a running server would end the process. Knows
nothing of what the tensors are for.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from harness.errors import StoreError
from harness.jsonio import parse_json

_MAX_HEADER_BYTES = 100_000_000  # the format's own limit
_MAX_AXES = 8
_BITS = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2", "F8_E8M0"), 8),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 16),
    **dict.fromkeys(("U32", "I32", "F32"), 32),
    **dict.fromkeys(("U64", "I64", "F64", "C64"), 64),
}
"""Bits of a number; a type that is not here is believed."""


class Tensor(NamedTuple):
    """One tensor of a file, as its header says."""

    dtype: str
    """In the format's letters: F32, BF16, I8 …"""
    shape: tuple[int, ...]
    start: int
    """Byte of the file where it begins."""
    end: int


def read_header(path: Path) -> dict[str, Tensor]:
    """Tensor name → what the header says of it, in the file's order. Raises StoreError for a file
    that is damaged, cut short or of another format."""
    try:
        with path.open("rb") as file:
            return _parse(file.read(8), file.read, path.stat().st_size)
    except (OSError, ValueError) as error:
        raise StoreError(
            f"{path.name} is damaged or cut short: {error}; accepted: a whole safetensors file",
            hint="save or copy it again",
        ) from None


def read_tensors(path: Path) -> Iterator[tuple[str, Tensor, bytes]]:
    """(name, header, contents) of each tensor, in the file's order; one at a time is in memory.
    Raises StoreError as `read_header`."""
    header = read_header(path)
    with path.open("rb") as file:
        for name, tensor in header.items():
            file.seek(tensor.start)
            data = file.read(tensor.end - tensor.start)
            if len(data) != tensor.end - tensor.start:
                raise StoreError(
                    f"{path.name} was cut short while it was read", hint="copy it again"
                )
            yield name, tensor, data


def read_folder(directory: Path) -> dict[str, Tensor]:
    """The tensors of a folder's safetensors files, each read once a process while it does not
    change; where an index names its files, others are copies of the weights in another form.
    Raises StoreError as `read_header`."""
    found: dict[str, Tensor] = {}
    paths = sorted(directory.glob("*.safetensors"))
    named = _indexed(directory / "model.safetensors.index.json")
    for path in [each for each in paths if each.name in named] or paths:
        stat = path.stat()
        found |= _header_once(path, stat.st_size, stat.st_mtime_ns)
    return found


def _indexed(path: Path) -> set[str]:
    """Names of the files that an index says the weights are in; empty without one that can be
    read."""
    try:
        weight_map = parse_json(path.read_text(encoding="utf-8"))["weight_map"]
        return set(weight_map.values())
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return set()


@functools.cache
def _header_once(path: Path, n_bytes: int, changed_ns: int) -> dict[str, Tensor]:
    return read_header(path)


def _parse(prefix: bytes, read: Any, n_bytes: int) -> dict[str, Tensor]:
    """Raises ValueError with the reason."""
    size = int.from_bytes(prefix, "little")
    if len(prefix) < 8 or size > min(n_bytes - 8, _MAX_HEADER_BYTES):
        raise ValueError(f"its first bytes announce {size} bytes of names in {n_bytes} bytes")
    header = parse_json(read(size).decode())
    if not isinstance(header, dict):
        raise ValueError(f"its header is a {type(header).__name__}, not an object")
    header.pop("__metadata__", None)
    start = 8 + size
    tensors = [(name, _tensor(name, value, start)) for name, value in header.items()]
    tensors.sort(key=lambda each: (each[1].start, each[1].end))
    ends = [start, *(tensor.end for _, tensor in tensors)]
    for end, (name, tensor) in zip(ends, tensors, strict=False):
        if tensor.start != end:
            raise ValueError(f"{name!r:.90} begins at byte {tensor.start}, not at {end}")
    if ends[-1] != n_bytes:
        raise ValueError(f"its tensors end at byte {ends[-1]}, the file at {n_bytes}")
    return dict(tensors)


def _tensor(name: str, value: Any, offset: int) -> Tensor:
    """Raises ValueError for what describes no tensor."""
    match value:
        case {"dtype": str(dtype), "shape": [*shape], "data_offsets": [int(start), int(end)]} if (
            len(shape) <= _MAX_AXES and all(type(n) is int and 0 <= n < 1 << 63 for n in shape)
        ):
            bits = _BITS.get(dtype)
            if 0 <= start <= end and (bits is None or math.prod(shape) * bits == 8 * (end - start)):
                return Tensor(dtype, tuple(shape), offset + start, offset + end)
    raise ValueError(f"{name!r:.90} is described by {value!r:.90}")
