"""What all sections of a recipe are: frozen, strict about their keys, and of these scalar types."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]
Count = Annotated[int, Field(ge=1, le=65536)]
Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]
"""What every library's random generator takes."""


class Section(BaseModel):
    """Base of the recipe's sections: frozen and strict."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
