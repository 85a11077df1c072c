"""What one server serves: the record that the launcher writes and the middleware reads.

It travels through the environment because vLLM constructs the middleware by name, without
arguments. Knows the base's files, not vLLM.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.errors import EnvironmentFault
from harness.jsonio import digest, file_digest, read_json
from harness.types import Record

VARIABLE = "HARNESS_SERVE"


class Served(Record):
    """What this server offers and what it demands of an adapter."""

    home: Path
    """The store's folder."""
    base_dir: Path
    """The folder the base was started from."""
    base_name: str
    """The base's name in requests."""
    dtype: str
    url: str | None
    """Where other machines reach this server, without /v1; None: nobody is told of it."""
    keys: Path | None = None
    """The file of keys; None: those of the environment, or none at all."""
    template: str | None
    """SHA-256 of the chat template's Jinja source; None: the server has none."""
    kwargs: dict[str, Any] = {}
    """Variables given to the template when the base itself is asked."""
    base_config: str
    """SHA-256 of the base's config.json."""
    modules: tuple[str, ...]
    """Modules an adapter may change; empty: vLLM decides."""
    max_lora_rank: int
    max_running: int
    """Adapter versions with requests in the engine at once; no more than `max_versions`, so that
    whoever has its turn finds room in memory."""
    drain_s: float = 30.0
    """Seconds that requests have to end after SIGTERM."""
    max_versions: int
    """Adapter versions in memory at once; below vLLM's own cache, so that vLLM never reads an
    adapter from disk by itself, where a failure would end the engine."""

    def to_environment(self) -> dict[str, str]:
        return {VARIABLE: self.model_dump_json()}

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Served:
        """Raises EnvironmentFault when the launcher did not set it."""
        if VARIABLE not in environment:
            raise EnvironmentFault(
                f"{VARIABLE} is not set: the middleware runs only under its launcher",
                hint="python -P -m serve --help",
            )
        return cls.model_validate(json.loads(environment[VARIABLE]))


def base_config_digest(base_dir: Path) -> str:
    """SHA-256 of config.json. Raises EnvironmentFault when the folder is not a model."""
    path = base_dir / "config.json"
    if not path.is_file():
        raise EnvironmentFault(
            f"{base_dir}: not a model folder (no config.json)",
            hint="give the folder that holds config.json, the weights and the tokenizer",
        )
    return file_digest(path)


def template_digest(base_dir: Path, chat_template: Path | None) -> str | None:
    """SHA-256 of the template vLLM will use: the given file, else the base's own, else None."""
    path = chat_template or base_dir / "chat_template.jinja"
    if chat_template and not path.is_file():
        raise EnvironmentFault(f"{path}: no such chat template file")
    if path.is_file():
        return digest(path.read_text(encoding="utf-8").encode())
    source = _tokenizer_config(base_dir).get("chat_template")
    if isinstance(source, list):  # several by name; without tools vLLM takes this one
        source = {each["name"]: each["template"] for each in source}.get("default")
    return digest(source.encode()) if isinstance(source, str) else None


def _tokenizer_config(base_dir: Path) -> dict[str, Any]:
    path = base_dir / "tokenizer_config.json"
    return dict(read_json(path)) if path.is_file() else {}
