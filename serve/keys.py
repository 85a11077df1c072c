"""Who may ask for what: keys from a file or the environment, compared in constant time.

Without any key every caller is the local administrator, which is why the launcher then listens on
this machine alone. Knows nothing of models but their names. No key is ever logged or shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from serve.asgi import Refusal


class Caller(NamedTuple):
    """Who asks. `models` None: every model."""

    name: str
    admin: bool = False
    models: frozenset[str] | None = None

    def may_use(self, model: str) -> bool:
        return self.models is None or model in self.models

    def require_model(self, model: str) -> None:
        """Raises Refusal 403, the same whether or not there is such a model."""
        if not self.may_use(model):
            accepted = ", ".join(sorted(self.models or ()))
            raise Refusal(
                403, f"this key may not use {model[:128]!r}; accepted: {accepted}", param="model"
            )

    def require_admin(self) -> None:
        """Raises Refusal 403."""
        if not self.admin:
            raise Refusal(403, "this route needs an admin key")


LOCAL = Caller("local", admin=True)
"""Whoever reaches a server without keys."""


class Keys:
    """The keys of a server."""

    def __init__(self, path: Path | None, environment: Mapping[str, str]) -> None:
        """`path`: the key file, read again when it changes."""

    def caller(self, headers: Iterable[tuple[bytes, bytes]]) -> Caller:
        """Whose request this is. Raises Refusal 401 for a key that is missing or unknown."""
        return LOCAL
