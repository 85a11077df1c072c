"""Moving adapters in and out, and refusing a vLLM with other insides; tests/serve/test_contract.py
has the real one."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from harness.errors import EnvironmentFault
from serve.engine import Engine, adapter_id


class Client:
    """An engine client that remembers the order of what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Any]] = []
        self.errored = False
        self.model_config = SimpleNamespace(max_model_len=7)

    async def add_lora(self, request: Any) -> bool:
        self.told.append(("add", request))
        return True

    async def remove_lora(self, number: int) -> bool:
        self.told.append(("remove", number))
        return True


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A vLLM of two modules; the real one takes six seconds to import."""
    request, version = ModuleType("vllm.lora.request"), ModuleType("vllm.version")
    request.LoRARequest = SimpleNamespace  # type: ignore[attr-defined]
    version.__version__ = "0.32.0"  # type: ignore[attr-defined]
    version.__version_tuple__ = (0, 32, 0)  # type: ignore[attr-defined]
    for name in ("vllm", "vllm.lora"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, "vllm.lora.request", request)
    monkeypatch.setitem(sys.modules, "vllm.version", version)
    monkeypatch.setattr("serve.engine.take_templates", lambda: None)
    return version


def state(**different: Any) -> SimpleNamespace:
    models = SimpleNamespace(lora_requests={})
    return SimpleNamespace(
        **{"openai_serving_models": models, "engine_client": Client()} | different
    )


def test_load_and_unload(installed: ModuleType) -> None:
    vllm = state()
    engine = Engine(vllm)
    path = Path("/store/adapters/bot/0123")
    asyncio.run(engine.load("bot@0123", path))
    requests = vllm.openai_serving_models.lora_requests
    assert list(requests) == ["bot@0123"]
    assert requests["bot@0123"].lora_int_id == adapter_id(path)
    assert requests["bot@0123"].lora_path == str(path)
    assert engine.max_model_len == 7
    asyncio.run(engine.unload("bot@0123"))
    assert requests == {}
    assert [what for what, _ in vllm.engine_client.told] == ["add", "remove"]


def test_a_failed_load_leaves_no_name_behind(installed: ModuleType) -> None:
    class Failing(Client):
        async def add_lora(self, request: Any) -> bool:
            raise ValueError("no")

    vllm = state(engine_client=Failing())
    with pytest.raises(ValueError, match="no"):
        asyncio.run(Engine(vllm).load("bot@0123", Path("/x")))
    assert vllm.openai_serving_models.lora_requests == {}
    told = vllm.engine_client.told  # one of several engines may have loaded it
    assert told == [("remove", adapter_id(Path("/x")))]


def test_an_engine_that_dies_is_not_waited_for(
    installed: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Dying(Client):
        async def add_lora(self, request: Any) -> bool:
            self.errored = True
            await asyncio.Event().wait()
            return True

    monkeypatch.setattr("serve.engine.DEATH_S", 0)
    vllm = state(engine_client=Dying())
    engine = Engine(vllm)
    assert not engine.dead
    with pytest.raises(EnvironmentFault, match="has ended"):
        asyncio.run(engine.load("bot@0123", Path("/x")))
    assert engine.dead
    assert vllm.openai_serving_models.lora_requests == {}
    assert vllm.engine_client.told == []


@pytest.mark.parametrize(
    ("different", "words"),
    [
        ({"openai_serving_models": SimpleNamespace()}, "lora_requests"),
        ({"openai_serving_models": None}, "lora_requests"),
        ({"engine_client": SimpleNamespace(remove_lora=len)}, "engine_client.add_lora"),
        ({"engine_client": SimpleNamespace(add_lora=len)}, "engine_client.remove_lora"),
        ({"engine_client": SimpleNamespace(add_lora=len)}, "engine_client.errored"),
    ],
)
def test_a_vllm_with_other_insides_is_refused_at_the_start(
    installed: ModuleType, different: dict[str, Any], words: str
) -> None:
    with pytest.raises(EnvironmentFault, match=words) as caught:
        Engine(state(**different))
    assert caught.value.hint


def test_an_old_vllm_and_an_open_door_are_refused(
    installed: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed.__version_tuple__ = (0, 31, 9)  # type: ignore[attr-defined]
    with pytest.raises(EnvironmentFault, match=r"vLLM >= 0\.32"):
        Engine(state())
    installed.__version_tuple__ = (0, 32, 0)  # type: ignore[attr-defined]
    monkeypatch.setenv("VLLM_ALLOW_RUNTIME_LORA_UPDATING", "0")
    with pytest.raises(EnvironmentFault, match="VLLM_ALLOW_RUNTIME_LORA_UPDATING"):
        Engine(state())


def test_ids_are_of_the_path_and_fit_vllm() -> None:
    first, second = adapter_id(Path("/a")), adapter_id(Path("/b"))
    assert first == adapter_id(Path("/a"))
    assert first != second
    assert 0 < first < 1 << 56
