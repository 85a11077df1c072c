"""Alias → version, as the store's alias file says at this moment.

One stat per look-up; the file is read again only when it changed. A file that cannot be read
leaves the last good map in force and is tried again at the next look-up: a damaged file must not
take the service down.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec

_log = logging.getLogger(__name__)


class _AliasFile(msgspec.Struct):
    aliases: dict[str, str]


class _Known(NamedTuple):
    """A map and the file it was read from: (inode, time of change, size)."""

    stamp: tuple[int, int, int] | None
    aliases: Mapping[str, str]


class Aliases:
    """The alias file at `path`, which need not exist yet. Any thread may look up."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known = _Known(None, {})
        self._complaint = ""

    def current(self) -> Mapping[str, str]:
        """The map now. A move that ended before this call is always seen."""
        known = self._known
        try:
            stat = self._path.stat()
            stamp = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
            if stamp == known.stamp:
                return known.aliases
            read = msgspec.json.decode(self._path.read_bytes(), type=_AliasFile)
        except FileNotFoundError:
            return known.aliases
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            self._complain(str(error))
            return known.aliases
        self._known = _Known(stamp, read.aliases)
        self._complaint = ""
        return read.aliases

    def _complain(self, reason: str) -> None:
        if reason != self._complaint:  # once, not at every request
            self._complaint = reason
            _log.error("%s: %s; keeping the last good aliases", self._path, reason)
