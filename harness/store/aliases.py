"""aliases.json: which version each alias points at, and which aliases are split.

Schema 2 added `splits`; a file of schema 1 is read as one without.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from harness.errors import StoreError
from harness.jsonio import read_json
from harness.types import Document

Weight = Annotated[int, Field(ge=1, le=1_000_000, strict=True)]


class AliasTable(Document):
    """The one mutable thing, replaced as a whole."""

    schema_: Literal[1, 2] = Field(default=2, alias="schema")  # type: ignore[assignment]
    aliases: dict[str, str] = {}
    splits: dict[str, dict[str, Weight]] = {}
    """Alias → version → weight. The version that the alias points at is always among them."""

    def moved(self, alias: str, version: str) -> AliasTable:
        """With the alias at one version alone."""
        splits = {name: shares for name, shares in self.splits.items() if name != alias}
        return AliasTable(aliases={**self.aliases, alias: version}, splits=splits)

    def split(self, alias: str, shares: Mapping[str, int]) -> AliasTable:
        """With the alias's requests divided."""
        return AliasTable(aliases=self.aliases, splits={**self.splits, alias: dict(shares)})


def read_table(path: Path, log_path: Path) -> AliasTable:
    """The table in a file, an empty one where there is none. Raises StoreError for what is none;
    `log_path` is where its error sends the reader."""
    try:
        return AliasTable.model_validate({"aliases": None} | read_json(path))
    except FileNotFoundError:
        return AliasTable()
    except (TypeError, ValidationError):
        raise StoreError(
            f"{path}: not an alias file",
            hint=f"restore it; every move of an alias is in {log_path}",
        ) from None
