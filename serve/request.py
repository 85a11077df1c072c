"""A request's body: read, and rewritten for the version that answers it.

Refused is what would change the template or the prompt that a version was trained with, reach the
server beside the model, or outlive the request; the rest is the client's own. Every value that is
not replaced keeps its bytes. Knows nothing of connections.

Left to vLLM 0.32, which refuses them unless the server was started for them: `prompt_embeds`,
`media_io_kwargs`, `mm_processor_kwargs`, images, `previous_response_id`. Left to the client, who
says something with them that no template hides: `tools`, `documents`, `reasoning_effort`, `echo`,
`add_generation_prompt`, `continue_final_message`, `truncate_prompt_tokens`, `cache_salt`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from serve.asgi import Refusal
from serve.bounds import check_cost
from serve.rendering import Rendering

Fields = dict[str, msgspec.Raw]

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
RESPONSES, TOKENIZE = "/v1/responses", "/tokenize"

_REFUSED = {
    "chat_template": "it is the server's own",
    "kv_transfer_params": "it can replace the token ids of the prompt",
    "ec_transfer_params": "it is between servers",
    "vllm_xargs": "it goes to the engine unchecked, kv_transfer_params with it",
}
"""Field → why nobody may send it."""
_UNLESS_DEFAULT = {
    "background": "the work would outlive the request that holds its version",
    "priority": "requests of all callers have the same",
}
"""The same for fields whose false or zero is what happens anyway."""
_FLAGS = ("background", "stream", "use_beam_search", "ignore_eos", "add_special_tokens")
_OBJECTS = ("chat_template_kwargs", "stream_options", "structured_outputs", "reasoning")
"""vLLM would take "yes" for true, and answers 500 for some that are no objects."""
_RENDERERS = frozenset(
    "add_generation_prompt chat_template continue_final_message conversation cycler dict documents "
    "joiner kwargs lipsum max_length messages model_config namespace padding raise_exception range "
    "return_assistant_tokens_mask return_dict return_tensors self strftime_now tokenize tokenizer "
    "tokenizer_kwargs tools truncation".split()
)
"""Template variables that are the renderer's: arguments of transformers' `apply_chat_template` and
of vLLM around it, functions that templates call. Special tokens (`bos_token` …) are refused too."""
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_INT64 = 1 << 63
_SHOWN = 64
"""Characters of a client's text that an answer repeats."""
_KEYS = ("prompt_cache_key", "safety_identifier", "user")
_PROMPTS = ("messages", "prompt", "input")

_fields = msgspec.json.Decoder(Fields)


def parse(body: bytes) -> Fields:
    """The top-level fields, their values untouched. Raises Refusal 400 for what is not JSON that
    vLLM reads the same way (whole characters, numbers of 64 bits), for what is refused, and for
    what costs too much."""
    try:
        fields = _fields.decode(body)
        values = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refusal(400, f"the request body is not a JSON object: {error}") from None
    for name in _FLAGS:
        _require_kind(values, name, bool, "true or false")
    for name in _OBJECTS:
        _require_kind(values, name, dict, "an object")
    _require_kind(values.get("stream_options") or {}, "include_usage", bool, "true or false")
    for name, value in values.items():
        if type(value) is int and not -_INT64 <= value < _INT64:
            raise Refusal(400, f"{name[:_SHOWN]} has more than 64 bits", param=name[:_SHOWN])
    _check_allowed(values)
    check_cost(fields, values)
    return fields


def _require_kind(values: Mapping[str, Any], name: str, kind: type, words: str) -> None:
    value = values.get(name)
    if value is not None and not isinstance(value, kind):
        raise Refusal(400, f"{name} is {words}", param=name)


def _check_allowed(values: Mapping[str, Any]) -> None:
    """Raises Refusal 400 for what clients may not send."""
    for name, reason in _REFUSED.items():
        if values.get(name) is not None:
            raise Refusal(400, f"{name} is not accepted: {reason}", param=name)
    for name, reason in _UNLESS_DEFAULT.items():
        if values.get(name):
            raise Refusal(400, f"{name} is not accepted: {reason}", param=name)
    if values.get("add_special_tokens") and "messages" in values:
        raise Refusal(
            400,
            "add_special_tokens is not accepted with messages: the template writes them",
            param="add_special_tokens",
        )
    for name in values.get("chat_template_kwargs") or ():
        if name in _RENDERERS or name.endswith(("_token", "_tokens")):
            what = f"chat_template_kwargs.{name[:_SHOWN]}"
            raise Refusal(400, f"{what} is the server's own", param="chat_template_kwargs")
    request_id = values.get("request_id")
    if request_id is not None and not (
        isinstance(request_id, str) and _REQUEST_ID.fullmatch(request_id)
    ):
        raise Refusal(400, "request_id is 1 to 64 of A-Z a-z 0-9 . _ -", param="request_id")


