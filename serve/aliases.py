"""Alias → version, as the store's alias file says at this moment.

One stat per look-up; the file is read again only when it changed. A file that cannot be read
leaves the last good map in force: a damaged file must not take the service down.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import msgspec

_log = logging.getLogger(__name__)


class _AliasFile(msgspec.Struct):
    aliases: dict[str, str]


class Aliases:
    """The alias file at `path`, which need not exist yet."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[int, int, int] | None = None
        self._aliases: dict[str, str] = {}

    def current(self) -> Mapping[str, str]:
        """The map now. A move that ended before this call is always seen."""
        try:
            stat = self._path.stat()
        except OSError:
            return self._aliases
        stamp = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
        if stamp != self._stamp:
            self._stamp = stamp
            self._reload()
        return self._aliases

    def _reload(self) -> None:
        try:
            self._aliases = msgspec.json.decode(self._path.read_bytes(), type=_AliasFile).aliases
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            _log.error("%s: %s; keeping the last good aliases", self._path, error)
