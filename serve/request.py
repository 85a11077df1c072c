"""A request's body: read, and rewritten for the version that answers it.

Only the top level is looked at; every value that is not replaced keeps its bytes. Knows nothing of
connections.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from serve.asgi import Refusal
from serve.rendering import Rendering

Fields = dict[str, msgspec.Raw]

_fields = msgspec.json.Decoder(Fields)


def parse(body: bytes) -> Fields:
    """The top-level fields, their values untouched. Raises Refusal 400."""
    try:
        fields = _fields.decode(body)
        if "chat_template" in fields and bytes(fields["chat_template"]) != b"null":
            raise Refusal(400, "chat_template is the server's own", param="chat_template")
        kwargs = msgspec.json.decode(fields.get("chat_template_kwargs", b"null"))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refusal(400, f"the request body is not a JSON object: {error}") from None
    if isinstance(kwargs, dict) and "chat_template" in kwargs:
        raise Refusal(400, "chat_template is the server's own", param="chat_template_kwargs")
    return fields


def model_name(fields: Fields) -> str:
    """The `model` asked for. Raises Refusal 400; without one vLLM would answer with the base."""
    try:
        name = msgspec.json.decode(fields.get("model", b"null"), type=str)
    except (msgspec.DecodeError, UnicodeDecodeError):
        name = ""
    if not name:
        raise Refusal(400, "model is required: the name of a version or alias", param="model")
    return name


def split_key(fields: Fields, headers: Mapping[bytes, bytes]) -> str:
    """What makes the requests of one user get the same version of a split alias."""
    return ""


def rewritten(fields: Fields, path: str, name: str, rendering: Rendering) -> bytes:
    """The body for `name`, with what its rendering needs. Raises Refusal."""
    changed: dict[str, Any] = {**fields, "model": name}
    if rendering.kwargs and "messages" in fields:
        kwargs = msgspec.json.decode(fields.get("chat_template_kwargs", b"null")) or {}
        changed["chat_template_kwargs"] = {**rendering.kwargs, **kwargs}
    return msgspec.json.encode(changed)
