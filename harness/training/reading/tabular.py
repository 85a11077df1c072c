"""Tables as rows: CSV, Parquet, folders that `datasets` saved, and datasets of the hub.

All are read in batches. Knows nothing of what the columns mean.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from harness.errors import DataError, nearest
from harness.recipe import Source
from harness.training.reading.encodings import not_utf8
from harness.training.reading.example import BadRow
from harness.training.reading.json_rows import PlacedRows, numbered

_BATCH = 1024
_LONGEST_CELL = 1 << 24
_DELIMITERS = ",;\t"
_NAMED = 5


def csv_rows(file: IO[bytes], label: str) -> PlacedRows:
    """The rows of a CSV file with column names in its first line, separated by commas, semicolons
    or tabs; the place is the line a row starts in. Rows of empty cells are passed over; a line
    inside a cell ends in a line feed alone.

    Raises DataError for what is wrong with the header or the quotes.
    """
    texts = _texts(file, label)
    first = next(texts, "")
    csv.field_size_limit(_LONGEST_CELL)
    reader = csv.reader(
        _chained(first, texts), delimiter=max(_DELIMITERS, key=first.count), strict=True
    )
    header: list[str] = []
    line = 1
    try:
        for cells in reader:
            if not header:
                header = _header(cells, label)
            elif len(cells) == len(header) and any(cells):
                yield f"{label}:{line}", dict(zip(header, cells, strict=True))
            elif any(cells):
                yield f"{label}:{line}", BadRow(f"{len(cells)} cells; the header has {len(header)}")
            line = reader.line_num + 1
    except csv.Error as error:
        raise DataError(
            f"{label}:{line}: not CSV: {error}",
            hint="quote cells that hold quotes or line ends, and double the quotes inside",
        ) from None


def _texts(file: IO[bytes], label: str) -> Iterator[str]:
    for number, line in numbered(file, label):
        try:
            text = line.decode()
        except UnicodeDecodeError as error:
            raise not_utf8(error, label, number) from None
        yield text[:-2] + "\n" if text.endswith("\r\n") else text


def _chained(first: str, rest: Iterator[str]) -> Iterator[str]:
    yield first
    yield from rest


def _header(cells: list[str], label: str) -> list[str]:
    names = [each.strip() for each in cells]
    twice = sorted({each for each in names if names.count(each) > 1})
    if twice:
        raise DataError(f"{label}:1: the column {twice[0]!r} is named twice")
    return names


def parquet_rows(path: Path, label: str) -> PlacedRows:
    """The rows of a Parquet file; the place is the row's number from 1."""
    from pyarrow import ArrowException
    from pyarrow.parquet import ParquetFile

    try:
        with ParquetFile(path) as file:
            batches = (batch.to_pylist() for batch in file.iter_batches(_BATCH))
            yield from _placed((row for batch in batches for row in batch), label)
    except (ArrowException, OSError) as error:
        raise DataError(
            f"{label}: not Parquet, or damaged: {_first_line(error)}",
            hint="fetch or write the file again",
        ) from None


def saved_rows(path: Path, source: Source) -> PlacedRows | None:
    """The rows of a folder written by `datasets`' save_to_disk; None for any other folder."""
    splits = (path / "dataset_dict.json").is_file()
    if not splits and not (path / "state.json").is_file():
        return None
    from datasets import load_from_disk

    try:
        found = load_from_disk(str(path))
    except Exception as error:  # whatever a damaged folder makes of the library
        raise _unloadable(source, error) from None
    if splits:
        if source.split not in found:
            known = nearest(source.split, map(str, found))
            raise DataError(f"{source.path}: no split {source.split!r}: {known}")
        found = found[source.split]
    rows = (
        dict(zip(batch, cells, strict=True))
        for batch in found.with_format(None).iter(_BATCH)
        for cells in zip(*batch.values(), strict=True)
    )
    return _placed(rows, source.path)


def require_all_taken(path: Path, source: Source, files: Sequence[Path]) -> None:
    """Raises DataError for data files of a folder that are in none of its splits: `datasets` takes
    those of one kind and, where a name says train or test, only such."""
    import datasets

    try:
        splits = datasets.load_dataset_builder(str(path), source.subset).config.data_files or {}
    except Exception as error:  # as below
        raise _unloadable(source, error) from None
    taken = {Path(each).resolve() for split in splits.values() for each in split}
    left = [str(each.relative_to(path)) for each in files if each.resolve() not in taken]
    if left:
        named = ", ".join(left[:_NAMED]) + (" and more" if len(left) > _NAMED else "")
        raise DataError(
            f"{source.path}: {len(left)} of {len(files)} data files are in none of its splits "
            f"({', '.join(map(str, splits))}): {named}",
            hint="give each file a source of its own in data.sources, or take these out",
        )


def loaded_rows(name: str, source: Source) -> PlacedRows:
    """The rows of a dataset on the hub, or of a folder of data files laid out like one, streamed.

    `datasets` runs no code of a dataset's and opens no pickles (since 4.0); HF_HUB_OFFLINE is
    honoured. Raises DataError when it cannot be loaded.
    """
    import datasets

    datasets.disable_progress_bars()
    try:
        found = datasets.load_dataset(name, source.subset, split=source.split, streaming=True)
        yield from _placed(iter(found), source.path)
    except DataError:
        raise
    except Exception as error:  # networks, files and builders fail in many ways
        raise _unloadable(source, error) from None


def _unloadable(source: Source, error: Exception) -> DataError:
    return DataError(
        f"{source.path}: cannot be loaded as a dataset: {type(error).__name__}: "
        f"{_first_line(error)}",
        hint="accepted: a file or folder, its path starting from the recipe's folder, or "
        "owner/name of a dataset on the hub, with its subset and split",
    )


def _placed(rows: Iterator[dict[str, Any]], label: str) -> PlacedRows:
    for number, row in enumerate(rows, 1):
        yield f"{label}:row {number}", {key: _pruned(value) for key, value in row.items()}


def _pruned(value: Any) -> Any:
    """The value without empty members of objects: Arrow gives all objects of a column the keys
    of all, so that a key with null says no more than that another row has it."""
    if isinstance(value, dict):
        return {key: _pruned(each) for key, each in value.items() if each is not None}
    if isinstance(value, list):
        return [_pruned(each) for each in value]
    return value


def _first_line(error: Exception) -> str:
    return (str(error).strip() or "no reason given").splitlines()[0]