def model_name(fields: Fields) -> str:
    """The `model` asked for. Raises Refusal 400; without one vLLM would answer with the base."""
    name = _value(fields, "model")
    if not isinstance(name, str) or not name:
        raise Refusal(400, "model is required: the name of a version or alias", param="model")
    return name


def split_key(fields: Fields, headers: Mapping[bytes, bytes]) -> str:
    """What makes the requests of one user get the same version of a split alias: the header
    x-harness-split-key, else OpenAI's fields for it (prompt_cache_key, safety_identifier, user),
    else how the conversation begins, which all its later turns share. 16 hex digits."""
    header = headers.get(b"x-harness-split-key")
    if header:
        return _short(header)
    for name in _KEYS:
        value = _value(fields, name)
        if isinstance(value, str) and value:
            return _short(value.encode())
    return _short(b"\n".join(_beginning(fields)))


def asked_for_usage(fields: Fields) -> bool:
    """Whether the client wants the token counts at the end of its stream."""
    return bool((_value(fields, "stream_options") or {}).get("include_usage"))


def rewritten(fields: Fields, path: str, name: str, rendering: Rendering) -> bytes:
    """The body for `name`, with what its rendering needs. Raises Refusal 400 for a client's
    template variable that differs from the rendering's, and for beam search where it would not
    end at the rendering's stop tokens."""
    changed: dict[str, Any] = {**fields, "model": name}
    if path == RESPONSES or (path in (CHAT, TOKENIZE) and "messages" in fields):
        variables = _variables(fields, name, rendering)
        if variables:
            changed["chat_template_kwargs"] = variables
        if rendering.template is not None:
            changed["chat_template"] = rendering.template
    if path != TOKENIZE and rendering.stop_ids and not _value(fields, "ignore_eos"):
        if _value(fields, "use_beam_search"):
            message = f"use_beam_search is not accepted: it knows no stop tokens of {name}'s own"
            raise Refusal(400, message, param="use_beam_search")
        changed["stop_token_ids"] = _stop_ids(fields, rendering.stop_ids)
    if path in (CHAT, COMPLETIONS) and _value(fields, "stream") and not asked_for_usage(fields):
        options = _value(fields, "stream_options") or {}
        options |= {"include_usage": True, "continuous_usage_stats": False}
        changed["stream_options"] = options
    return msgspec.json.encode(changed)


def _variables(fields: Fields, name: str, rendering: Rendering) -> dict[str, Any]:
    """The client's template variables and the rendering's. Raises Refusal 400 where they differ,
    be it by a field that vLLM makes a variable of."""
    given: dict[str, Any] = _value(fields, "chat_template_kwargs") or {}
    thinking = _value(fields, "reasoning") or {}
    efforts = (_value(fields, "reasoning_effort"), thinking.get("effort"))
    named = [(key, value, f"chat_template_kwargs.{key}") for key, value in given.items()]
    named += [("reasoning_effort", each, "reasoning_effort") for each in efforts if each]
    for key, value, what in named:
        if key in rendering.kwargs and value != rendering.kwargs[key]:
            asked = msgspec.json.encode(value).decode()[:_SHOWN]
            own = msgspec.json.encode(rendering.kwargs[key]).decode()
            message = f"{what} = {asked}: {name} is rendered with {own}; leave it out"
            raise Refusal(400, message, param=what.partition(".")[0])
    return {**given, **rendering.kwargs}


def _stop_ids(fields: Fields, own: Iterable[int]) -> Any:
    """The client's and `own`; that some end every answer anyway changes nothing. What is no list
    is left for vLLM to refuse."""
    given = _value(fields, "stop_token_ids")
    if given is not None and not isinstance(given, list):
        return given
    given = given or []
    return given + [each for each in own if each not in given]


def _beginning(fields: Fields) -> list[bytes]:
    """A prompt, or a chat up to its first user message."""
    raw = next((fields[name] for name in _PROMPTS if name in fields), msgspec.Raw(b""))
    try:
        messages = msgspec.json.decode(raw, type=list[msgspec.Raw])
    except msgspec.DecodeError:
        return [bytes(raw)]
    found = []
    for message in messages:
        found.append(bytes(message))
        if b'"user"' in found[-1]:
            break
    return found


def _short(key: bytes) -> str:
    return hashlib.blake2b(key, digest_size=8).hexdigest()


def _value(fields: Fields, name: str) -> Any:
    """A field's value, which `parse` has read before."""
    return msgspec.json.decode(fields[name]) if name in fields else None
