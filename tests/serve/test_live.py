"""The whole serving room: real vLLM, real adapters, one server."""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from harness.server import attach
from tests.serve.adapters import prompt_logprobs, publish_adapter
from tests.serve.live import MAX_CONTEXT, Live

pytestmark = pytest.mark.vllm

JUDGE_PATTERN = r"(?:(?:[^s\n][^\n]*)?\n)*score [1-5]"
"""Lines of reasoning, then the score. No line of reasoning begins with s, so the digit is the only
way on and its probabilities are those of the five scores. (In vLLM's patterns "." is any
character, line ends included: ".*" would allow everything.)"""
JUDGE_PROMPT = (
    "<|im_start|>user\nAsked: mood\nKey: neutral\nGiven: neutral<|im_end|>\n<|im_start|>assistant\n"
)


@pytest.fixture
def client(live: Live) -> Iterator[httpx.Client]:
    with live.client() as client:
        yield client


def complete(client: httpx.Client, model: str, **fields: Any) -> httpx.Response:
    body = {"model": model, "prompt": "What is a cat?", "max_tokens": 8, "temperature": 0}
    return client.post("/v1/completions", json=body | fields)


def say(client: httpx.Client, model: str, **fields: Any) -> str:
    answer = complete(client, model, **fields)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["choices"][0]["text"])


def fresh(live: Live, name: str, which: int = 0, **different: Any) -> str:
    """A version nobody has asked for yet."""
    return publish_adapter(live.store, name, live.base_dir, live.files[which], **different)


def test_versions_published_while_it_runs_are_served(live: Live, client: httpx.Client) -> None:
    alpha, beta = live.versions
    answer = complete(client, alpha)
    assert answer.json()["model"] == alpha
    assert answer.headers["x-harness-version"] == alpha
    texts = {say(client, model) for model in ("pocket", alpha, beta)}
    assert len(texts) == 3
    late = publish_adapter(live.store, "alpha", live.base_dir, live.files[1])
    assert say(client, late) == say(client, beta)
    listed = {card["id"]: card for card in client.get("/v1/models").json()["data"]}
    assert {"pocket", alpha, beta, late} <= listed.keys()
    assert listed[alpha]["max_model_len"] == MAX_CONTEXT


def test_the_base_stays_itself_in_a_batch_with_many_versions(
    live: Live, client: httpx.Client
) -> None:
    alone = say(client, "pocket", max_tokens=24)
    versions = [fresh(live, f"crowd{index}", index % 2) for index in range(16)]
    for version in versions:  # more than fit, so every place an adapter can have is taken
        assert say(client, version) != alone
    models = [model for version in versions[-4:] for model in ("pocket", version, "pocket")]
    with ThreadPoolExecutor(len(models)) as threads, live.client() as shared:
        texts = list(threads.map(lambda model: say(shared, model, max_tokens=24), models))
    said = [text for model, text in zip(models, texts, strict=True) if model == "pocket"]
    assert said == [alone] * len(said)


def test_a_loaded_version_is_served_after_its_folder_is_gone(
    live: Live, client: httpx.Client
) -> None:
    version = fresh(live, "vanishing")
    before = say(client, version)
    live.store.version_dir(version).rename(live.store.home / "vanished")
    assert say(client, version) == before


def test_a_damaged_or_foreign_version_is_refused_and_the_server_lives(
    live: Live, client: httpx.Client
) -> None:
    damaged = fresh(live, "damaged")
    weights = live.store.version_dir(damaged) / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8])
    assert complete(client, damaged).status_code == 503
    differences: dict[str, dict[str, Any]] = {
        "weighed": {"weights": "0" * 64},
    }
    for name, different in differences.items():
        answer = complete(client, fresh(live, name, **different))
        assert answer.status_code == 409
        assert "0" * 64 in answer.json()["error"]["message"]
    assert client.get("/health").status_code == 200
    assert say(client, "pocket")


def test_unknown_names_and_routes_are_not_found(client: httpx.Client) -> None:
    answer = complete(client, "pocke")
    assert answer.status_code == 404
    assert "did you mean 'pocket'" in answer.json()["error"]["message"]
    adapter = {"lora_name": "x", "lora_path": "/tmp"}
    for path in ("/v1/load_lora_adapter", "/adapters", "/invocations", "/metrics"):
        assert client.post(path, json=adapter).status_code == 404


