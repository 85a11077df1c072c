"""Canonical JSON, digests and files that are either whole or absent.

Knows nothing of what the files mean. Every write goes to a temporary name in the same folder,
is flushed to disk and renamed, so a reader never sees half a file.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from harness.errors import DataError


def canonical(value: Any) -> bytes:
    """The one JSON encoding of a value: sorted keys, no spaces, UTF-8; NaN is refused."""
    text = json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return text.encode()


def digest(value: Any) -> str:
    """SHA-256 (64 hex digits) of bytes as they are, of anything else as canonical JSON."""
    data = value if isinstance(value, bytes) else canonical(value)
    return hashlib.sha256(data).hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 (64 hex digits) of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_bytes(path: Path, data: bytes) -> None:
    """Replace `path` atomically; the file is readable by everyone, as the umask allows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def write_json(path: Path, value: Any) -> None:
    """Replace `path` with indented JSON, keys in the order of the value."""
    text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False)
    write_bytes(path, (text + "\n").encode())


def write_jsonl(path: Path, values: Iterable[Any]) -> None:
    """Replace `path` with one canonical JSON value a line."""
    write_bytes(path, b"".join(canonical(value) + b"\n" for value in values))


def append_jsonl(path: Path, value: Any) -> None:
    """Append one line; a single write, so that two processes do not mix their lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        file.write(canonical(value) + b"\n")
        file.flush()
        os.fsync(file.fileno())


def read_json(path: Path) -> Any:
    """The JSON value in a file. Raises DataError with file:line for text that is not JSON."""
    try:
        return json.loads(path.read_bytes())
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DataError(f"{path}{_line(error)}: not JSON: {_reason(error)}") from None


def read_jsonl(path: Path) -> Iterator[tuple[int, Any]]:
    """(line number from 1, value) of every line that is not blank; DataError names file:line."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                yield number, json.loads(line.removeprefix(b"\xef\xbb\xbf"))
            except (UnicodeDecodeError, json.JSONDecodeError) as error:
                raise DataError(
                    f"{path}:{number}: not JSON: {_reason(error)}",
                    hint="every line must be one JSON object",
                ) from None


def _line(error: Exception) -> str:
    return f":{error.lineno}" if isinstance(error, json.JSONDecodeError) else ""


def _reason(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} (column {error.colno})"
    return str(error)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive advisory lock on `path` (created when absent) for the block."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
