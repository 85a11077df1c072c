"""The store: adapter versions (immutable), aliases (the one mutable thing) and decisions.

A directory on any file system that has atomic rename; two processes may use it at once. Knows
nothing of training, serving or what makes a decision; it only refuses what would break a reader.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import tempfile
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

ANY = "any"
"""Instead of a version: no matter which."""
ROLLBACK = "rollback"
"""The override reason under which a rollback is logged."""


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
        self.trained_path = self.adapters_dir / "trained.jsonl"
        """Trainings whose adapter another one had published before, byte for byte."""
        self.aliases_path = home / "aliases.json"
        self.log_path = home / "aliases.log.jsonl"
        self.decisions_dir = home / "decisions"
        self.ledger_path = self.decisions_dir / "log.jsonl"
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
            if self.manifest(manifest.version).train_key != manifest.train_key:
                entry = {"train_key": manifest.train_key, "version": manifest.version}
                append_jsonl(self.trained_path, entry)
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
        parent_dir = self.home / "staging"
        parent_dir.mkdir(parents=True, exist_ok=True)
        path = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=parent_dir))
        path.chmod(0o755)
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
        if self.trained_path.exists():
            for _, entry in read_jsonl(self.trained_path):
                if entry["train_key"] == train_key and self.has(entry["version"]):
                    return str(entry["version"])
        return None

    # aliases

    def aliases(self) -> dict[str, str]:
        """Alias → version."""
        if not self.aliases_path.exists():
            return {}
        value = read_json(self.aliases_path)
        aliases = value.get("aliases") if isinstance(value, dict) else None
        if not isinstance(aliases, dict) or not all(
            isinstance(version, str) for version in aliases.values()
        ):
            raise StoreError(
                f"{self.aliases_path}: not an alias file",
                hint=f"restore it; every move of an alias is in {self.log_path}",
            )
        return aliases

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
        expected: str | None = ANY,
    ) -> str | None:
        """Point `alias` at `version` atomically and log it; returns the version it pointed at.

        `override` is the reason for a move that no passing decision allows. `expected` is what
        the caller saw it point at: StoreError when another process has moved it since.
        """
        require_alias(alias, self.manifest(version).base.model)
        with locked(self._lock_path):
            aliases = self.aliases()
            previous = aliases.get(alias)
            if expected not in (ANY, previous):
                raise StoreError(
                    f"{alias!r} was moved to {previous} a moment ago",
                    hint="run the comparison again, against the alias as it is",
                )
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

    def served(self, alias: str) -> list[str]:
        """The versions an alias has pointed at, oldest first, without what was rolled back; the
        present one is last, also where a crash kept it out of the log."""
        current, found = self.resolve(alias), list[str]()
        for entry in self.history(alias):
            if entry["version"] in found[-1:]:
                continue
            if entry["decision"] is None and entry["override"] == ROLLBACK:
                found.pop()
            else:
                found.append(entry["version"])
        return found if current in found[-1:] else [*found, current]

    # decisions

    def record(self, decision: Decision, *, at: str, run: str | None) -> str:
        """Keep a decision under its digest and log when it was made; returns its id (12 hex
        digits). The same decision made again is logged again, so the log ends with the latest."""
        key = digest(decision.dump())[:12]
        write_json(self.decisions_dir / f"{key}.json", decision.dump())
        about = {"candidate": decision.candidate, "status": decision.status}
        append_jsonl(self.ledger_path, {"decision": key, "at": at, "run": run} | about)
        return key

    def latest_decision(self, version: str) -> tuple[str, Decision] | None:
        """(id, decision) last made about a version; None when it was never judged."""
        entries = read_jsonl(self.ledger_path) if self.ledger_path.exists() else iter(())
        keys = [entry["decision"] for _, entry in entries if entry["candidate"] == version]
        if not keys:
            return None
        return keys[-1], Decision.model_validate(read_json(self.decisions_dir / f"{keys[-1]}.json"))


def require_alias(name: str, base_model: str) -> None:
    """Raises StoreError for what cannot be an alias of a version on this base: the base's own
    served name would be answered by the base."""
    if not NAME.fullmatch(name) or name in ("base", base_model, Path(base_model).name):
        raise StoreError(
            f"{name!r} is not an alias; accepted: lower-case letters, digits, '.', '_', '-', at "
            "most 63, and not the name of the base"
        )


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


def base_digest(base_dir: Path) -> str:
    """Which base a directory holds, whatever its name: digest of its config, its generation
    settings and its safetensors files."""
    files = [base_dir / "config.json", base_dir / "generation_config.json"]
    files = [each for each in files if each.is_file()] + sorted(base_dir.glob("*.safetensors"))
    stats = [(each, each.stat()) for each in files]
    return digest(
        [[each.name, _digest_once(each, stat.st_size, stat.st_mtime_ns)] for each, stat in stats]
    )


@functools.cache
def _digest_once(path: Path, n_bytes: int, changed_ns: int) -> str:
    """A base can be many gigabytes: digested once a process while it does not change."""
    return file_digest(path)
