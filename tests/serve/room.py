"""A whole serving room without vLLM: a store, the middleware, and fakes around and beneath it."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import serve.middleware
from harness.jsonio import write_json
from harness.store import Store
from serve.keys import ADMIN_KEYS, USER_KEYS
from serve.middleware import VersionMiddleware
from tests.serve.fakes import Answer, Beneath, FakeEngine, ask, served, started

CHAT = "/v1/chat/completions"


class Room:
    """A middleware with its store, its engine and the application beneath."""

    def __init__(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.store = Store(home)
        self.engine = FakeEngine()
        self.beneath = Beneath()
        for variable in (USER_KEYS, ADMIN_KEYS):
            monkeypatch.delenv(variable, raising=False)
        for key, value in served(home).to_environment().items():
            monkeypatch.setenv(key, value)
        monkeypatch.setattr(serve.middleware, "Engine", lambda state: self.engine)
        self.middleware = VersionMiddleware(self.beneath)

    def lock(self, user: str, admin: str | None = None) -> None:
        """Start again, with keys."""
        os.environ[USER_KEYS] = user  # the middleware takes them out again
        if admin:
            os.environ[ADMIN_KEYS] = admin
        self.middleware = VersionMiddleware(self.beneath)

    def use_keys(self, path: Path) -> None:
        """Start again, with a file of keys."""
        os.environ.update(served(self.store.home, keys=path).to_environment())
        self.middleware = VersionMiddleware(self.beneath)

    def point(self, alias: str, version: str) -> None:
        self.store.move_alias(alias, version, at="now", decision=None, run=None)

    def write_aliases(self, table: dict[str, Any]) -> None:
        """The alias file as somebody else might write it."""
        write_json(self.store.aliases_path, table)

    async def post(
        self, body: bytes | Sequence[bytes], path: str = CHAT, headers: Sequence[Any] = ()
    ) -> Answer:
        async with started(self.middleware):
            return await ask(self.middleware, "POST", path, body, headers)

    async def get(self, path: str, headers: Sequence[Any] = ()) -> Answer:
        async with started(self.middleware):
            return await ask(self.middleware, "GET", path, b"", headers)

    def asked(self) -> dict[str, Any]:
        return dict(json.loads(self.beneath.bodies[-1]))
