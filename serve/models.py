"""The models a server offers, as OpenAI lists them, and what is said of a name that is none.

Knows nothing of requests; a name may be any text a client sends.
"""

from __future__ import annotations

import difflib
import itertools
import time
from typing import Any

from harness.store import Store
from serve.aliases import Aliases, Table
from serve.asgi import Refusal
from serve.config import Served
from serve.keys import Caller
from serve.loader import Loader

ROUTE = "/v1/models"
MAX_NAME = 128
"""Characters of a name that are said back."""
MAX_COMPARED = 50
"""Names that an unknown one is compared with, each at about 0.1 ms where both are long."""


class Models:
    """The base, the aliases and the versions."""

    def __init__(
        self, served: Served, store: Store, aliases: Aliases, loader: Loader, max_model_len: int
    ) -> None:
        """`max_model_len`: tokens."""
        self._served = served
        self._store = store
        self._aliases = aliases
        self._loader = loader
        self._max_model_len = max_model_len
        self._started = int(time.time())

    def listed(self, caller: Caller) -> dict[str, Any]:
        """What `caller` may use. Looks through the whole store."""
        table = self._aliases.table()
        names = [self._served.base_name, *table.aliases, *self._store.versions()]
        cards = [self._card(name, table) for name in names if caller.may_use(name)]
        return {"object": "list", "data": cards}

    def card(self, caller: Caller, name: str) -> dict[str, Any]:
        """The model of that name, at the cost of one look into the store. Raises Refusal 403, and
        404 for what is none."""
        caller.require_model(name)
        table = self._aliases.table()
        if name not in table.aliases:
            self.require(caller, name, name)
        return self._card(name, table)

    def require(self, caller: Caller, asked: str, version: str) -> None:
        """Raises Refusal 404 where `version`, which `asked` means, is neither the base nor a
        version."""
        if version == self._served.base_name or self._loader.knows(version):
            return
        name = asked[:MAX_NAME]
        pointed = "" if asked == version else f" (alias of {version}, which the store has not)"
        if asked == version and asked in self._aliases.current():
            raise Refusal(404, f"{name!r} is an alias; name a version", param="model")
        close = difflib.get_close_matches(name, self._similar(caller, name), n=1)
        offer = f"did you mean {close[0]!r}? " if close else ""
        raise Refusal(
            404, f"no model {name!r}{pointed}; {offer}GET {ROUTE} lists all", param="model"
        )

    def _similar(self, caller: Caller, name: str) -> list[str]:
        """Names of about that length that can be offered without a look at the disk, no more than
        can be compared in a moment: whoever asks for unknown names keeps everybody waiting."""
        aliases = self._aliases.current()
        names = (self._served.base_name, *aliases, *aliases.values(), *self._loader.loaded())
        near = (each for each in names if abs(len(each) - len(name)) < 4 and caller.may_use(each))
        return list(itertools.islice(near, MAX_COMPARED))

    def _card(self, name: str, table: Table) -> dict[str, Any]:
        """`root` is the version that an alias points at."""
        base = self._served.base_name
        return {
            "id": name,
            "object": "model",
            "created": self._started,
            "owned_by": "harness",
            "root": table.aliases.get(name, name),
            "parent": None if name == base else base,
            "max_model_len": self._max_model_len,
            **({"split": table.splits[name]} if name in table.splits else {}),
        }
