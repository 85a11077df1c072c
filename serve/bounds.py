"""What one request may cost before the model sees it.

vLLM 0.32 checks a request and compiles what its answer must look like on the thread that answers
everybody, and some short requests keep it busy for many seconds, growing with the square: 10,000
empty objects as `input` of /v1/responses, the pattern `[a-z]{1,20000}` in a JSON schema; and so
do 7 MB to /tokenize. Knows nothing of what the fields mean to a model.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from serve.asgi import Refusal

MAX_ITEMS = {"messages": 2048, "input": 512, "tools": 128}
"""Elements of a field's lists: messages with their parts. vLLM writes 233 errors for each
wrong item of `input` and 27 for a wrong tool."""
MAX_FIELD_BYTES = 250_000
"""JSON of a field that is not text: schemas, grammars, tools, template variables, biases."""
MAX_REPEATS = 4096
"""Sum of the counts in the patterns of that: 3 for `[a-z]{1,3}`."""
MAX_TOKENIZED_BYTES = 1_000_000
"""Body of a text that vLLM makes tokens of, however long; usually its limit is the context."""

_TEXTS = frozenset({"documents", "input", "instructions", "messages", "prompt", "suffix"})
_SHAPES = ("structured_outputs", "response_format", "text", "tools")
_COUNT = re.compile(rb"\{[\d,\s]*\d[\d,\s]*\}")
_NUMBER = re.compile(rb"\d+")


def check_cost(fields: Mapping[str, msgspec.Raw], values: Mapping[str, Any]) -> None:
    """`fields` as they came, and read. Raises Refusal 400 for what would keep everybody waiting."""
    for name, raw in fields.items():
        if len(raw) > MAX_FIELD_BYTES and name not in _TEXTS and name != "model":
            shown = name[:64]
            raise Refusal(400, f"{shown} has more than {MAX_FIELD_BYTES} bytes", param=shown)
    for name, most in MAX_ITEMS.items():
        value = values.get(name)
        n = len(value) if name == "tools" and isinstance(value, list) else _n_items(value)
        if n > most:
            raise Refusal(400, f"{name} has {n} items and parts; accepted: {most}", param=name)
    for name in _SHAPES:
        if values.get(name):
            _check_shape(name, values[name])


def check_length(path: str, fields: Mapping[str, msgspec.Raw], n_bytes: int) -> None:
    """Raises Refusal 413 for a body with a text too long to be made tokens while others wait."""
    unlimited = path == "/tokenize" or "truncate_prompt_tokens" in fields
    if unlimited and n_bytes > MAX_TOKENIZED_BYTES:
        raise Refusal(413, f"the request body is larger than {MAX_TOKENIZED_BYTES} bytes")


def _n_items(value: Any) -> int:
    """Elements of all the lists in a value."""
    n, left = len(value) if isinstance(value, dict) else 0, [value]
    while left:
        each = left.pop()
        if isinstance(each, list):
            n += len(each)
            left += each
        elif isinstance(each, dict):
            left += each.values()
    return n


def _check_shape(name: str, value: Any) -> None:
    text = _plain(value)
    n = sum(max(map(_number, _NUMBER.findall(count))) for count in _COUNT.findall(text))
    if n > MAX_REPEATS:
        raise Refusal(
            400, f"{name}: the counts in its patterns sum to over {MAX_REPEATS}", param=name
        )


def _number(digits: bytes) -> int:
    """Of digits without end, which Python would refuse to read."""
    return int(digits) if len(digits) < 10 else MAX_REPEATS + 1


def _plain(value: Any) -> bytes:
    """JSON without escapes that hide a brace, also in text that is JSON itself (a schema may be
    given as one)."""
    inner = b""
    if isinstance(value, dict):
        for each in value.values():
            if isinstance(each, str) and each.lstrip()[:1] in ("{", "["):
                try:
                    inner += msgspec.json.encode(msgspec.json.decode(each))
                except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                    continue  # vLLM refuses it
    return msgspec.json.encode(value) + inner
