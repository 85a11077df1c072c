"""Nobody is harmed by somebody else's version: NaN, lost and broken files, and many of them."""

from __future__ import annotations

import contextlib
import json
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.serve.adapters import publish_adapter
from tests.serve.live import Live

pytestmark = pytest.mark.vllm

N_BLOCKS = 180
"""More than the live server's cache has (170 of 128 tokens), so every one has held NaN."""
CAP = 14
"""Versions in memory at once: sixteen places, less two."""


@pytest.fixture
def client(live: Live) -> Iterator[httpx.Client]:
    with live.client() as client:
        yield client


def complete(client: httpx.Client, model: str, prompt: str = "What is a cat?") -> httpx.Response:
    body = {"model": model, "prompt": prompt, "max_tokens": 8, "temperature": 0, "seed": 1}
    return client.post("/v1/completions", json=body | {"logprobs": 1})


def say(client: httpx.Client, model: str, prompt: str = "What is a cat?") -> str:
    answer = complete(client, model, prompt)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["choices"][0]["text"])


def fresh(live: Live, name: str, which: int = 0) -> str:
    return publish_adapter(live.store, name, live.base_dir, live.files[which])


def overflowing(files: dict[str, bytes]) -> dict[str, bytes]:
    """A rank-16 adapter of weights that the check of files lets in, and whose fifth layer gives
    infinity on any input, so that the keys and values of the sixth are NaN."""
    import torch
    from safetensors.torch import load, save

    def filled(name: str, like: torch.Tensor) -> torch.Tensor:
        shape = [16 if size == 8 else size for size in like.shape]
        first, fifth = "layers.0.mlp" in name, "layers.4.mlp" in name
        largest = 6.5e4 if "lora_A" in name else 3.2e4
        weights = torch.full(shape, 10.0 * first + largest * fifth)
        if first and "gate_proj.lora_B" in name:
            weights[::2] *= -1  # half of the gates open, whatever the input
        return weights

    tensors = load(files["adapter_model.safetensors"])
    config = json.loads(files["adapter_config.json"]) | {"r": 16, "lora_alpha": 32}
    return {
        "adapter_model.safetensors": save({name: filled(name, tensors[name]) for name in tensors}),
        "adapter_config.json": json.dumps(config).encode(),
    }


def test_a_version_that_overflows_spoils_no_other_answer(live: Live, client: httpx.Client) -> None:
    """Its weights are numbers that the check of files lets in; what it computes is NaN."""
    files = overflowing(live.files[0])
    harmful = publish_adapter(live.store, "harmful", live.base_dir, files, rank=16)
    models = ("pocket", *live.versions)
    prompts = [f"{number} cats and a dog, what do they do all day?" for number in range(8)]
    asked = [(model, prompt) for prompt in prompts for model in models]
    before = [say(client, *each) for each in asked]
    flood = [[number + 10, *range(100, 210)] for number in range(N_BLOCKS)]
    body = {"model": harmful, "prompt": flood, "max_tokens": 2}
    assert client.post("/v1/completions", json=body).status_code == 200
    harm = [complete(client, harmful, prompt) for prompt in prompts]
    assert {answer.status_code for answer in harm} == {400}
    assert all("Out of range float values" in answer.text for answer in harm)
    assert [say(client, *each) for each in asked] == before
    mixed = [each for pair in asked for each in (pair, (harmful, pair[1]))]
    with ThreadPoolExecutor(12) as threads:
        answers = list(threads.map(lambda each: complete(client, *each), mixed))
    said = [answer.json()["choices"][0]["text"] for answer in answers[::2]]
    assert said == before
    assert client.get("/health").status_code == 200


def test_many_versions_whose_folders_go_at_once_pass_through_memory_under_load(
    live: Live, client: httpx.Client
) -> None:
    versions = [fresh(live, f"passing-{number}", number % 2) for number in range(4 * CAP)]
    expected = [say(client, version) for version in live.versions]
    with other_traffic(live, live.versions[0], expected[0]):
        for number, version in enumerate(versions):
            assert say(client, version) == expected[number % 2]
            shutil.rmtree(live.store.version_dir(version))
            assert say(client, version) == expected[number % 2]
    assert complete(client, versions[0]).status_code == 404  # long evicted, and nowhere else
    loaded = client.get("/admin/status").json()["loaded"]
    assert len(loaded) <= CAP


def test_files_that_change_under_a_loaded_version_do_not_reach_the_engine(
    live: Live, client: httpx.Client
) -> None:
    version = fresh(live, "changing")
    weights = live.store.version_dir(version) / "adapter_model.safetensors"
    before = say(client, version)
    with weights.open("r+b") as file:
        file.truncate(5000)
    assert say(client, version) == before
    for number in range(CAP):
        say(client, fresh(live, f"pushing-{number}", number % 2))
    assert complete(client, version).status_code == 503
    weights.unlink()
    assert complete(client, version).status_code == 503
    assert say(client, live.versions[0])


@contextlib.contextmanager
def other_traffic(live: Live, version: str, expected: str) -> Iterator[None]:
    """Two clients that ask one version over and over while the block runs, never in vain."""
    stop = threading.Event()

    def ask_on() -> int:
        n = 0
        with live.client() as own:
            while not stop.is_set():
                assert say(own, version) == expected
                n += 1
        return n

    with ThreadPoolExecutor(2) as threads:
        answers = [threads.submit(ask_on) for _ in range(2)]
        try:
            yield
        finally:
            stop.set()
    assert all(answer.result() > 0 for answer in answers)
