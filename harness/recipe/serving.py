"""The section on how a server is run."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from harness.recipe.section import Count, Section


class Serve(Section):
    """How, not what: left out of the recipe's digest. A round's own server takes `engine_args` and
    the limits alone; it is never open to others."""

    host: str = "127.0.0.1"
    """Address to listen on; any but this machine's own needs keys."""
    url: str | None = None
    """Where other machines reach this server; None: http://host:port."""
    keys: str | None = None
    """TOML file of the keys that clients must show."""
    max_loaded: Annotated[int, Field(ge=3, le=4096)] = 16
    """Places for adapter versions in the engine's memory (vLLM's --max-cpu-loras)."""
    max_running: Count | None = None
    """Versions in one batch (vLLM's --max-loras); None: 4 on a GPU, all of them on the CPU."""
    drain_s: Annotated[float, Field(ge=0, le=3600)] = 30.0
    """Seconds that requests have to end after SIGTERM."""
    engine_args: tuple[str, ...] = ()
    """More arguments for vLLM, as in [--tensor-parallel-size, "2"]."""
