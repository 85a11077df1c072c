"""Versions with templates of their own behind one real server: each is asked in the token ids it
was trained on, by every route, and clients cannot change that."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import httpx
import pytest

from harness.chat.template import ChatTokenizer
from harness.chat.wire import request_messages
from harness.types import Message, ProbeRow, ToolCall
from tests.serve.adapters import KWARGS, publish_adapter
from tests.serve.live import POCKET_BASE, Live

pytestmark = pytest.mark.vllm

MOODY = (
    "{%- for tool in tools or [] -%}{{- tool | tojson + '\n' -}}{%- endfor -%}"
    "{%- for m in messages -%}{{- mood + ' ' + m.role + ': ' -}}"
    "{%- if m.reasoning -%}{{- '(' + m.reasoning + ') ' -}}{%- endif -%}"
    "{%- for call in m.tool_calls or [] -%}{{- call.function | tojson -}}{%- endfor -%}"
    "{{- m.content + '<|im_end|>\n' -}}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- mood + ' assistant: ' -}}{%- endif -%}"
)
"""Shows tools, thoughts, calls and a variable."""
TOOL: dict[str, Any] = {
    "type": "function",
    "function": {"name": "add", "parameters": {"type": "object", "properties": {"a": {}}}},
}
PLAIN = (Message(role="user", content="What is a cat?"),)
CHAT = (Message(role="system", content="Be brief."), *PLAIN)
CALLED = (
    *PLAIN,
    Message(
        role="assistant",
        content="",
        reasoning="Add them.",
        tool_calls=(ToolCall(name="add", arguments={"a": "café", "b": [1.5, None]}),),
    ),
    Message(role="tool", content="3"),
)


class Trained(NamedTuple):
    """A version, and what it was trained with."""

    version: str
    chat: ChatTokenizer


def probe_row(chat: ChatTokenizer, messages: Sequence[Message], *tools: dict[str, Any]) -> ProbeRow:
    ids = chat.prompt_ids(messages, tools)
    return ProbeRow(
        source="train.jsonl:1",
        messages=tuple(messages),
        tools=tools,
        prompt_ids=ids,
        completion_ids=(5, 2),
        logprobs=(-1.0, -1.0),
        base_logprobs=(-2.0, -2.0),
    )


def publish(live: Live, name: str, chat: ChatTokenizer, *rows: ProbeRow, **facts: Any) -> str:
    fresh = {"source": chat.template, "kwargs": chat.kwargs, "stop_ids": chat.stop_ids}
    return publish_adapter(
        live.store, name, live.base_dir, live.files[0], probes=rows, **fresh | facts
    )


@pytest.fixture(scope="module")
def kinds(live: Live) -> list[Trained]:
    """Versions trained with the base's own template, with a built-in one, and with one that shows
    everything."""
    own = ChatTokenizer(POCKET_BASE, kwargs=KWARGS)
    alpaca = ChatTokenizer(POCKET_BASE, template="alpaca")
    moody = ChatTokenizer(POCKET_BASE, template=MOODY, kwargs={"mood": "grave"})
    called = probe_row(moody, CALLED, TOOL)
    return [
        Trained(publish(live, "own", own, probe_row(own, CHAT)), own),
        Trained(publish(live, "alpaca", alpaca, probe_row(alpaca, CHAT)), alpaca),
        Trained(publish(live, "moody", moody, probe_row(moody, CHAT), called), moody),
    ]


@pytest.fixture
def client(live: Live) -> Iterator[httpx.Client]:
    with live.client() as client:
        yield client


def post(client: httpx.Client, path: str, **body: Any) -> Any:
    answer = client.post(path, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def by_chat(client: httpx.Client, model: str) -> list[int]:
    fields = {"messages": request_messages(CHAT), "max_tokens": 2, "return_token_ids": True}
    return list(post(client, "/v1/chat/completions", model=model, **fields)["prompt_token_ids"])


def by_stream(client: httpx.Client, model: str) -> list[int]:
    fields = {"messages": request_messages(CHAT), "max_tokens": 2, "return_token_ids": True}
    events = stream(client, "/v1/chat/completions", model=model, **fields)
    return list(events[0]["prompt_token_ids"])


def by_tokenize(client: httpx.Client, model: str) -> list[int]:
    return list(post(client, "/tokenize", model=model, messages=request_messages(CHAT))["tokens"])


def by_responses(client: httpx.Client, model: str) -> list[int]:
    fields = {"instructions": CHAT[0].content, "input": CHAT[1].content, "max_output_tokens": 2}
    fields |= {"enable_response_messages": True}
    return list(post(client, "/v1/responses", model=model, **fields)["input_messages"][0]["tokens"])


def stream(client: httpx.Client, path: str, **body: Any) -> list[Any]:
    """The events of a stream, but for its end."""
    with client.stream("POST", path, json=body | {"stream": True}) as answer:
        assert answer.status_code == 200
        lines = [line.removeprefix("data: ") for line in answer.iter_lines() if line]
    assert lines.pop() == "[DONE]"
    return [json.loads(line) for line in lines]


def spoken(events: list[Any]) -> str:
    """The text of a stream; how it is cut depends on how busy the server is."""
    choices = [each["choices"][0] for each in events]
    return "".join(each.get("text", each.get("delta", {}).get("content")) or "" for each in choices)


def test_every_route_gives_each_version_the_token_ids_it_was_trained_on(
    live: Live, kinds: list[Trained]
) -> None:
    base = ChatTokenizer(POCKET_BASE)
    ways = (by_chat, by_stream, by_tokenize, by_responses)
    asked = [(way, each) for each in (*kinds, Trained("pocket", base)) for way in ways] * 2
    with live.client() as shared, ThreadPoolExecutor(len(asked)) as threads:
        seen = list(threads.map(lambda each: each[0](shared, each[1].version), asked))
    for (way, (version, chat)), ids in zip(asked, seen, strict=True):
        assert ids == list(chat.prompt_ids(CHAT)), (way.__name__, version)
    assert len({tuple(ids) for ids in seen}) == 3


def test_tools_thoughts_and_calls_reach_a_versions_own_template(
    client: httpx.Client, kinds: list[Trained]
) -> None:
    version, chat = kinds[2]
    fields: dict[str, Any] = {
        "messages": request_messages(CALLED),
        "tools": [TOOL],
        "tool_choice": "none",
    }
    fields |= {"max_tokens": 1, "return_token_ids": True}
    answer = post(client, "/v1/chat/completions", model=version, **fields)
    assert answer["prompt_token_ids"] == list(chat.prompt_ids(CALLED, [TOOL]))


def test_a_version_whose_training_cannot_be_reproduced_is_refused(
    live: Live, client: httpx.Client
) -> None:
    chat = ChatTokenizer(POCKET_BASE, template=MOODY, kwargs={"mood": "grave"})
    toolless = ChatTokenizer(POCKET_BASE, template="alpaca")
    row, plain = probe_row(chat, CHAT), probe_row(toolless, CHAT)
    other = row.model_copy(update={"prompt_ids": (*row.prompt_ids[:-1], 7)})
    called = probe_row(chat, PLAIN, TOOL)
    facts = {
        "different from token": publish(live, "drifted", chat, row, other),
        "is refused here": publish(live, "toolless", toolless, plain, called),
        "its chat_template.jinja is": publish(live, "swapped", chat, row, template="0" * 64),
    }
    for words, version in facts.items():
        fields = {"model": version, "messages": request_messages(CHAT), "max_tokens": 1}
        answer = client.post("/v1/chat/completions", json=fields)
        assert answer.status_code == 409, answer.text
        assert words in answer.json()["error"]["message"]
    assert by_chat(client, "pocket") == list(ChatTokenizer(POCKET_BASE).prompt_ids(CHAT))


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/tokenize", "/v1/responses"])
@pytest.mark.parametrize(
    "fields",
    [
        {"chat_template": "{{ messages }}"},
        {"chat_template_kwargs": {"chat_template": "{{ messages }}"}},
        {"chat_template_kwargs": {"mood": "merry"}},
        {"chat_template_kwargs": {"eos_token": ""}},
    ],
)
def test_a_client_cannot_change_the_template(
    client: httpx.Client, kinds: list[Trained], path: str, fields: dict[str, Any]
) -> None:
    said = {"input": "x"} if path == "/v1/responses" else {"messages": request_messages(CHAT)}
    answer = client.post(path, json={"model": kinds[2].version, **said, **fields})
    assert answer.status_code == 400


def test_an_answer_ends_at_a_stop_token_that_only_the_version_has(
    live: Live, client: httpx.Client
) -> None:
    chat = ChatTokenizer(POCKET_BASE, template="alpaca")
    row = probe_row(chat, CHAT)
    endless = publish(live, "endless", chat, row)
    said = {"messages": request_messages(CHAT), "max_tokens": 12, "temperature": 0}
    said |= {"return_token_ids": True}
    [whole] = post(client, "/v1/chat/completions", model=endless, **said)["choices"]
    ids = whole["token_ids"]
    stop = next(each for each in ids[3:] if each not in ids[:3])
    place = ids.index(stop)
    ended = publish(live, "ended", chat, row, stop_ids=(*chat.stop_ids, stop))
    [choice] = post(client, "/v1/chat/completions", model=ended, **said)["choices"]
    assert choice["finish_reason"] == "stop"
    assert choice["token_ids"] == ids[: place + 1]
    assert whole["message"]["content"].startswith(choice["message"]["content"])
    assert len(choice["message"]["content"]) < len(whole["message"]["content"])
    prompt = list(chat.prompt_ids(CHAT))
    given = {"prompt": prompt, "max_tokens": 12, "temperature": 0, "return_token_ids": True}
    [completed] = post(client, "/v1/completions", model=ended, **given)["choices"]
    assert completed["token_ids"] == ids[: place + 1]
    asked = {"instructions": CHAT[0].content, "input": CHAT[1].content, "temperature": 0}
    response = post(client, "/v1/responses", model=ended, max_output_tokens=12, **asked)
    assert response["status"] == "completed"
    assert response["usage"]["output_tokens"] == place + 1
    [unending] = post(client, "/v1/completions", model=ended, ignore_eos=True, **given)["choices"]
    assert unending["token_ids"][: len(ids)] == ids


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
def test_only_a_client_that_asks_sees_the_token_counts_of_a_stream(
    client: httpx.Client, kinds: list[Trained], path: str
) -> None:
    said: dict[str, Any] = {"prompt": "What is a cat?"}
    if path == "/v1/chat/completions":
        said = {"messages": request_messages(CHAT)}
    said |= {"model": kinds[1].version, "max_tokens": 4, "temperature": 0}
    whole = post(client, path, **said)
    plain = stream(client, path, **said)
    counted = stream(client, path, **said, stream_options={"include_usage": True})
    assert counted.pop()["usage"] == {
        key: value for key, value in whole["usage"].items() if value is not None
    }
    assert spoken(plain) == spoken(counted)
    assert all(each["choices"] and not each.get("usage") for each in plain)
