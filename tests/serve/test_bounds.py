"""What is too much for one request, and what is not."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from serve.asgi import Refusal
from serve.bounds import MAX_FIELD_BYTES, MAX_ITEMS, MAX_REPEATS, MAX_TOKENIZED_BYTES, check_length
from serve.request import parse

MANY = MAX_ITEMS["messages"]
LONG = "[a-z]{1,50000}"
PART = {"type": "text", "text": "a"}


def read(**fields: Any) -> None:
    parse(json.dumps({"model": "prod", **fields}).encode())


def refused(**fields: Any) -> Refusal:
    with pytest.raises(Refusal) as caught:
        read(**fields)
    assert caught.value.status == 400
    return caught.value


@pytest.mark.parametrize("name", ["messages", "input"])
@pytest.mark.parametrize(
    "value",
    [
        [{}] * (MANY + 1),
        [{"role": "user", "content": [PART] * MANY}],
        [{"role": "user", "content": [PART] * 700}] * 3,
        [[[{}] * MANY]],
    ],
)
def test_messages_and_their_parts_are_counted(name: str, value: Any) -> None:
    assert refused(**{name: value}).param == name


def test_an_input_of_many_fields_is_refused() -> None:
    assert refused(input={str(number): {} for number in range(MANY + 1)})


def test_as_many_messages_as_accepted_pass() -> None:
    read(messages=[{"role": "user", "content": "a"}] * MANY)
    read(prompt=list(range(10 * MANY)))


@pytest.mark.parametrize(
    "fields",
    [
        {"structured_outputs": {"regex": LONG}},
        {"structured_outputs": {"regex": "a{50000}"}},
        {"structured_outputs": {"regex": "a{ 1, 50000 }"}},
        {"structured_outputs": {"regex": "a{50000,}"}},
        {"structured_outputs": {"regex": "a{" + "9" * 5000 + "}"}},
        {"structured_outputs": {"regex": f"a{{1,{MAX_REPEATS // 2}}}" * 3}},
        {"structured_outputs": {"json": {"type": "string", "pattern": LONG}}},
        {"structured_outputs": {"json": json.dumps({"pattern": LONG})}},
        {"structured_outputs": {"json": json.dumps({"pattern": LONG}).replace("{1,", "\\u007b1,")}},
        {"structured_outputs": {"grammar": "root ::= [a-z]{1,50000}"}},
        {"response_format": {"type": "json_schema", "json_schema": {"schema": {"pattern": LONG}}}},
        {"text": {"format": {"type": "json_schema", "schema": {"pattern": LONG}}}},
        {"tools": [{"function": {"parameters": {"properties": {"a": {"pattern": LONG}}}}}]},
        {"tools": [{"function": {"description": "a" * MAX_FIELD_BYTES}}]},
    ],
)
def test_patterns_that_take_long_are_refused(fields: dict[str, Any]) -> None:
    assert refused(**fields).param == next(iter(fields))


def test_usual_patterns_pass() -> None:
    pattern = "^[A-Z]{2}[0-9]{1,30}$"
    schema = {"type": "object", "properties": {"iban": {"pattern": pattern, "maxLength": 50000}}}
    read(structured_outputs={"json": schema}, tools=[{"function": {"parameters": schema}}])
    read(structured_outputs={"json": "{ not json"}, messages=[{"content": LONG}])


@pytest.mark.parametrize(
    "fields",
    [
        {"include": ["x"] * 100_000},
        {"chat_template_kwargs": {f"v{number}": 1 for number in range(50_000)}},
        {"tools": [{}] * (MAX_ITEMS["tools"] + 1)},
        {"input": [{}] * (MAX_ITEMS["input"] + 1)},
    ],
)
def test_what_makes_long_lists_of_errors_is_refused(fields: dict[str, Any]) -> None:
    assert refused(**fields).param == next(iter(fields))


@pytest.mark.parametrize("name", ["prompt", "suffix", "instructions", "input"])
def test_texts_may_be_long(name: str) -> None:
    read(**{name: "a" * (MAX_FIELD_BYTES + 1)})


@pytest.mark.parametrize(
    ("path", "names", "n_bytes", "is_refused"),
    [
        ("/v1/completions", (), MAX_TOKENIZED_BYTES + 1, False),
        ("/v1/completions", ("truncate_prompt_tokens",), MAX_TOKENIZED_BYTES + 1, True),
        ("/tokenize", (), MAX_TOKENIZED_BYTES, False),
        ("/tokenize", (), MAX_TOKENIZED_BYTES + 1, True),
    ],
)
def test_only_what_vllm_makes_tokens_of_without_a_limit_is_held_short(
    path: str, names: tuple[str, ...], n_bytes: int, is_refused: bool
) -> None:
    fields = dict.fromkeys(names, msgspec.Raw(b"10"))
    if not is_refused:
        check_length(path, fields, n_bytes)
        return
    with pytest.raises(Refusal) as caught:
        check_length(path, fields, n_bytes)
    assert caught.value.status == 413
