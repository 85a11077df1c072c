"""A checkup as a person reads it in a terminal: counts, tables, bars and tokens.

Pure: a record in, renderables out. Whatever comes from data is shown as text, never as markup.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from harness.checkup.inspect import Checkup, ShownRow
from harness.plan import plan_line
from harness.precision import shortfalls, told, with_retention
from harness.recipe import Gate
from harness.training.quality.overlap import Level
from harness.training.reading.example import Skipped
from harness.training.tokens import LEGEND, show, visible
from harness.types import Precision

_BAR = 24
_HEAD, _TAIL = 300, 100
"""Tokens shown of a long row."""
_KINDS = 20
"""Instruction types shown."""


def render(checkup: Checkup, *, whole: bool) -> Iterator[RenderableType]:
    """The page, from top to bottom. `whole`: no row is shortened."""
    plan = checkup.plan
    head = Text.assemble(
        (plan.recipe.name, "bold"), f"  {plan.recipe.train.objective} on {plan.recipe.base.model}"
    )
    yield head
    for part in (_sources, _facts, _defects, _warnings, _balance, _training):
        if found := part(checkup):
            yield found
            yield Text()
    for row in checkup.rows:
        yield _row(row, whole)
        yield Text()
    yield Text(LEGEND, "dim")


def brief(checkup: Checkup) -> Text:
    """One line, where nothing stops a round."""
    n_defects = sum(each.n for each in checkup.lints if each.severity == "defect")
    found = f"{n_defects:,} defects found" if n_defects else "no defects found"
    return Text(visible(f"✓ {plan_line(checkup.plan)}; {found}"))


def _sources(checkup: Checkup) -> Table:
    table = _table("source", "format", "shape", "role", ">read", ">skipped", ">rows")
    for each in checkup.plan.prepared.sources:
        table.add_row(
            Text(visible(each.path)), each.container, each.shape, each.role,
            f"{each.n_read:,}", f"{each.n_skipped:,}", f"{each.n_rows:,}",
        )  # fmt: skip
    return table


def _facts(checkup: Checkup) -> Table:
    prepared = checkup.plan.prepared
    counts, near, overlap = prepared.counts, checkup.near, prepared.overlap
    table = Table.grid(padding=(0, 2))
    left_out = [
        f"{n:,} {what}"
        for n, what in (
            (counts.n_dropped, "rows too long, dropped"),
            (counts.n_skipped, "rows skipped"),
            (counts.n_removed, "repeats removed"),
            (counts.n_overlapping, "removed because an evalset holds them"),
            (counts.n_held_out, "held out"),
            (counts.n_untaken, "not taken by the weight or share of their source"),
        )
        if n
    ]
    searched = "" if near.n_searched == near.n_examples else f" of {near.n_searched:,} searched"
    evalsets = " and ".join(
        each.label for each in (checkup.plan.evalset, checkup.plan.retention) if each
    )
    lines = {
        "rows": f"{counts.n_rows:,} from {counts.n_examples:,} examples; "
        f"{counts.n_tokens:,} tokens, {counts.n_trained_tokens:,} of them trained; "
        f"longest {counts.longest_tokens:,}",
        "left out": ", ".join(left_out) or "nothing",
        "skipped": _skipped(prepared.skipped),
        "repeats": f"{counts.n_repeats:,} exact; {near.n_repeats:,}{searched} share "
        f"{near.threshold:.0%} or more of their word 3-grams with an earlier one",
        "overlap": f"{overlap.n_equal} of {overlap.n_items} items of {evalsets} equal a training "
        f"prompt, {overlap.n_contained} are contained in one, {overlap.n_touching} share an 8-gram",
        "advice": checkup.advice,
    }
    for name, line in lines.items():
        if line:
            table.add_row(Text(name, "bold"), Text(visible(line)))
    return table


def _skipped(skipped: Sequence[Skipped]) -> str:
    """The first row that was skipped, with its reason."""
    if not skipped:
        return ""
    more = f"; {len(skipped) - 1:,} more in --json" if len(skipped) > 1 else ""
    return f"{skipped[0].source}: {skipped[0].reason}{more}"


def _defects(checkup: Checkup) -> RenderableType | None:
    found = [each for each in checkup.lints if each.n]
    if not found:
        return None
    table = _table("defect", ">n", ">share", "what", "for example")
    for each in sorted(found, key=lambda lint: (lint.severity, -lint.n)):
        style = "red" if each.severity == "defect" else "yellow"
        first = each.shown[0]
        place = first.source.rpartition("/")[2]
        example = Text(visible(f"{place}  {first.snippet}"), overflow="ellipsis", no_wrap=True)
        table.add_row(
            Text(each.id, style), f"{each.n:,}", f"{each.rate:.1%}", each.sentence, example
        )
    line = (
        f"{checkup.n_clean:,} of {checkup.plan.prepared.counts.n_examples:,} examples have none of "
        "the defects in red; --write-clean FILE writes those that are not left out"
    )
    return Group(table, Text(line, "dim"))


def _warnings(checkup: Checkup) -> RenderableType | None:
    lines = [f"chat template: {finding.what}; {finding.hint}" for finding in checkup.template]
    lines += checkup.diversity.warnings
    lines += _held_out_too(checkup)
    for found, gate in _foreseen(checkup):
        lines += shortfalls(found, gate)
    return Group(*(Text(visible(line), "yellow") for line in lines)) if lines else None


def _held_out_too(checkup: Checkup) -> list[str]:
    """Items that are in the training data and stay there, the worst first."""
    if checkup.plan.recipe.data.overlap != "warn":
        return []
    found = checkup.plan.prepared.overlap.shown
    return [
        f"overlap: {each.source} holds item {each.item_id} of {each.label}, so its score may "
        "measure memory"
        for each in found
        if each.level >= Level.CONTAINED
    ]


def _balance(checkup: Checkup) -> Table:
    table = _table("type", ">n", ">share", "")
    total = sum(checkup.kinds.values())
    for kind, n in islice(checkup.kinds.items(), _KINDS):
        bar = "█" * round(_BAR * n / total)
        table.add_row(Text(visible(kind)), f"{n:,}", f"{n / total:.0%}", Text(bar, "cyan"))
    if (n_more := len(checkup.kinds) - _KINDS) > 0:
        table.add_row(Text(f"… {n_more:,} more in --json", "dim"))
    return table


def _training(checkup: Checkup) -> Table:
    cost = checkup.cost
    table = Table.grid(padding=(0, 2))
    speed = (
        f"about {_time(cost.hours)} at the {cost.tokens_per_s:,.0f} tokens/s of the last training"
        if cost.hours is not None and cost.tokens_per_s is not None
        else "not known before a first training of this base here has measured tokens/s"
    )
    lines = {
        "training": f"{cost.n_steps:,} steps, {cost.n_visits:,} rows visited, "
        f"{cost.n_tokens:,} tokens",
        "LoRA": f"{cost.n_trainable:,} of {cost.n_parameters:,} parameters trained "
        f"({cost.trainable_share:.2%})",
        "memory": f"about {_size(cost.memory_gib)} a process",
        "time": speed + (f", price {cost.price:,.2f}" if cost.price is not None else ""),
        **{
            name: told(*each)
            for name, each in zip(("gate", "retention"), _foreseen(checkup), strict=False)
        },
    }
    for name, line in lines.items():
        table.add_row(Text(name, "bold"), Text(visible(line)))
    return table


def _foreseen(checkup: Checkup) -> list[tuple[Precision, Gate]]:
    """What each evalset can certify, with the gate that it is asked for."""
    gates = [plan.recipe.gate for plan in with_retention(checkup.plan)]
    return list(zip(checkup.precision, gates, strict=True))


def _time(hours: float) -> str:
    """In a unit that leaves one to three digits."""
    minutes = hours * 60
    if minutes < 2:
        return f"{max(1, round(minutes * 60))} s"
    return f"{minutes:.0f} min" if hours < 2 else f"{hours:,.1f} h"


def _size(gib: float) -> str:
    return f"{gib:.1f} GiB" if gib >= 1 else f"{gib * 1024:.0f} MiB"


def _row(row: ShownRow, whole: bool) -> Group:
    n_trained = sum(token.part != "prompt" for token in row.tokens)
    head = f"row {row.number}  {visible(row.source)}  {len(row.tokens)} tokens, {n_trained} trained"
    if whole or len(row.tokens) <= _HEAD + _TAIL:
        return Group(Text(head, "bold"), show(row.tokens))
    n_hidden = len(row.tokens) - _HEAD - _TAIL
    hidden = Text(f"… {n_hidden:,} tokens; --row {row.number} shows all …", "dim")
    return Group(Text(head, "bold"), show(row.tokens[:_HEAD]), hidden, show(row.tokens[-_TAIL:]))


def _table(*columns: str) -> Table:
    """A plain table; `>` before a name aligns the column to the right."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in columns:
        justify, name = ("right", name[1:]) if name.startswith(">") else ("left", name)
        table.add_column(name, justify=justify, overflow="fold")  # type: ignore[arg-type]
    return table
