"""Every error a user can cause, and the exit code each one means.

    HarnessError                  2
    ├── RecipeError               2   the recipe: unknown key, bad value, contradiction
    ├── DataError                 2   a training file or one of its rows
    ├── EvalsetError              2   an evalset: its items, card or judge prompt
    ├── StoreError                2   no such version or alias, or an invalid name
    ├── EnvironmentFault          4   missing package, port in use, a process that died
    ├── EndpointError             4   a model endpoint that cannot be reached or answers wrongly
    ├── ContractError             4   served tokens are not the trained tokens
    └── Interrupted              75   stopped on request; the same command resumes

The message says what is wrong, where, the value seen and what is accepted; `hint` is the next
step. The command line prints both without a traceback; anything else is a defect and keeps it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class HarnessError(Exception):
    """Root of what a user can cause. `exit_code` is the process's exit status."""

    exit_code = 2

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class RecipeError(HarnessError):
    """The recipe cannot be used as written."""


class DataError(HarnessError):
    """A data file or row cannot be trained on."""


class EvalsetError(HarnessError):
    """An evalset cannot be used as written."""


class StoreError(HarnessError):
    """A version, alias or name that the store does not have or accept."""


class EnvironmentFault(HarnessError):
    """This machine cannot do it: a missing package, a port in use, a process that died."""

    exit_code = 4


class EndpointError(HarnessError):
    """A model endpoint cannot be reached or does not answer as asked. `status` is that of its
    answer, None where there was none."""

    exit_code = 4

    def __init__(self, message: str, *, hint: str | None = None, status: int | None = None) -> None:
        super().__init__(message, hint=hint)
        self.status = status


class ContractError(HarnessError):
    """What is served is not what was trained."""

    exit_code = 4


class Interrupted(HarnessError):
    """Stopped on request; running the same command again resumes."""

    exit_code = 75


def nearest(name: str, accepted: Iterable[str]) -> str:
    """A sentence part that offers the nearest accepted name, then all of them."""
    names = sorted(accepted)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    offer = f"did you mean {close[0]!r}? " if close else ""
    return f"{offer}accepted: {', '.join(names) or 'none'}"
