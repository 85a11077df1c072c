"""From a recipe to the rows it trains on, with everything that must hold before a training starts.

Reads, encodes, compares with the held-out items, splits and mixes. Knows nothing of how the rows
are trained on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

from harness.chat.base import base_dir, base_info, max_context
from harness.chat.contract import fingerprint
from harness.chat.lint import Finding, lint
from harness.chat.template import ChatTokenizer, load_chat
from harness.errors import DataError, EnvironmentFault, RecipeError
from harness.jsonio import digest
from harness.recipe import Data, LoadedRecipe
from harness.training.command import require_processes
from harness.training.gather import Corpus, Observer, SourceCounts, gather
from harness.training.mix import Split, fit, hold_out, mixture, split
from harness.training.objective import require_objective
from harness.training.order import count_steps
from harness.training.process.trackers import require_trackers
from harness.training.quality.duplicates import ExactReport, NearDuplicates
from harness.training.quality.leaks import Leak, Leaks
from harness.training.quality.overlap import Match, Overlap, OverlapReport
from harness.training.reading.example import Skipped
from harness.training.rows import Rows, RowTable
from harness.training.targets import require_lora
from harness.types import BaseInfo, ChatContract, Item

PACKAGES = ("torch", "transformers", "trl", "peft")
"""What determines the weights beside data and recipe."""
_NAMED, _SHOWN = 5, 80


class Counts(NamedTuple):
    """What the data came to. Token counts are those of the kept rows, each counted once."""

    n_examples: int
    """Read and encoded, over all sources."""
    n_skipped: int
    """Rows that could not be read or encoded (data.on_error: skip)."""
    n_repeats: int
    """Examples whose text an earlier one has; they are trained on unless data.dedup is set."""
    n_removed: int
    """Examples left out by data.dedup."""
    n_overlapping: int
    """Examples left out because an evalset holds them (data.overlap: drop)."""
    n_held_out: int
    n_untaken: int
    """Examples that the weight or share of their source leaves out."""
    n_rows: int
    n_dropped: int
    """Rows left out because they are too long (data.overflow: drop)."""
    n_tokens: int
    n_trained_tokens: int
    longest_tokens: int


class Prepared(NamedTuple):
    """Rows ready to train on, and what they were made with."""

    rows: Rows
    dropped: tuple[str, ...]
    """Sources of the rows left out because they are too long."""
    skipped: tuple[Skipped, ...]
    sources: tuple[SourceCounts, ...]
    repeats: ExactReport
    kinds: tuple[str, ...]
    """Instruction type of every example that was read."""
    overlap: OverlapReport
    kept: Sequence[int]
    """Examples of the table that are trained on, before weights and the length limit."""
    held_out: Sequence[int]
    """Examples of the table that are kept out of training."""
    counts: Counts
    data: str
    """Digest of what is trained on, in order."""
    contract: ChatContract
    template: str
    """Jinja source of the chat template."""
    findings: tuple[Finding, ...]
    """What to know of the template; none is an error."""
    base: BaseInfo
    base_dir: Path
    parent_dir: Path | None
    """Folder of the version that lora.init_from names."""
    n_steps: int

    @property
    def table(self) -> RowTable:
        """Everything that was read, chosen or not."""
        return self.rows.table

    def record(self) -> dict[str, Any]:
        """data.json: what became of every row; rows.jsonl beside it has the order."""
        return {
            "schema": 1,
            "data": self.data,
            "counts": self.counts._asdict(),
            "sources": [each._asdict() for each in self.sources],
            "skipped": [each._asdict() for each in self.skipped],
            "dropped": list(self.dropped),
            "held_out": [self.table.source(self.table.rows_of(i)[0]) for i in self.held_out],
        }


def prepare(
    loaded: LoadedRecipe,
    *,
    parent_dir: Path | None = None,
    items: Sequence[tuple[str, Item]] = (),
    observers: Sequence[Observer] = (),
    advance: Callable[[int], None] = lambda n: None,
) -> Prepared:
    """Read, encode, split, mix and measure everything the recipe trains on.

    `items` are what its evalsets hold, each with the evalset's name; `observers` see every
    example once. Raises DataError for a file or row that cannot be trained on or is held out,
    RecipeError for a base, template or length limit that cannot be used.
    """
    recipe = loaded.recipe
    directory = base_dir(recipe.base, loaded.root)
    require_processes(loaded)
    require_trackers(recipe.compute.report_to)
    require_lora(recipe.lora, directory)
    limit = _length_limit(recipe.data, max_context(recipe.base, directory))
    chat = load_chat(loaded, directory)
    contract = fingerprint(chat)
    near = NearDuplicates(recipe.data.seed)
    searched = (near,) if recipe.data.dedup == "near" else ()
    _require_fit(chat)
    corpus = gather(loaded, chat, observers=(*observers, *searched), advance=advance)
    findings = _require_fit(chat, corpus.has_system, corpus.has_reasoning)
    apart = hold_out(corpus, recipe.data)
    held = _compare(corpus.table, apart, items)
    parts = split(
        corpus,
        recipe.data,
        near=near.find(recipe.data.near).leader_of,
        overlapping=_overlapping(held, recipe.data),
        apart=apart,
    )
    chosen = mixture(corpus, recipe.data, parts.kept)
    places, dropped = fit(corpus.table, chosen, limit, recipe.data)
    rows = Rows(corpus.table, places)
    require_objective(recipe, *corpus.table.opinions(places))
    return Prepared(
        rows=rows,
        dropped=dropped,
        skipped=corpus.skipped,
        sources=_with_rows(corpus, places),
        repeats=corpus.repeats,
        kinds=tuple(corpus.kinds[code] for code in corpus.kind_of),
        overlap=held,
        kept=parts.kept,
        held_out=parts.held_out,
        counts=_count(corpus, parts, len(set(chosen)), rows, len(dropped)),
        data=rows.digest(),
        contract=contract,
        template=chat.template,
        findings=findings,
        base=base_info(recipe.base, directory),
        base_dir=directory,
        parent_dir=parent_dir,
        n_steps=count_steps(recipe.train, len(rows)),
    )


def _require_fit(
    chat: ChatTokenizer, has_system: bool = False, has_reasoning: bool = False
) -> tuple[Finding, ...]:
    """Warnings about the template for such data. Raises RecipeError for its first error."""
    found = lint(chat, has_system=has_system, has_reasoning=has_reasoning)
    if found and found[0].level == "error":
        raise RecipeError(f"chat.template: {found[0].what}", hint=found[0].hint)
    return tuple(found)


def _compare(
    table: RowTable, apart: Collection[int], items: Sequence[tuple[str, Item]]
) -> OverlapReport:
    """What the evalsets hold of the examples that are not held out. Raises DataError for any that
    they hold of a worklist's lines, held out or not."""
    overlap, leaks = Overlap(items), Leaks(items)
    for index in range(table.n_examples) if items else ():
        example = table.example(index)
        if example.worklist:
            leaks.add(example)
        if index not in apart:
            overlap.add(index, example)
    _require_no_leak(leaks)
    return overlap.result()


