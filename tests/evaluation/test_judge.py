"""The judge against a scripted endpoint: every fault is unscored with its reason, never a number.

The constrained route on a real vLLM is tested in tests/test_round.py.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from harness.errors import EndpointError
from harness.evaluation.cache import Cache
from harness.evaluation.client import Client, _digits, key_from_env
from harness.evaluation.judge import Verdicts, identify, judge, judge_prompt
from harness.recipe import Judge
from harness.types import Generation, Item, Message
from tests import fakes

ITEM = Item(
    id="a" * 12, messages=(Message(role="user", content="2 + 2?"),), reference="4", rubric="a sum"
)
PROMPT = "Asked: {rubric}\nKey: {reference}\nGiven: {response}"


def answer(text: str, role: str = "candidate", **changes: Any) -> Generation:
    values = {
        "item_id": ITEM.id,
        "role": role,
        "model": "bot@" + "0" * 12,
        "state": "ok",
        "text": text,
        "n_prompt_tokens": 5,
        "n_tokens": 2,
    }
    return Generation.model_validate(values | changes)


def run(url: str, home: Path, generations: list[Generation], **settings: Any) -> Verdicts:
    chosen = Judge(endpoint=url, model="gpt-x", **settings)

    async def go() -> Verdicts:
        with Cache(home / "cache.sqlite") as cache:
            async with Client(
                url, concurrency=4, timeout_s=chosen.timeout_s, retries=chosen.retries
            ) as client:
                return await judge(
                    [ITEM],
                    generations,
                    identity=identify(chosen, "gpt-x", PROMPT, url),
                    settings=chosen,
                    chat=None,
                    max_context=1000,
                    client=client,
                    cache=cache,
                    advance=lambda count: None,
                )

    return asyncio.run(go())


def test_what_is_filled_in_is_not_expanded_again() -> None:
    text = judge_prompt(PROMPT, ITEM, "{reference} {rubric}")
    assert text == "Asked: a sum\nKey: 4\nGiven: {reference} {rubric}"


def test_the_last_score_line_counts(tmp_path: Path) -> None:
    said = "score 5 would be generous.\nscore 2\nMissing a word.\nScore: 3"
    with fakes.endpoint(lambda body: fakes.says(said)) as fake:
        [verdict] = run(fake.url, tmp_path, [answer("5")]).records
    assert (verdict.state, verdict.score, verdict.expected) == ("scored", 3, None)
    assert verdict.reason == said


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (fakes.says("I like it."), "no line 'score N'"),
        (fakes.says("score 7"), "no line 'score N'"),
        (fakes.says("score 45"), "no line 'score N'"),
        (fakes.says(""), "no line 'score N'"),
        (fakes.says("Let me think", "length"), "cut at judge.max_tokens"),
        ((429, {"error": {"message": "slow down"}}), "answered 429 for model 'gpt-x'"),
        ((500, "boom"), "answered 500"),
        ((401, {"error": {"message": "bad key"}}), "answered 401"),
        ((200, "<html>"), "not an OpenAI-compatible answer"),
        ((200, {"choices": []}), "an answer without choices"),
    ],
)
def test_a_fault_is_unscored_with_its_reason(
    tmp_path: Path, reply: fakes.Reply, reason: str
) -> None:
    with fakes.endpoint(lambda body: reply) as fake:
        [verdict] = run(fake.url, tmp_path, [answer("5")], retries=0).records
    assert (verdict.state, verdict.score, verdict.expected) == ("unscored", None, None)
    assert reason in verdict.reason


def test_a_judge_that_hangs_is_unscored(tmp_path: Path) -> None:
    with fakes.endpoint(lambda body: fakes.hangs(1.0)) as fake:
        [verdict] = run(fake.url, tmp_path, [answer("5")], retries=0, timeout_s=0.2).records
    assert verdict.state == "unscored"
    assert "APITimeoutError" in verdict.reason


def test_an_endpoint_that_is_not_there_is_unscored(tmp_path: Path) -> None:
    [verdict] = run("http://127.0.0.1:9", tmp_path, [answer("5")], retries=0).records
    assert "APIConnectionError" in verdict.reason


def test_a_busy_judge_is_asked_again(tmp_path: Path) -> None:
    replies = [(429, {"error": {"message": "slow down"}}), fakes.says("score 4")]
    with fakes.endpoint(lambda body: replies.pop(0)) as fake:
        [verdict] = run(fake.url, tmp_path, [answer("5")], retries=2).records
    assert verdict.score == 4


def test_identical_answers_share_one_call_and_later_none(tmp_path: Path) -> None:
    both = [answer("4"), answer("4 ", role="baseline"), answer("5", role="base")]
    with fakes.endpoint(lambda body: fakes.says("score 5")) as fake:
        first = run(fake.url, tmp_path, both)
        assert len(fake.requests) == 2
        again = run(fake.url, tmp_path, both)
        assert len(fake.requests) == 2
    assert (first.n_calls, first.n_from_cache) == (2, 0)
    assert (again.n_calls, again.n_from_cache) == (0, 3)
    assert first.records == again.records
    assert [each.role for each in again.records] == ["candidate", "baseline", "base"]


def test_a_fault_is_not_remembered(tmp_path: Path) -> None:
    replies: list[fakes.Reply] = [(500, "boom"), fakes.says("score 1")]
    with fakes.endpoint(lambda body: replies.pop(0)) as fake:
        first = run(fake.url, tmp_path, [answer("5")], retries=0)
        assert (first.records[0].state, first.n_faults) == ("unscored", 1)
        again = run(fake.url, tmp_path, [answer("5")], retries=0)
        assert (again.records[0].score, again.n_faults) == (1, 0)


def test_an_answer_without_a_score_is_remembered(tmp_path: Path) -> None:
    replies = [fakes.says("hm")]
    with fakes.endpoint(lambda body: replies.pop(0)) as fake:
        first = run(fake.url, tmp_path, [answer("5")])
        again = run(fake.url, tmp_path, [answer("5")])
    assert first.records == again.records
    assert (first.n_faults, again.n_calls, again.n_from_cache) == (0, 0, 1)


def test_a_failed_answer_is_unscored_without_a_call(tmp_path: Path) -> None:
    failed = answer("", state="failed", error="context exceeded")
    with fakes.endpoint(lambda body: fakes.says("score 5")) as fake:
        [verdict] = run(fake.url, tmp_path, [failed]).records
        assert fake.requests == []
    assert verdict.reason == "generation failed: context exceeded"


def test_another_judge_voids_old_verdicts() -> None:
    plain = Judge(model="m")
    one = identify(plain, "m", PROMPT, "w").label
    assert identify(plain, "m", PROMPT + "!", "w").label != one
    assert identify(plain, "m", PROMPT, "v").label != one
    assert identify(plain.model_copy(update={"temperature": 1.0}), "m", PROMPT, "w").label != one
    assert one.startswith("m@")


def test_a_key_comes_from_the_environment_and_is_never_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(EndpointError, match="'MY_KEY': not set"):
        key_from_env("MY_KEY", "http://judge")
    monkeypatch.setenv("MY_KEY", "secret")
    assert key_from_env("MY_KEY", "http://judge") == "secret"


def test_digit_log_probs_are_read_from_both_routes() -> None:
    top = {"1": -3.0, "2": -2.0, "3": -0.3, "4": -2.5, "5": -4.0}
    completions = {"tokens": ["score", " ", "3"], "top_logprobs": [{}, {}, top]}
    chat = {
        "content": [
            {"token": "3", "top_logprobs": [{"token": k, "logprob": v} for k, v in top.items()]},
            {"token": "<eos>", "top_logprobs": []},
        ]
    }
    assert _digits(completions) == _digits(chat) == {int(k): v for k, v in top.items()}
    assert _digits(None) is None
    assert _digits({"tokens": ["no"], "top_logprobs": [{}]}) is None
