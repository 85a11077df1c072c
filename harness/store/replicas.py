"""The servers that are up on a store: one small file each, touched while the server lives.

Knows nothing of HTTP: whether a server answers is for whoever asks it.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from harness.jsonio import write_json
from harness.types import Document

BEAT_S = 5.0
"""How often a server says that it lives."""
GONE_S = 30.0
"""A server silent for so long is gone, whatever its file says."""


class Replica(Document):
    """replicas/<id>.json: a server and where it is asked."""

    id: Annotated[str, Field(pattern=r"^[0-9a-f]{12}$")]
    """Random; a restarted server is another replica."""
    url: str
    """Where other machines reach it, without /v1."""
    base_name: str
    base_config: str
    """SHA-256 of its base's config.json: it serves the versions of this base only."""
    dtype: str
    host: str
    pid: int
    started_at: str

    @property
    def label(self) -> str:
        """Its name in messages."""
        return f"{self.id} ({self.url})"


class Replicas:
    """The replica files in a directory, which need not exist yet."""

    def __init__(self, directory: Path) -> None:
        self._dir = directory

    def register(self, replica: Replica) -> None:
        """Write its file, in the place of those that are gone and of an earlier server at the same
        address on the same host, which cannot be there any more."""
        now = self._now()
        for path, heard_at, other in self._found():
            here = (other.url, other.host) == (replica.url, replica.host)
            if abs(now - heard_at) >= GONE_S or here:
                path.unlink(missing_ok=True)
        write_json(self._path(replica.id), replica.dump())

    def beat(self, replica_id: str) -> None:
        """Say that a registered replica lives. Raises OSError when its file is gone."""
        os.utime(self._path(replica_id))

    def forget(self, replica_id: str) -> None:
        self._path(replica_id).unlink(missing_ok=True)

    def living(self) -> list[Replica]:
        """The replicas heard of in the last GONE_S seconds, oldest first. Files that are no
        replica are passed over: they may be of another release. Who may only read is told by this
        machine's clock."""
        if not self._dir.is_dir():
            return []
        try:
            now = self._now()
        except OSError:
            now = time.time()
        found = [each for _, heard_at, each in self._found() if abs(now - heard_at) < GONE_S]
        return sorted(found, key=lambda each: (each.started_at, each.id))

    def _found(self) -> Iterator[tuple[Path, float, Replica]]:
        """(file, when it was last touched, what it says). The time is read from the open file: a
        network file system answers a stat from its cache, where a living server looks dead."""
        for path in sorted(self._dir.glob("*.json")):
            with contextlib.suppress(OSError, ValidationError), path.open("rb") as file:
                replica = Replica.model_validate_json(file.read())
                yield path, os.fstat(file.fileno()).st_mtime, replica

    def _now(self) -> float:
        """The file system's own clock: the machines on it need not agree on the time."""
        self._dir.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=self._dir, prefix=".clock-") as file:
            return os.fstat(file.fileno()).st_mtime

    def _path(self, replica_id: str) -> Path:
        return self._dir / f"{replica_id}.json"
