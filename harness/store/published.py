"""What lies in a published folder, and which base a folder holds."""

from __future__ import annotations

import functools
from pathlib import Path

from pydantic import ValidationError

from harness.errors import StoreError
from harness.jsonio import digest, file_digest, read_json
from harness.types import Manifest

PUBLISHED = ("adapter_config.json", "adapter_model.safetensors", "chat_template.jinja")
"""The files of a version; manifest.json comes on top and is written last."""


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
