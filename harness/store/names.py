"""What versions and aliases may be called, and where the store lies unless told otherwise."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from harness.errors import StoreError
from harness.jsonio import digest

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
VERSION = re.compile(r"(?P<name>[a-z0-9][a-z0-9._-]{0,62})@(?P<digest>[0-9a-f]{12})")


def default_home() -> Path:
    """$HARNESS_HOME, or .harness in the current directory."""
    return Path(os.environ.get("HARNESS_HOME") or ".harness").absolute()


def version_id(name: str, files: dict[str, str], contract: dict[str, Any]) -> str:
    """name@digest12 over the published files' digests and the chat contract."""
    return f"{name}@{digest({'files': files, 'contract': contract})[:12]}"


def require_alias(name: str, base_model: str) -> None:
    """Raises StoreError for what cannot be an alias of a version on this base: the base's own
    served name would be answered by the base."""
    if not NAME.fullmatch(name) or name in ("base", base_model, Path(base_model).name):
        raise StoreError(
            f"{name!r} is not an alias; accepted: lower-case letters, digits, '.', '_', '-', at "
            "most 63, and not the name of the base"
        )
