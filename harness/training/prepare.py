"""From a recipe to encoded rows, with everything that must hold before a training starts.

Reads and mixes the sources, encodes every row and applies the length limit. Knows nothing of
how the rows are trained on.
"""

from __future__ import annotations

import random
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

from harness.chat.base import base_dir, base_info, max_context
from harness.chat.contract import fingerprint
from harness.chat.encode import IGNORED, Row, encode
from harness.chat.template import load_chat
from harness.errors import DataError, EnvironmentFault, RecipeError
from harness.jsonio import digest
from harness.recipe import Data, LoadedRecipe, Source
from harness.training.order import count_steps
from harness.training.read import Example, read
from harness.training.targets import require_targets
from harness.types import BaseInfo, ChatContract

PACKAGES = ("torch", "transformers", "trl", "peft")
"""What determines the weights beside data and recipe."""
_NAMED = 5


class Counts(NamedTuple):
    """What the data came to. Token counts are those of the kept rows, each counted once."""

    n_examples: int
    n_rows: int
    n_dropped: int
    n_tokens: int
    n_trained_tokens: int
    longest_tokens: int


class Prepared(NamedTuple):
    """Rows ready to train on, and what they were made with."""

    rows: tuple[Row, ...]
    dropped: tuple[str, ...]
    """Sources of the rows left out because they are too long."""
    counts: Counts
    data: str
    """Digest of the rows' token ids and labels, in order."""
    contract: ChatContract
    template: str
    """Jinja source of the chat template."""
    base: BaseInfo
    base_dir: Path
    n_steps: int


def prepare(loaded: LoadedRecipe) -> Prepared:
    """Read, mix, encode and measure everything the recipe trains on.

    Raises DataError for a file or row that cannot be trained on, RecipeError for a base, template
    or length limit that cannot be used.
    """
    recipe = loaded.recipe
    directory = base_dir(recipe.base, loaded.root)
    require_targets(recipe.lora.targets, directory)
    longest = max_context(recipe.base, directory)
    limit = _length_limit(recipe.data, longest)
    chat = load_chat(loaded, directory)
    contract = fingerprint(chat)
    examples = _mix(loaded)
    encoded = [row for each in examples for row in encode(each.messages, chat, each.source)]
    rows, dropped = _fit(encoded, limit, recipe.data)
    return Prepared(
        rows=rows,
        dropped=dropped,
        counts=_count(len(examples), rows, dropped),
        data=digest([(row.input_ids, row.labels) for row in rows]),
        contract=contract,
        template=chat.template,
        base=base_info(recipe.base, directory),
        base_dir=directory,
        n_steps=count_steps(recipe.train, len(rows)),
    )


def train_key(loaded: LoadedRecipe, prepared: Prepared) -> str:
    """Digest of all that determines the weights: equal key, equal adapter (on a CPU).

    Raises EnvironmentFault when a training package is not installed.
    """
    recipe = loaded.recipe
    return digest(
        {
            "name": recipe.name,
            "base": {"weights": prepared.base.weights, "dtype": recipe.base.dtype},
            "contract": prepared.contract.dump(),
            "data": prepared.data,
            "data_seed": recipe.data.seed,
            "lora": recipe.lora.model_dump(mode="json"),
            "train": recipe.train.model_dump(mode="json", exclude={"save_every"}),
            "packages": packages(),
        }
    )


def packages() -> dict[str, str]:
    """Package → version of what trains. Raises EnvironmentFault naming a missing one."""
    try:
        return {name: version(name) for name in PACKAGES}
    except PackageNotFoundError as error:
        raise EnvironmentFault(
            f"package {error.name} is not installed, and training needs it",
            hint="pip install 'harness[cpu]' or 'harness[gpu]'",
        ) from None


def _length_limit(data: Data, longest: int) -> int:
    """data.max_length; left at its default, no more than the base can attend to."""
    if data.max_length <= longest:
        return data.max_length
    if "max_length" in data.model_fields_set:
        raise RecipeError(
            f"data.max_length = {data.max_length}: the context is {longest} tokens "
            "(base.max_context, at most what the base attends to)",
            hint=f"set data.max_length to {longest} or less",
        )
    return longest


def _mix(loaded: LoadedRecipe) -> list[Example]:
    examples: list[Example] = []
    for index, source in enumerate(loaded.recipe.data.sources):
        found = read(loaded.locate(source.path), source.path)
        examples += _share(found, source, f"source {index} {loaded.recipe.data.seed}")
    return examples


def _share(examples: list[Example], source: Source, seed: str) -> list[Example]:
    """`weight` times the examples: whole repeats, then a random share in file order."""
    repeats = int(source.weight)
    n_more = round((source.weight - repeats) * len(examples))
    if not repeats and not n_more:
        n_more = 1
    chosen = sorted(random.Random(seed).sample(range(len(examples)), n_more))
    return examples * repeats + [examples[i] for i in chosen]


def _fit(rows: list[Row], limit: int, data: Data) -> tuple[tuple[Row, ...], tuple[str, ...]]:
    long = [row for row in rows if len(row.input_ids) > limit]
    if long and data.overflow == "error":
        named = ", ".join(f"{row.source} ({len(row.input_ids)})" for row in long[:_NAMED])
        more = f" and {len(long) - _NAMED} more" if len(long) > _NAMED else ""
        raise DataError(
            f"{len(long)} of {len(rows)} rows are longer than {limit} tokens "
            f"(data.max_length): {named}{more}",
            hint="raise data.max_length, shorten the rows, or set data.overflow to drop",
        )
    kept = tuple(row for row in rows if len(row.input_ids) <= limit)
    if not kept:
        raise DataError(
            f"all {len(rows)} rows are longer than {limit} tokens (data.max_length)",
            hint="raise data.max_length",
        )
    return kept, tuple(row.source for row in long)


def _count(n_examples: int, rows: tuple[Row, ...], dropped: tuple[str, ...]) -> Counts:
    return Counts(
        n_examples=n_examples,
        n_rows=len(rows),
        n_dropped=len(dropped),
        n_tokens=sum(len(row.input_ids) for row in rows),
        n_trained_tokens=sum(len(row.labels) - row.labels.count(IGNORED) for row in rows),
        longest_tokens=max(len(row.input_ids) for row in rows),
    )
