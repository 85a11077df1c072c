"""The store: adapter versions (immutable), aliases (the one mutable thing) and decisions.

A directory on any file system that has atomic rename; two processes may use it at once. Knows
nothing of training, serving or what makes a decision; it only refuses what would break a reader.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from harness.errors import StoreError, nearest
from harness.jsonio import (
    append_jsonl,
    digest,
    file_digest,
    locked,
    read_json,
    read_jsonl,
    write_json,
)
from harness.types import SCHEMA, Decision, Manifest

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
VERSION = re.compile(r"(?P<name>[a-z0-9][a-z0-9._-]{0,62})@(?P<digest>[0-9a-f]{12})")
PUBLISHED = ("adapter_config.json", "adapter_model.safetensors", "chat_template.jinja")
"""The files of a version; manifest.json comes on top and is written last."""


def default_home() -> Path:
    """$HARNESS_HOME, or .harness in the current directory."""
    return Path(os.environ.get("HARNESS_HOME") or ".harness").absolute()


def version_id(name: str, files: dict[str, str], contract: dict[str, Any]) -> str:
    """name@digest12 over the published files' digests and the chat contract."""
    return f"{name}@{digest({'files': files, 'contract': contract})[:12]}"


class Store:
    """Adapter versions, aliases and decisions under one directory."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.adapters_dir = home / "adapters"
        self.aliases_path = home / "aliases.json"
        self.log_path = home / "aliases.log.jsonl"
        self.decisions_dir = home / "decisions"
        self._lock_path = home / ".lock"

    # versions

    def version_dir(self, version: str) -> Path:
        """Folder of a version, which need not exist. Raises StoreError for anything not a version
        name, so no path can leave the store."""
        match = VERSION.fullmatch(version)
        if not match:
            raise StoreError(f"{version!r} is not a version; accepted: name@<12 hex digits>")
        return self.adapters_dir / match["name"] / match["digest"]

    def add(self, staged_dir: Path, manifest: Manifest) -> str:
        """Move a staged folder in as `manifest.version`, whole or not at all; adding it again is
        harmless. `staged_dir` must lie on the store's file system and is consumed."""
        target = self.version_dir(manifest.version)
        for name, expected in manifest.files.items():
            if file_digest(staged_dir / name) != expected:
                shutil.rmtree(staged_dir)
                raise StoreError(f"{staged_dir / name}: not the file its manifest names")
        write_json(staged_dir / "manifest.json", manifest.dump())
        with locked(self._lock_path):
            if target.exists():
                shutil.rmtree(staged_dir)
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                staged_dir.rename(target)
        return manifest.version

    def import_version(self, source_dir: Path) -> str:
        """Copy a published version in from another place, checking every file."""
        manifest = read_manifest(source_dir)
        if self.has(manifest.version):
            return manifest.version
        staged_dir = self.staging_dir(manifest.version.replace("@", "-"))
        for name in manifest.files:
            shutil.copyfile(source_dir / name, staged_dir / name)
        return self.add(staged_dir, manifest)

    def staging_dir(self, name: str) -> Path:
        """A fresh private folder on the store's file system, for `add`."""
        path = self.home / "staging" / f"{name}-{os.getpid()}"
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
        return path

    def has(self, version: str) -> bool:
        return (self.version_dir(version) / "manifest.json").is_file()

    def manifest(self, version: str) -> Manifest:
        """Raises StoreError for an unknown version, naming the nearest."""
        if not self.has(version):
            raise StoreError(
                f"no version {version!r} in {self.home}: {nearest(version, self.versions())}",
                hint="harness versions",
            )
        return read_manifest(self.version_dir(version))

    def versions(self) -> list[str]:
        """All published versions, sorted by name and digest."""
        found = self.adapters_dir.glob("*/*/manifest.json")
        return sorted(f"{path.parent.parent.name}@{path.parent.name}" for path in found)

    def verify(self, version: str) -> None:
        """Raises StoreError when a file of the version is not the published one."""
        for name, expected in self.manifest(version).files.items():
            path = self.version_dir(version) / name
            if not path.is_file() or file_digest(path) != expected:
                raise StoreError(
                    f"{path}: changed since it was published",
                    hint="versions are immutable; publish the change as a new one",
                )

    def find_trained(self, train_key: str) -> str | None:
        """The version that this exact training produced, if it is here."""
        for version in self.versions():
            if self.manifest(version).train_key == train_key:
                return version
        return None

    # aliases

    def aliases(self) -> dict[str, str]:
        """Alias → version."""
        if not self.aliases_path.exists():
            return {}
        return dict(read_json(self.aliases_path)["aliases"])

    def resolve(self, name: str) -> str:
        """The version that an alias or a version means. Raises StoreError for unknown names."""
        if "@" in name:
            return self.manifest(name).version
        aliases = self.aliases()
        if name not in aliases:
            raise StoreError(
                f"no alias {name!r} in {self.home}: {nearest(name, aliases)}",
                hint="harness alias list",
            )
        return aliases[name]

    def move_alias(
        self,
        alias: str,
        version: str,
        *,
        at: str,
        decision: str | None,
        run: str | None,
        override: str | None = None,
    ) -> str | None:
        """Point `alias` at `version` atomically and log it; returns the version it pointed at.
        `override` is the reason for a move that no passing decision allows."""
        if not NAME.fullmatch(alias) or alias == "base":
            raise StoreError(
                f"{alias!r} is not an alias; accepted: lower-case letters, digits, '.', '_', '-', "
                "at most 63, and not 'base'"
            )
        self.manifest(version)
        with locked(self._lock_path):
            aliases = self.aliases()
            previous = aliases.get(alias)
            write_json(self.aliases_path, {"schema": SCHEMA, "aliases": aliases | {alias: version}})
            entry = {"alias": alias, "version": version, "previous": previous, "at": at}
            evidence = {"decision": decision, "run": run, "override": override}
            append_jsonl(self.log_path, entry | evidence)
        return previous

    def history(self, alias: str | None = None) -> list[dict[str, Any]]:
        """The alias log, oldest first, of one alias or of all."""
        if not self.log_path.exists():
            return []
        entries = [value for _, value in read_jsonl(self.log_path)]
        return [each for each in entries if alias in (None, each["alias"])]

    def previous(self, alias: str) -> str | None:
        """The version that an alias pointed at before its last move; None at its first."""
        moves = self.history(alias)
        return moves[-1]["previous"] if moves else None

    # decisions

    def record(self, decision: Decision) -> str:
        """Keep a decision under its digest; returns that id (12 hex digits)."""
        key = digest(decision.dump())[:12]
        write_json(self.decisions_dir / f"{key}.json", decision.dump())
        return key

    def decisions(self, version: str) -> dict[str, Decision]:
        """Id → decision, of every decision about a version."""
        found = {
            path.stem: Decision.model_validate(read_json(path))
            for path in sorted(self.decisions_dir.glob("*.json"))
        }
        return {key: each for key, each in found.items() if each.candidate == version}


def read_manifest(version_dir: Path) -> Manifest:
    """The manifest of a published folder. Raises StoreError when it is not one."""
    path = version_dir / "manifest.json"
    try:
        return Manifest.model_validate(read_json(path))
    except FileNotFoundError:
        raise StoreError(f"{version_dir}: not a published adapter (no manifest.json)") from None
    except ValidationError as error:
        problem = error.errors()[0]
        raise StoreError(
            f"{path}: {'.'.join(map(str, problem['loc']))}: {problem['msg']}"
        ) from None
