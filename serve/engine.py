"""The lines that touch vLLM's semi-internal attributes, and nothing else.

`app.state.openai_serving_models.lora_requests` is where vLLM's API server looks adapters up by
name; `engine_client.add_lora/remove_lora` move weights in and out, `errored` tells of its end.
`Engine(...)` refuses to start on a vLLM where these are not what they were;
tests/serve/test_contract.py is the contract.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from harness.errors import EnvironmentFault
from serve.responses import take_templates

OLDEST = (0, 32)
"""Older vLLM serves wrong weights after add_lora at run time (vllm-project/vllm#47724)."""
DEATH_S = 0.25
"""How often the engine is looked at while it has an adapter to take in or out."""


class Engine:
    """The running engine, seen through the state of vLLM's application."""

    def __init__(self, state: Any) -> None:
        from vllm.lora.request import LoRARequest
        from vllm.version import __version__, __version_tuple__

        models = getattr(state, "openai_serving_models", None)
        client = getattr(state, "engine_client", None)
        missing = [
            name
            for name, there in {
                "vLLM >= 0.32": tuple(__version_tuple__[:2]) >= OLDEST,
                "openai_serving_models.lora_requests": isinstance(
                    getattr(models, "lora_requests", None), dict
                ),
                "engine_client.add_lora": callable(getattr(client, "add_lora", None)),
                "engine_client.remove_lora": callable(getattr(client, "remove_lora", None)),
                "engine_client.errored": isinstance(getattr(client, "errored", None), bool),
                "VLLM_ALLOW_RUNTIME_LORA_UPDATING unset": (
                    "VLLM_ALLOW_RUNTIME_LORA_UPDATING" not in os.environ
                ),
            }.items()
            if not there
        ]
        if missing:
            raise EnvironmentFault(
                f"vLLM {__version__} cannot serve adapter versions; missing: {', '.join(missing)}",
                hint="install the vLLM that pyproject.toml names: make setup",
            )
        take_templates()
        self._request = LoRARequest
        self._requests: dict[str, Any] = models.lora_requests  # type: ignore[union-attr]
        self._client: Any = client
        self.max_model_len: int = client.model_config.max_model_len  # type: ignore[union-attr]

    @property
    def dead(self) -> bool:
        """Whether it ended by itself; this process ends a moment later."""
        return bool(self._client.errored)

    async def load(self, version: str, path: Path) -> None:
        """Read the adapter into memory, then make its name known. Raises whatever vLLM raises."""
        request = self._request(
            lora_name=version, lora_int_id=adapter_id(path), lora_path=str(path)
        )
        try:
            await self._answered(self._client.add_lora(request))
        except Exception:  # of several engines, some may have it
            if not self.dead:
                await self._answered(self._client.remove_lora(request.lora_int_id))
            raise
        self._requests[version] = request

    async def unload(self, version: str) -> None:
        """Forget the name at once, then free the memory."""
        request = self._requests.pop(version)
        await self._answered(self._client.remove_lora(request.lora_int_id))

    async def _answered(self, asked: Coroutine[Any, Any, Any]) -> None:
        """Wait for the engine. Raises what it raises, and EnvironmentFault when it dies meanwhile:
        vLLM 0.32 would wait for ever."""
        answer = asyncio.create_task(asked)
        while not (await asyncio.wait({answer}, timeout=DEATH_S))[0]:
            if self.dead:
                answer.cancel()
                raise EnvironmentFault("the engine has ended")
        answer.result()


def replace(owner: Any, name: str, value: Any) -> None:
    """Put `value` in the place of a part of vLLM. Raises AttributeError when vLLM no longer has
    it."""
    getattr(owner, name)
    setattr(owner, name, value)


def adapter_id(path: Path) -> int:
    """56 bits of the path's SHA-256: vLLM tells adapters apart by this number alone, and a counter
    would give two API processes the same number for different adapters."""
    return int.from_bytes(hashlib.sha256(str(path).encode()).digest()[:7], "big") or 1
