"""The probe against a scripted server that serves an adapter rightly, or wrongly in one way."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from harness.errors import ContractError, EndpointError
from harness.evaluation.client import Client
from harness.evaluation.probe import probe
from harness.types import BaseInfo, ChatContract, Manifest, Message, ProbeReport, ProbeRow
from tests import fakes

VERSION = "bot@" + "0" * 12
ROWS = tuple(
    ProbeRow(
        source=f"train.jsonl:{line}",
        messages=(Message(role="user", content=question),),
        prompt_ids=(1, 10 + line, 3),
        completion_ids=(20 + line, 2),
        logprobs=(-0.5, -0.25),
        base_logprobs=(-4.0, -3.0 - line),
    )
    for line, question in ((1, "2 + 2?"), (2, "3 + 3?"))
)
CONTRACT = ChatContract(template="t", tokenizer="k", special="s", stop_ids=(2,), probes="p")


def manifest(rows: Sequence[ProbeRow] = ROWS, dtype: str = "float32") -> Manifest:
    return Manifest(
        version=VERSION,
        base=BaseInfo(model="pocket", config="c", weights="w", dtype=dtype),
        contract=CONTRACT,
        rank=8,
        files={},
        recipe="r",
        data="d",
        train_key="k",
        seeds={},
        packages={},
        n_rows=2,
        n_steps=1,
        probes=tuple(rows),
    )


class Server:
    """Serves ROWS as they were trained, but for what `wrong` changes of the second one."""

    def __init__(self, **wrong: Any) -> None:
        self.wrong = wrong

    def __call__(self, body: dict[str, Any]) -> fakes.Reply:
        if "messages" in body:
            row = next(row for row in ROWS if row.messages[0].dump() == body["messages"][0])
            ids = self._of(row, "prompt_ids")
            return 200, fakes.says("x")[1] | {"prompt_token_ids": ids}
        [ids] = body["prompt"]
        row = next(row for row in ROWS if [*row.prompt_ids, *row.completion_ids] == ids)
        kind = "logprobs" if body["model"] == VERSION else "base_logprobs"
        return fakes.completes([ids], "x", prompt_logprobs=self._places(row, ids, kind))

    def _of(self, row: ProbeRow, field: str) -> Any:
        return self.wrong.get(field, getattr(row, field)) if row is ROWS[1] else getattr(row, field)

    def _places(self, row: ProbeRow, ids: list[int], kind: str) -> Any:
        values = self._of(row, kind)
        if values is None:
            return None
        before = [-1.0] * (len(row.prompt_ids) - 1)
        places = zip(ids[1:], [*before, *values], strict=True)
        return [None, *({str(token): {"logprob": value}} for token, value in places)]


class Asked(Server):
    """Keeps what the chat route was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.bodies: list[dict[str, Any]] = []

    def __call__(self, body: dict[str, Any]) -> fakes.Reply:
        self.bodies += [body] if "messages" in body else []
        return super().__call__(body)


class OnlyBase(Server):
    """Answers every name as the base."""

    def _of(self, row: ProbeRow, field: str) -> Any:
        return super()._of(row, "base_logprobs" if field == "logprobs" else field)


def run(server: Server, of: Manifest | None = None, dtype: str = "float32") -> ProbeReport:
    async def go(url: str) -> ProbeReport:
        async with Client(url, retries=0) as client:
            return await probe(client, of or manifest(), base_name="pocket", dtype=dtype)

    with fakes.endpoint(server) as fake:
        return asyncio.run(go(fake.url))


def test_a_server_that_serves_what_was_trained_gets_a_report() -> None:
    report = run(Server(logprobs=(-0.5, -0.25001)))
    assert (report.version, report.n_rows, report.tolerance) == (VERSION, 2, 1e-4)
    assert report.max_difference == pytest.approx(1e-5)
    assert report.min_effect == 3.75, "the first row's: -0.25 against -4"


def test_a_row_s_tools_are_shown_to_the_template_and_not_called() -> None:
    tool = {"type": "function", "function": {"name": "add", "parameters": {}}}
    server = Asked()
    rows = [ROWS[0].model_copy(update={"tools": (tool,)}), ROWS[1]]
    assert run(server, manifest(rows)).n_rows == 2
    by_text = {body["messages"][0]["content"]: body for body in server.bodies}
    with_tools, without = (by_text[row.messages[0].content] for row in rows)
    assert (with_tools["tools"], with_tools["tool_choice"]) == ([tool], "none")
    assert not {"tools", "tool_choice"} & without.keys()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"prompt_ids": (1, 12, 4)}, r"the chat route made prompt ids \(1, 12, 4\), training had "),
        ({"prompt_ids": (1, 12)}, r"the chat route made prompt ids \(1, 12\)"),
        ({"prompt_ids": None}, "the chat route made prompt ids None"),
        ({"logprobs": (-0.5, -0.26)}, "log-probs of the adapter differ from PEFT's by 0.01"),
        ({"logprobs": (-4.0, -5.0)}, "log-probs of the adapter differ from PEFT's by 4.8"),
        ({"base_logprobs": (-4.0, -5.5)}, "log-probs of the base differ from PEFT's by 0.5"),
        ({"logprobs": None}, "the server returned no log-probs for the prompt"),
        ({"base_logprobs": None}, "the server returned no log-probs for the prompt"),
        ({"logprobs": (-0.5, float("nan"))}, "the server returned no log-probs for the prompt"),
    ],
)
def test_the_row_that_is_served_otherwise_is_named(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(ContractError, match=f"{VERSION}: probe row train.jsonl:2: {words}") as seen:
        run(Server(**wrong))
    assert "the row asks '3 + 3?'" in str(seen.value)


def test_half_precision_is_allowed_its_rounding() -> None:
    wrong = Server(logprobs=(-0.5, -0.26))
    assert run(wrong, manifest(dtype="float16")).max_difference == pytest.approx(0.01)
    assert run(wrong, manifest(dtype="float32"), dtype="bfloat16").tolerance == 0.2
    with pytest.raises(ContractError, match=r"accepted is 0\.0001"):
        run(wrong, manifest(dtype="float32"))


def test_an_adapter_that_changes_nothing_is_refused() -> None:
    idle = [row.model_copy(update={"logprobs": row.base_logprobs}) for row in ROWS]

    with pytest.raises(ContractError, match=r"adapter changes nothing: .* on all 2 probe rows"):
        run(OnlyBase(), manifest(idle))


def test_an_adapter_that_is_served_as_the_base_is_refused() -> None:
    """What a name that the server quietly takes for its base looks like."""

    with pytest.raises(ContractError, match=r"train\.jsonl:1: log-probs of the adapter differ"):
        run(OnlyBase())


def test_nothing_is_proven_without_rows() -> None:
    with pytest.raises(ContractError, match="no probe rows in its manifest"):
        run(Server(), manifest(()))


def test_a_server_that_is_down_proves_nothing() -> None:
    def down(body: dict[str, Any]) -> fakes.Reply:
        return 503, "loading"

    async def go(url: str) -> ProbeReport:
        async with Client(url, retries=0) as client:
            return await probe(client, manifest(), base_name="pocket", dtype="float32")

    with fakes.endpoint(down) as fake, pytest.raises(EndpointError, match="answered 503"):
        asyncio.run(go(fake.url))