def test_attach_finds_it(live: Live) -> None:
    assert attach(live.server.api_url, "pocket", "none").base_url == live.server.base_url


def test_a_chat_streams_and_names_its_version(live: Live, client: httpx.Client) -> None:
    version = live.versions[0]
    body: dict[str, Any] = {"model": version}
    body["messages"] = [{"role": "user", "content": "hello"}]
    body |= {"stream": True, "max_tokens": 4, "temperature": 0}
    with client.stream("POST", "/v1/chat/completions", json=body) as answer:
        lines = [line for line in answer.iter_lines() if line]
    assert lines[-1] == "data: [DONE]"
    assert len(lines) > 2
    assert all(version in line for line in lines[:-1])


def test_sixty_four_prompts_of_token_ids_come_back_with_their_ids_and_logprobs(
    live: Live, client: httpx.Client
) -> None:
    version = live.versions[0]
    prompts = [[10 + index, 20, 30, 40 + index] for index in range(64)]
    fields: dict[str, Any] = {"return_token_ids": True, "prompt_logprobs": 0, "max_tokens": 1}
    fields["prompt"] = prompts
    choices = complete(client, version, **fields).json()["choices"]
    base = complete(client, "pocket", **fields).json()["choices"]
    assert [choice["index"] for choice in choices] == list(range(64))
    assert [choice["prompt_token_ids"] for choice in choices] == prompts
    for choice, prompt in zip(choices, prompts, strict=True):
        assert choice["prompt_logprobs"][0] is None
        for entry, token in zip(choice["prompt_logprobs"][1:], prompt[1:], strict=True):
            assert entry[str(token)]["logprob"] < 0
    assert [c["prompt_logprobs"] for c in choices] != [c["prompt_logprobs"] for c in base]


def test_served_log_probabilities_are_those_of_training(live: Live, client: httpx.Client) -> None:
    prompts = [[10 + index, 20, 300, 40 + 5 * index, 600] for index in range(12)]
    fields: dict[str, Any] = {"prompt_logprobs": 0, "max_tokens": 1, "prompt": prompts}
    models = ("pocket", *live.versions)
    with ThreadPoolExecutor(len(models)) as threads, live.client() as shared:
        answers = list(threads.map(lambda model: complete(shared, model, **fields), models))
    trained = (None, *live.files)
    for answer, adapter in zip(answers, trained, strict=True):
        expected = prompt_logprobs(live.base_dir, adapter, prompts)
        for choice, prompt, wanted in zip(answer.json()["choices"], prompts, expected, strict=True):
            entries = zip(choice["prompt_logprobs"][1:], prompt[1:], strict=True)
            seen = [entry[str(token)]["logprob"] for entry, token in entries]
            assert seen == pytest.approx(wanted, abs=1e-4)


def test_the_judges_call_gives_a_digit_and_its_probabilities(client: httpx.Client) -> None:
    fields: dict[str, Any] = {"structured_outputs": {"regex": JUDGE_PATTERN}, "logprobs": 10}
    fields |= {"prompt": JUDGE_PROMPT, "max_tokens": 256, "stop_token_ids": [0, 2]}
    answer = complete(client, "pocket", **fields)
    assert answer.status_code == 200, answer.text
    choice = answer.json()["choices"][0]
    assert choice["finish_reason"] == "stop"
    reasoning, _, score = choice["text"].rpartition("score ")
    assert score in {"1", "2", "3", "4", "5"}
    assert "score" not in reasoning
    place = len(choice["logprobs"]["tokens"]) - 1
    while choice["logprobs"]["tokens"][place] != score:
        place -= 1
    shares = {
        token: math.exp(logprob)
        for token, logprob in choice["logprobs"]["top_logprobs"][place].items()
        if logprob > -9999  # what the pattern forbids
    }
    assert shares.keys() <= {"1", "2", "3", "4", "5"}
    assert sum(shares.values()) == pytest.approx(1, abs=1e-4)
