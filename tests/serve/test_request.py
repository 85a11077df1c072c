"""What becomes of a request's body: what is refused, added, kept and hashed."""

from __future__ import annotations

import inspect
import json
from typing import Any

import pytest

from serve.asgi import Refusal
from serve.rendering import Rendering
from serve.request import (
    CHAT,
    COMPLETIONS,
    RESPONSES,
    TOKENIZE,
    asked_for_usage,
    model_name,
    parse,
    rewritten,
    split_key,
)

OWN = Rendering("{{ messages }}", {"mood": "grave"}, (2, 9))
MESSAGES = [{"role": "user", "content": "Hi"}]


def body(**fields: Any) -> bytes:
    return json.dumps({"model": "prod", **fields}).encode()


def sent(path: str, rendering: Rendering = OWN, **fields: Any) -> dict[str, Any]:
    """What vLLM is given for a client's fields."""
    value = json.loads(rewritten(parse(body(**fields)), path, "bot@1", rendering))
    assert value.pop("model") == "bot@1"
    return dict(value)


@pytest.mark.parametrize(
    "text",
    [
        b'{"x": "a\\ud800b"}',
        b'{"x": [{"\\udc00": 1}]}',
        b'{"x": "\xed\xa0\x80"}',
        b'{"x": "\xff"}',
        b'{"x": ' + b"[" * 2000 + b"]" * 2000 + b"}",
        b'{"x": [1e400]}',
        b'{"x": NaN}',
        b'{"x": ' + b"9" * 5000 + b"}",
        b'{"top_k": 9223372036854775808}',
        b'{"top_k": -9223372036854775809}',
        b'{"structured_outputs": []}',
        b'{"stream_options": "include_usage"}',
        b'{"chat_template_kwargs": ["chat_template"]}',
        b'{"stream": "yes"}',
        b'{"background": 1}',
        b'{"stream_options": {"include_usage": "on"}}',
        b'{"request_id": "a\\nINFO b"}',
        b'{"request_id": 1}',
    ],
)
def test_hostile_json_is_a_refusal(text: bytes) -> None:
    with pytest.raises(Refusal) as refused:
        parse(text)
    assert refused.value.status == 400
    assert len(str(refused.value)) < 200


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("chat_template", "x"),
        ("chat_template", ""),
        ("kv_transfer_params", {"prompt_token_ids": [1]}),
        ("ec_transfer_params", {}),
        ("vllm_xargs", {"kv_transfer_params": "x"}),
        ("background", True),
        ("priority", -1),
        ("add_special_tokens", True),
    ],
)
def test_fields_nobody_may_send_are_named(field: str, value: Any) -> None:
    with pytest.raises(Refusal, match=f"^{field} is not accepted") as refused:
        parse(body(messages=MESSAGES, **{field: value}))
    assert refused.value.param == field


def test_their_defaults_are_as_good_as_nothing() -> None:
    fields: dict[str, Any] = {
        "chat_template": None,
        "vllm_xargs": None,
        "background": False,
        "priority": 0,
    }
    assert sent(TOKENIZE, prompt="x", **fields) == {"prompt": "x", **fields}
    assert sent(COMPLETIONS, Rendering(), prompt="x", add_special_tokens=True)


def test_variables_that_are_the_renderers_are_refused() -> None:
    from transformers import PreTrainedTokenizerBase

    found = inspect.signature(PreTrainedTokenizerBase.apply_chat_template).parameters
    for name in (*found, "messages", "bos_token", "image_tokens", "raise_exception", "namespace"):
        with pytest.raises(Refusal, match=f"chat_template_kwargs.{name} is the server's own"):
            parse(body(chat_template_kwargs={name: 1}))


def test_a_chat_gets_the_versions_template_variables_and_stop_tokens() -> None:
    fields: dict[str, Any] = {
        "messages": MESSAGES,
        "chat_template_kwargs": {"enable_thinking": False},
    }
    given = {
        "messages": MESSAGES,
        "chat_template": OWN.template,
        "chat_template_kwargs": {"enable_thinking": False, "mood": "grave"},
    }
    assert sent(TOKENIZE, **fields) == given
    assert sent(CHAT, **fields, stop_token_ids=[7, 9]) == given | {"stop_token_ids": [7, 9, 2]}
    assert sent(CHAT, **fields, stop_token_ids=None) == given | {"stop_token_ids": [2, 9]}
    assert sent(CHAT, **fields, ignore_eos=True) == given | {"ignore_eos": True}


def test_responses_get_the_same_and_completions_only_the_stop_tokens() -> None:
    given = {"chat_template": OWN.template, "chat_template_kwargs": OWN.kwargs}
    assert sent(RESPONSES, input="x") == {"input": "x", **given, "stop_token_ids": [2, 9]}
    assert sent(COMPLETIONS, prompt="x") == {"prompt": "x", "stop_token_ids": [2, 9]}
    assert sent(TOKENIZE, prompt="x") == {"prompt": "x"}


def test_a_rendering_without_anything_of_its_own_adds_nothing() -> None:
    assert sent(CHAT, Rendering(), messages=MESSAGES) == {"messages": MESSAGES}


@pytest.mark.parametrize("value", ["x", {"a": 1}, 3])
def test_stop_tokens_that_are_no_list_are_left_for_vllm_to_refuse(value: Any) -> None:
    assert sent(COMPLETIONS, prompt="x", stop_token_ids=value)["stop_token_ids"] == value


