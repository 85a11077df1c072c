"""Generations and verdicts by content, in one SQLite file (WAL) that many processes may share.

A key is the digest of everything that determines a value; the cache never decides what that is.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from harness.jsonio import canonical

_CHUNK = 500


class Cache:
    """A context manager; values are JSON objects."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._connection = sqlite3.connect(path, timeout=60)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute(
            "CREATE TABLE IF NOT EXISTS cache (key TEXT PRIMARY KEY, value TEXT NOT NULL)"
        )

    def __enter__(self) -> Cache:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._connection.close()

    def get(self, keys: Iterable[str]) -> dict[str, dict[str, Any]]:
        """The values that are there, by key."""
        wanted = list(dict.fromkeys(keys))
        found: dict[str, dict[str, Any]] = {}
        for start in range(0, len(wanted), _CHUNK):
            chunk = wanted[start : start + _CHUNK]
            marks = ",".join("?" * len(chunk))
            query = f"SELECT key, value FROM cache WHERE key IN ({marks})"
            found |= {
                key: json.loads(value) for key, value in self._connection.execute(query, chunk)
            }
        return found

    def put(self, values: Mapping[str, dict[str, Any]]) -> None:
        """Store values; committed before it returns."""
        rows = [(key, canonical(value).decode()) for key, value in values.items()]
        with self._connection:
            self._connection.executemany("INSERT OR REPLACE INTO cache VALUES (?, ?)", rows)
