"""Alias → version, or versions with weights, as the store's alias file says at this moment.

One stat per look-up; the file is read again only when it changed. A file that cannot be read
leaves the last good table in force and is tried again at the next look-up: a damaged file must not
take the service down.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec

_log = logging.getLogger(__name__)


class Table(msgspec.Struct, frozen=True):
    """The alias file."""

    aliases: dict[str, str]
    splits: dict[str, dict[str, int]] = {}

    def pick(self, alias: str, key: str) -> str | None:
        """The version that answers a request for `alias`; None for what is no alias. Where the
        alias is split, equal keys get the same version, and a version whose weight grows keeps
        the keys it has."""
        shares = self.splits.get(alias)
        if not shares:
            return self.aliases.get(alias)
        drawn = int.from_bytes(hashlib.sha256(f"{alias}\n{key}".encode()).digest()[:8], "big")
        place = drawn / 2**64 * sum(shares.values())
        for version, weight in shares.items():
            place -= weight
            if place < 0:
                return version
        return self.aliases.get(alias)


class _Known(NamedTuple):
    """A table and the file it was read from: (inode, time of change, size)."""

    stamp: tuple[int, int, int] | None
    table: Table


class Aliases:
    """The alias file at `path`, which need not exist yet. Any thread may look up."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known = _Known(None, Table({}))
        self._complaint = ""

    def table(self) -> Table:
        """The table now. A move that ended before this call is always seen."""
        known = self._known
        try:
            stat = self._path.stat()
            stamp = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
            if stamp == known.stamp:
                return known.table
            read = msgspec.json.decode(self._path.read_bytes(), type=Table)
        except FileNotFoundError:
            return known.table
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            self._complain(str(error))
            return known.table
        self._known = _Known(stamp, read)
        self._complaint = ""
        return read

    def current(self) -> Mapping[str, str]:
        """Alias → the version it points at, whether or not it is split."""
        return self.table().aliases

    def _complain(self, reason: str) -> None:
        if reason != self._complaint:  # once, not at every request
            self._complaint = reason
            _log.error("%s: %s; keeping the last good aliases", self._path, reason)