@pytest.mark.parametrize("value", [[[1]], ["2"], [None], [1e300]])
def test_stop_tokens_of_any_kind_are_kept(value: Any) -> None:
    seen = sent(COMPLETIONS, prompt="x", stop_token_ids=value)
    assert seen["stop_token_ids"] == [*value, 2, 9]


@pytest.mark.parametrize(
    ("path", "fields", "words"),
    [
        (
            CHAT,
            {"chat_template_kwargs": {"mood": "merry"}},
            '"merry": bot@1 is rendered with "grave"',
        ),
        (CHAT, {"chat_template_kwargs": {"mood": None}}, "null"),
        (CHAT, {"chat_template_kwargs": {"mood": "x" * 900}}, "chat_template_kwargs.mood"),
        (CHAT, {"reasoning_effort": "high"}, 'reasoning_effort = "high"'),
        (RESPONSES, {"reasoning": {"effort": "high"}}, 'reasoning_effort = "high"'),
        (CHAT, {"use_beam_search": True}, "use_beam_search"),
    ],
)
def test_what_contradicts_the_version_is_refused(
    path: str, fields: dict[str, Any], words: str
) -> None:
    rendering = OWN._replace(kwargs={"mood": "grave", "reasoning_effort": "low"})
    with pytest.raises(Refusal) as refused:
        sent(path, rendering, messages=MESSAGES, **fields)
    assert words in str(refused.value)
    assert len(str(refused.value)) < 200
    assert sent(path, OWN._replace(kwargs={}, stop_ids=()), messages=MESSAGES, **fields)


def test_the_same_value_is_no_contradiction() -> None:
    fields: dict[str, Any] = {"messages": MESSAGES, "chat_template_kwargs": {"mood": "grave"}}
    assert sent(CHAT, **fields)["chat_template_kwargs"] == {"mood": "grave"}


@pytest.mark.parametrize("path", [CHAT, COMPLETIONS])
def test_a_stream_always_counts(path: str) -> None:
    plain = Rendering()
    forced = {"include_usage": True, "continuous_usage_stats": False}
    assert sent(path, plain, stream=True)["stream_options"] == forced
    options = {"include_usage": False, "continuous_usage_stats": True, "other": 1}
    seen = sent(path, plain, stream=True, stream_options=options)
    assert seen["stream_options"] == forced | {"other": 1}
    asked = {"include_usage": True, "continuous_usage_stats": True}
    assert sent(path, plain, stream=True, stream_options=asked)["stream_options"] == asked
    assert "stream_options" not in sent(path, plain, stream=False)
    assert "stream_options" not in sent(RESPONSES, plain, stream=True, input="x")


def test_who_asked_for_usage() -> None:
    assert asked_for_usage(parse(body(stream_options={"include_usage": True})))
    for options in (None, {}, {"include_usage": None}, {"include_usage": False}):
        assert not asked_for_usage(parse(body(stream_options=options)))
    assert not asked_for_usage(parse(body()))


def test_a_field_written_twice_or_escaped_is_one() -> None:
    text = b'{"model": "a", "messages": [], "mod\\u0065l": "b", "temperature": 0.10}'
    fields = parse(text)
    assert model_name(fields) == "b"
    seen = rewritten(fields, CHAT, "bot@1", Rendering())
    assert seen == b'{"model":"bot@1","messages":[],"temperature":0.10}'
    with pytest.raises(Refusal, match="chat_template"):
        parse(b'{"chat_t\\u0065mplate": "x", "model": "a"}')


def key(headers: dict[bytes, bytes] | None = None, **fields: Any) -> str:
    return split_key(parse(body(**fields)), headers or {})


def test_one_user_has_one_key() -> None:
    header = {b"x-harness-split-key": b"ann"}
    by_header = key(header, user="bob", messages=MESSAGES)
    assert by_header == key(header) != key({b"x-harness-split-key": b"bob"})
    assert key(user="ann") == key(user="ann", messages=MESSAGES) != key(user="bob")
    assert key(prompt_cache_key="a", safety_identifier="b", user="c") == key(prompt_cache_key="a")
    assert key(safety_identifier="b", user="c") == key(safety_identifier="b")
    assert len(by_header) == 16


def test_a_conversation_keeps_its_key_as_it_goes_on() -> None:
    system = {"role": "system", "content": "Be brief."}
    more = [{"role": "assistant", "content": "Hello"}, {"role": "user", "content": "Bye"}]
    start = key(messages=[system, *MESSAGES])
    assert start == key(messages=[system, *MESSAGES, *more], temperature=1)
    assert start != key(messages=[system, *more])
    assert key(prompt="a") == key(prompt="a", n=2) != key(prompt="b")
    assert key(prompt=[1, 2]) != key(prompt=[1, 3])
    assert key(input="a") != key(input="b")


@pytest.mark.parametrize(
    "hostile", [None, 0, 1.5, True, "", [], {}, [[]], {"user": []}, "x" * 99_999]
)
def test_a_key_comes_of_anything(hostile: Any) -> None:
    for name in ("prompt_cache_key", "safety_identifier", "user", "messages", "prompt", "input"):
        assert len(key(**{name: hostile})) == 16
    assert len(key({b"x-harness-split-key": b"\xff" * 5000})) == 16
