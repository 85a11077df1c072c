"""How a version's chats are rendered: its own template, variables and stop tokens, proven against
the token ids it was trained on before it answers anyone.

Knows vLLM only by its /tokenize route.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from harness.chat.contract import probe_request
from harness.errors import DataError
from harness.jsonio import digest
from harness.types import Manifest
from serve.asgi import Refusal
from serve.config import Served

Tokenize = Callable[[Mapping[str, Any]], Awaitable[tuple[int, ...]]]
"""Body of a /tokenize request without its model → token ids. Raises Refusal."""
_TEMPLATE = "chat_template.jinja"


class Rendering(NamedTuple):
    """What a version's requests are given."""

    template: str | None = None
    """Jinja source; None: the server's own is the same."""
    kwargs: Mapping[str, Any] = {}
    """Variables that the template was trained with."""
    stop_ids: tuple[int, ...] = ()
    """Token ids that end an answer."""


async def prove(
    manifest: Manifest, version_dir: Path, served: Served, tokenize: Tokenize
) -> Rendering:
    """The rendering of a version whose probe rows it turns into the trained token ids. Raises
    Refusal 409 with both sides' fingerprints where it does not.

    Every row is asked: training keeps eight, spread over its data so that tools, thoughts and
    history are among them where it has any, and each costs about a millisecond. A version without
    rows is served unproven; no promotion takes it, since `harness.evaluation.probe` wants rows.
    """
    contract = manifest.contract
    template = None
    if contract.template != served.template:
        template = _template(manifest, version_dir)
    given: dict[str, Any] = {"add_generation_prompt": True}
    if template is not None:
        given["chat_template"] = template
    if contract.kwargs:
        given["chat_template_kwargs"] = contract.kwargs
    for number, row in enumerate(manifest.probes, 1):
        try:
            seen = await tokenize(probe_request(row) | given)
        except (DataError, Refusal) as error:
            raise _mismatch(manifest, served, number, f"is refused here: {error}") from None
        if seen != row.prompt_ids:
            difference = _difference(row.prompt_ids, seen)
            raise _mismatch(manifest, served, number, f"becomes other token ids: {difference}")
    return Rendering(template, contract.kwargs, contract.stop_ids)


def _template(manifest: Manifest, version_dir: Path) -> str:
    """The version's own Jinja source. Raises Refusal 409 when it is not the one of the contract,
    503 when it cannot be read."""
    try:
        data = (version_dir / _TEMPLATE).read_bytes()
        source = data.decode()
    except (OSError, UnicodeDecodeError) as error:
        raise Refusal(503, f"{manifest.version}: {_TEMPLATE}: {error}", param="model") from None
    found = digest(data)
    if found != manifest.contract.template:
        raise Refusal(
            409,
            f"{manifest.version}: trained with chat template {manifest.contract.template}, "
            f"its {_TEMPLATE} is {found}",
            param="model",
        )
    return source


def _difference(trained: Sequence[int], seen: Sequence[int]) -> str:
    """Fingerprints of both sides and where they part; no ids, which would be training text."""
    parts = (
        index for index, pair in enumerate(zip(trained, seen, strict=False)) if len({*pair}) > 1
    )
    place = next(parts, min(len(trained), len(seen)))
    sides = [f"{digest(list(ids))[:12]} ({len(ids)} tokens)" for ids in (trained, seen)]
    return f"trained {sides[0]}, here {sides[1]}, different from token {place + 1} on"


def _mismatch(manifest: Manifest, served: Served, number: int, what: str) -> Refusal:
    contract = manifest.contract
    here = served.template[:12] if served.template else "none"
    return Refusal(
        409,
        f"{manifest.version}: probe row {number} of {len(manifest.probes)} {what}; trained with "
        f"template {contract.template[:12]} and tokenizer {contract.tokenizer[:12]}, this "
        f"server's template is {here}; serve it with the tokenizer it was trained with",
        param="model",
    )
