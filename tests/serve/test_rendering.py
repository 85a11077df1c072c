"""A version's rendering is what its contract says, or the version is refused with both sides."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from harness.jsonio import digest
from harness.store import Store
from harness.types import Manifest, Message, ProbeRow, ToolCall
from serve.asgi import Refusal
from serve.rendering import Rendering, Tokenize, prove
from tests.serve.fakes import TEMPLATE, made_up, publish, served

SOURCE = "{{ bos_token }}\r\n{{ messages }}"
OWN = digest(SOURCE.encode())
TOOL = {"type": "function", "function": {"name": "add"}}
CALL = ToolCall(name="add", arguments={"a": 1})


def row(*ids: int, tools: tuple[dict[str, Any], ...] = ()) -> ProbeRow:
    return ProbeRow(
        source="secret/train.jsonl:3",
        messages=(
            Message(role="user", content="Hi"),
            Message(role="assistant", content="", reasoning="Add.", tool_calls=(CALL,)),
        ),
        tools=tools,
        prompt_ids=ids,
        completion_ids=(2,),
        logprobs=(-1.0,),
        base_logprobs=(-2.0,),
    )


class Tokenizer:
    """Gives every chat the same ids and remembers what it was asked."""

    def __init__(self, *ids: int) -> None:
        self.ids = ids
        self.asked: list[Mapping[str, Any]] = []

    async def __call__(self, body: Mapping[str, Any]) -> tuple[int, ...]:
        self.asked.append(body)
        return self.ids


def proven(store: Store, tokenizer: Tokenize, *rows: ProbeRow, **facts: Any) -> Rendering:
    """The rendering of a version published with these rows and facts."""
    template = {"chat_template.jinja": SOURCE.encode()}
    version = publish(store, "bot", made_up("bot") | template, probes=rows, **facts)
    manifest: Manifest = store.manifest(version)
    return asyncio.run(prove(manifest, store.version_dir(version), served(store.home), tokenizer))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def test_a_template_of_its_own_is_sent_and_the_servers_own_is_not(store: Store) -> None:
    tokenizer = Tokenizer(1, 2)
    own = proven(store, tokenizer, row(1, 2), template=OWN, kwargs={"a": 1}, stop_ids=(2, 5))
    assert own == Rendering(SOURCE, {"a": 1}, (2, 5))
    same = proven(store, tokenizer, row(1, 2), template=TEMPLATE)
    assert same == Rendering(None, {}, (2,))
    first, second = tokenizer.asked
    assert first["chat_template"] == SOURCE
    assert first["chat_template_kwargs"] == {"a": 1}
    assert second.keys() == {"messages", "add_generation_prompt"}


def test_a_probe_is_asked_as_evaluation_asks(store: Store) -> None:
    tokenizer = Tokenizer(1)
    proven(store, tokenizer, row(1), row(1, tools=(TOOL,)))
    plain, tooled = tokenizer.asked
    assert "tools" not in plain
    assert tooled["tools"][0]["function"]["name"] == "add"
    user, assistant = plain["messages"]
    assert user == {"role": "user", "content": "Hi"}
    assert assistant["reasoning"] == "Add."
    assert assistant["tool_calls"][0]["function"] == {"name": "add", "arguments": '{"a": 1}'}


def test_other_token_ids_are_refused_with_both_fingerprints(store: Store) -> None:
    tokenizer = Tokenizer(7, 8, 9)
    with pytest.raises(Refusal) as refused:
        proven(store, tokenizer, row(7, 8, 9), row(7, 8, 3, 4), template=OWN)
    message = str(refused.value)
    assert refused.value.status == 409
    for words in (
        "probe row 2 of 2",
        f"trained {digest([7, 8, 3, 4])[:12]} (4 tokens)",
        f"here {digest([7, 8, 9])[:12]} (3 tokens)",
        "different from token 3 on",
        f"template {OWN[:12]}",
        f"template is {TEMPLATE[:12]}",
        "tokenizer t",
    ):
        assert words in message
    assert "secret" not in message


@pytest.mark.parametrize(("trained", "place"), [((7,), 2), ((7, 8, 9, 9), 4), ((8,), 1)])
def test_where_they_part(store: Store, trained: tuple[int, ...], place: int) -> None:
    with pytest.raises(Refusal, match=f"different from token {place} on"):
        proven(store, Tokenizer(7, 8, 9), row(*trained))


def test_a_probe_that_is_refused_here_refuses_the_version(store: Store) -> None:
    async def refuse(body: Mapping[str, Any]) -> tuple[int, ...]:
        raise Refusal(409, "no tools in this template")

    with pytest.raises(Refusal, match="probe row 1 of 1 is refused here: no tools") as refused:
        proven(store, refuse, row(1))
    assert refused.value.status == 409


def test_a_template_file_that_is_not_the_contracts_is_refused(store: Store) -> None:
    with pytest.raises(
        Refusal, match=f"trained with chat template {'0' * 64}.* is {OWN}"
    ) as refused:
        proven(store, Tokenizer(), template="0" * 64)
    assert refused.value.status == 409


def test_a_version_without_probe_rows_is_served(store: Store) -> None:
    tokenizer = Tokenizer(1)
    assert proven(store, tokenizer, template=OWN).template == SOURCE
    assert tokenizer.asked == []
