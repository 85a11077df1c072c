"""What a source of the recipe is, told by its first bytes rather than by its name, as rows.

A row is an object of columns and its place, or the reason why it is none. Knows nothing of what
the columns mean.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, NamedTuple, cast

from harness.errors import DataError
from harness.recipe import Source
from harness.recipe.load import locate
from harness.training.reading import json_rows, tabular
from harness.training.reading.encodings import require_text
from harness.training.reading.json_rows import PlacedRows

_HEAD = 1 << 16
_GZIP = b"\x1f\x8b"
_PARQUET = b"PAR1"
_LFS = b"version https://git-lfs.github.com/spec/"
_SIZE = re.compile(rb"size (\d+)")
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_FILE = re.compile(r"\.(jsonl?|csv|tsv|parquet|gz|txt)$", re.IGNORECASE)
_DATA = re.compile(r"^(?!\.|dataset_infos?\.json$).*\.(jsonl?|csv|tsv|parquet)(\.gz)?$", re.I)
_TABLE = re.compile(r"\.(csv|tsv)(\.gz)?$", re.IGNORECASE)
_ACCEPTED = ".json, .jsonl, .csv (each also .gz), .parquet"

_Reader = Callable[[IO[bytes], str], PlacedRows]


class Rows(NamedTuple):
    """The rows of a source, in order, read as they are asked for."""

    container: str
    """json, jsonl or csv, each also with .gz; parquet, dataset or hub."""
    rows: PlacedRows


def open_rows(source: Source, root: Path) -> Rows:
    """Open what `source.path` names: a file or folder from `root` where there is one, otherwise a
    dataset on the hub.

    Raises DataError, here or while the rows are read, for a file that is absent or not what it
    is called; the row that does so is named.
    """
    path, label = locate(root, source.path), source.path
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except IsADirectoryError:
        return _folder(path, source)
    except FileNotFoundError:
        return _hub(path, source)
    except OSError as error:
        raise DataError(f"{label}: cannot be read: {error.strerror}") from None
    except ValueError as error:  # a NUL in the path
        raise DataError(f"{label!r}: not a path: {error}") from None
    if head.startswith(_PARQUET):
        return Rows("parquet", tabular.parquet_rows(path, label))
    return _text(path, label, head)


def _folder(path: Path, source: Source) -> Rows:
    saved = tabular.saved_rows(path, source)
    if saved is not None:
        return Rows("dataset", saved)
    files = [each for each in sorted(path.rglob("*")) if _DATA.search(each.name)]
    if not files:
        raise DataError(
            f"{source.path}: a folder without data files", hint=f"accepted: {_ACCEPTED}"
        )
    if source.subset is None:
        tabular.require_all_taken(path, source, files)
    return Rows("dataset", tabular.loaded_rows(str(path), source))


def _hub(path: Path, source: Source) -> Rows:
    if _HUB_ID.fullmatch(source.path) and not _FILE.search(source.path):
        return Rows("hub", tabular.loaded_rows(source.path, source))
    raise DataError(
        f"{source.path}: no such file ({path})",
        hint="data.sources paths start from the recipe's folder",
    )


def _text(path: Path, label: str, head: bytes) -> Rows:
    if head.startswith(_LFS):
        size = _SIZE.search(head)
        n_bytes = f" of {size[1].decode()} bytes" if size else ""
        raise DataError(
            f"{label}:1: a git-lfs pointer to the file{n_bytes}, not the file itself",
            hint="git lfs pull",
        )
    suffix = ""
    if head.startswith(_GZIP):
        suffix = ".gz"
        head = _unzipped(path, label)
    elif path.suffix.lower() == ".gz":
        raise DataError(
            f"{label}:1: not gzip, though its name ends so: it begins with {head[:16]!r}",
            hint="fetch the file again, or rename it",
        )
    require_text(head, label)
    name, rows = _reader(path, head)
    return Rows(name + suffix, _closing(path, suffix, rows, label))


def _reader(path: Path, head: bytes) -> tuple[str, _Reader]:
    if _TABLE.search(path.name):
        return "csv", tabular.csv_rows
    if json_rows.is_document(head):
        return "json", json_rows.document
    return "jsonl", json_rows.lines


def _unzipped(path: Path, label: str) -> bytes:
    try:
        with gzip.open(path) as file:
            return file.read1(_HEAD)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(
            f"{label}:1: the gzip file ends early or is damaged: {error}",
            hint="fetch the file again",
        ) from None


def _closing(path: Path, suffix: str, rows: _Reader, label: str) -> PlacedRows:
    with path.open("rb") as file:
        if not suffix:
            yield from rows(file, label)
            return
        with gzip.open(file) as unzipped:
            yield from rows(cast(IO[bytes], unzipped), label)
