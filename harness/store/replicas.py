"""The servers that are up on a store: one small file each, touched while the server lives.

Knows nothing of HTTP: whether a server answers is for whoever asks it.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from pydantic import ValidationError

from harness.jsonio import read_json, write_json
from harness.types import Document

BEAT_S = 5.0
"""How often a server says that it lives."""
GONE_S = 30.0
"""A server silent for so long is gone, whatever its file says."""


class Replica(Document):
    """replicas/<id>.json: a server and where it is asked."""

    id: str
    """Random, 12 hex digits; a restarted server is another replica."""
    url: str
    """Where other machines reach it, without /v1."""
    base_name: str
    base_config: str
    """SHA-256 of its base's config.json: it serves the versions of this base only."""
    dtype: str
    host: str
    pid: int
    started_at: str


class Replicas:
    """The replica files in a directory, which need not exist yet."""

    def __init__(self, directory: Path) -> None:
        self._dir = directory

    def register(self, replica: Replica) -> None:
        write_json(self._path(replica.id), replica.dump())

    def beat(self, replica_id: str) -> None:
        """Say that a registered replica lives. Raises OSError when its file is gone."""
        self._path(replica_id).touch()

    def forget(self, replica_id: str) -> None:
        self._path(replica_id).unlink(missing_ok=True)

    def living(self) -> list[Replica]:
        """The replicas heard of in the last GONE_S seconds, oldest first. Files that are no
        replica are passed over: they may be of another release."""
        if not self._dir.is_dir():
            return []
        found, now = [], self._now()
        for path in sorted(self._dir.glob("*.json")):
            try:
                if now - path.stat().st_mtime < GONE_S:
                    found.append(Replica.model_validate(read_json(path)))
            except (OSError, ValueError, ValidationError):
                continue
        return sorted(found, key=lambda each: (each.started_at, each.id))

    def _now(self) -> float:
        """The file system's own clock: the machines on it need not agree on the time."""
        with tempfile.NamedTemporaryFile(dir=self._dir, prefix=".clock-") as file:
            return Path(file.name).stat().st_mtime

    def _path(self, replica_id: str) -> Path:
        return self._dir / f"{replica_id}.json"
