"""Proof that a live server serves an adapter exactly as it was trained.

On every probe row of the manifest: the chat route makes the trained prompt ids; the log-probs of
the trained completion equal PEFT's; and they are not the base's. Knows the server only by HTTP.
"""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import NamedTuple

from harness.errors import ContractError, EndpointError
from harness.evaluation.answers import Answer
from harness.evaluation.client import Client, all_of
from harness.types import Manifest, ProbeReport, ProbeRow

TOLERANCE = {"float32": 1e-4, "float16": 2e-2, "bfloat16": 2e-1}
"""Largest accepted |log-prob served − log-prob under PEFT|, by the coarser of the two dtypes.
float32 measures 1e-6 to 5e-6; the half precisions allow for their rounding."""


class _Served(NamedTuple):
    row: ProbeRow
    prompt_ids: tuple[int, ...] | None
    adapter: tuple[float, ...]
    base: tuple[float, ...]


async def probe(client: Client, manifest: Manifest, *, base_name: str, dtype: str) -> ProbeReport:
    """Probe every row on a server that runs in `dtype`. Raises ContractError that shows the first
    row that fails."""
    version = manifest.version
    tolerance = max(TOLERANCE[manifest.base.dtype], TOLERANCE[dtype])
    if not manifest.probes:
        raise ContractError(f"{version}: no probe rows in its manifest; nothing can be proven")
    served = await _served(client, manifest, base_name)
    differences = []
    for each in served:
        row = each.row
        if each.prompt_ids != row.prompt_ids:
            raise _failure(version, row, f"the chat route made prompt ids {each.prompt_ids}, "
                           f"training had {row.prompt_ids}")  # fmt: skip
        sides = {
            "the adapter": (each.adapter, row.logprobs),
            "the base": (each.base, row.base_logprobs),
        }
        for name, (seen, trained) in sides.items():
            difference = _largest(seen, trained)
            if not difference <= tolerance:
                raise _failure(version, row, f"log-probs of {name} differ from PEFT's by "
                               f"{difference:.2g}, accepted is {tolerance:g}")  # fmt: skip
        differences.append(_largest(each.adapter, row.logprobs))
    effects = [_largest(each.adapter, each.base) for each in served]
    if max(effects) <= tolerance:
        raise ContractError(
            f"{version}: the adapter changes nothing: its log-probs equal the base's within "
            f"{max(effects):.2g} on all {len(served)} probe rows",
            hint="train longer, or check that lora.targets names modules of this base",
        )
    return ProbeReport(
        version=version,
        n_rows=len(served),
        max_difference=float(f"{max(differences):.3g}"),
        tolerance=tolerance,
        min_effect=float(f"{min(effects):.3g}"),
    )


async def _served(client: Client, manifest: Manifest, base_name: str) -> list[_Served]:
    """What the server makes of every row. Raises ContractError where it refuses the version."""
    try:
        return await all_of(
            _ask(client, manifest.version, base_name, row) for row in manifest.probes
        )
    except EndpointError as error:
        if error.status == HTTPStatus.CONFLICT:
            raise ContractError(
                str(error), hint="publish the version anew, or serve it as it was trained"
            ) from None
        raise


async def _ask(client: Client, version: str, base_name: str, row: ProbeRow) -> _Served:
    ids = (*row.prompt_ids, *row.completion_ids)

    async def logprobs(model: str) -> tuple[float, ...]:
        options = {"max_tokens": 1, "temperature": 0, "extra_body": {"prompt_logprobs": 0}}
        [answer] = await client.complete(model, [ids], **options)
        return _completion(answer, row, version)

    # vLLM shows the tools to the template also where they may not be called.
    tools = {"tools": list(row.tools), "tool_choice": "none"} if row.tools else {}
    chat = await client.chat(
        version,
        row.messages,
        max_tokens=1,
        temperature=0,
        extra_body={"return_token_ids": True} | tools,
    )
    return _Served(row, chat.prompt_ids, await logprobs(version), await logprobs(base_name))


def _completion(answer: Answer, row: ProbeRow, version: str) -> tuple[float, ...]:
    found = (answer.prompt_logprobs or ())[len(row.prompt_ids) :]
    values = tuple(value for value in found if value is not None)
    if len(values) != len(row.completion_ids):
        raise _failure(version, row, "the server returned no log-probs for the prompt")
    return values


def _largest(seen: Sequence[float], expected: Sequence[float]) -> float:
    return max(abs(a - b) for a, b in zip(seen, expected, strict=True))


def _failure(version: str, row: ProbeRow, what: str) -> ContractError:
    return ContractError(
        f"{version}: probe row {row.source}: {what}; "
        f"the row asks {row.messages[-1].content[:200]!r}",
        hint="serve it with the base, template and dtype it was trained with",
    )