def _require_no_leak(leaks: Leaks) -> None:
    """Raises DataError whatever `data.overlap` says: who filled the line in has seen the item."""
    n_lines, shown = leaks.result()
    if n_lines:
        named = "; ".join(map(_leaked, shown[:_NAMED]))
        what = (
            "1 line of a worklist holds a held-out item"
            if n_lines == 1
            else (f"{n_lines:,} lines of worklists hold held-out items")
        )
        raise DataError(
            f"{what}, so the evaluation would measure memory: {named}",
            hint="write other examples of the same kind, with facts and words of their own; "
            "data.overlap is not for lines of a worklist",
        )


def _leaked(leak: Leak) -> str:
    return f"{leak.source} holds item {leak.item_id} of {leak.label}: {leak.how}"


def _overlapping(found: OverlapReport, data: Data) -> frozenset[int]:
    """Examples to leave out. Raises DataError for any under `data.overlap: error`."""
    if not found.examples or data.overlap == "warn":
        return frozenset()
    if data.overlap == "error":
        named = "; ".join(map(_told, found.shown[:_NAMED]))
        raise DataError(
            f"{found.n_equal + found.n_contained} held-out items are in the training data, so "
            f"the evaluation would measure memory: {named}",
            hint="set data.overlap to drop (the examples) or warn, or take the items out of the "
            "evalset",
        )
    return found.examples


def _told(match: Match) -> str:
    return f"{match.source} holds item {match.item_id} of {match.label}: {match.prompt[:_SHOWN]!r}"


def train_key(loaded: LoadedRecipe, prepared: Prepared) -> str:
    """Digest of all that determines the weights: equal key, equal adapter (on a CPU).

    Raises EnvironmentFault when a training package is not installed.
    """
    return digest(ingredients(loaded, prepared))


def ingredients(loaded: LoadedRecipe, prepared: Prepared) -> dict[str, Any]:
    """What determines the weights, by name; `train_key` is its digest."""
    recipe = loaded.recipe
    return {
        "name": recipe.name,
        "base": {
            "weights": prepared.base.weights,
            "dtype": recipe.base.dtype,
            "quantize": recipe.base.quantize,
        },
        "contract": prepared.contract.dump(),
        "data": prepared.data,
        "data_seed": recipe.data.seed,
        "lora": recipe.lora.model_dump(mode="json"),
        "train": recipe.train.model_dump(mode="json", exclude={"save_every"}),
        "packages": packages(),
    }


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


def _with_rows(corpus: Corpus, places: Sequence[int]) -> tuple[SourceCounts, ...]:
    n_rows = Counter(corpus.source_of[corpus.table.example_of(row)] for row in places)
    return tuple(each._replace(n_rows=n_rows[i]) for i, each in enumerate(corpus.sources))


def _count(corpus: Corpus, parts: Split, n_taken: int, rows: Rows, n_dropped: int) -> Counts:
    table, places = corpus.table, rows.places
    return Counts(
        n_examples=table.n_examples,
        n_skipped=len(corpus.skipped),
        n_repeats=corpus.repeats.n_repeats,
        n_removed=parts.n_repeats,
        n_overlapping=parts.n_overlapping,
        n_held_out=len(parts.held_out),
        n_untaken=len(parts.kept) - n_taken,
        n_rows=len(rows),
        n_dropped=n_dropped,
        n_tokens=sum(map(table.n_tokens, places)),
        n_trained_tokens=sum(map(table.n_trained, places)),
        longest_tokens=max(map(table.length, places)),
    )
