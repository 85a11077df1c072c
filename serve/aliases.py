"""Alias → version, or versions with weights, as the store's alias file says at this moment.

One stat per look-up; the file is read again only when it changed. A file that cannot be read
leaves the last good table in force and is tried again at the next look-up: a damaged file must not
take the service down.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, NamedTuple

import msgspec

from harness.store import VERSION

_log = logging.getLogger(__name__)


class Table(msgspec.Struct, frozen=True):
    """The alias file."""

    aliases: dict[str, str]
    splits: dict[str, dict[str, Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]]] = {}

    def require_no_version(self) -> None:
        """Raises msgspec.ValidationError for an alias that is named as a version is: the answer to
        a version's name must be that version's."""
        for name in (*self.aliases, *self.splits):
            if VERSION.fullmatch(name):
                raise msgspec.ValidationError(f"{name} is the name of a version, not of an alias")

    def pick(self, alias: str, key: str) -> str | None:
        """The version that answers a request for `alias`; None for what is no alias.

        Where the alias is split, equal keys get the same version, and when weights change, a key
        leaves its version only for one that grew against it: weighted rendezvous hashing, by the
        largest -w / ln u (Schindelhauer and Schomaker, Weighted Distributed Hash Tables, 2005).
        """
        shares = self.splits.get(alias)
        if not shares:
            return self.aliases.get(alias)
        return max(
            shares, key=lambda version: _drawn(f"{alias}\n{version}\n{key}", shares[version])
        )


def _drawn(text: str, weight: int) -> float:
    """A number above 0 that only `text` decides, larger with the weight."""
    bits = int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:6], "big")
    return -weight / math.log((bits + 0.5) / 2**48)


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

    def refresh(self) -> Table:
        """The table now, on network file systems too: opening a file makes them ask their server,
        where a stat may be answered from a cache for up to a minute (nfs(5), close-to-open)."""
        with contextlib.suppress(OSError), self._path.open("rb"):
            pass
        return self.table()

    def table(self) -> Table:
        """The table now. A move on this machine that ended before this call is always seen."""
        known = self._known
        try:
            stat = self._path.stat()
            stamp = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
            if stamp == known.stamp:
                return known.table
            read = msgspec.json.decode(self._path.read_bytes(), type=Table)
            read.require_no_version()
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
