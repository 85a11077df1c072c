"""What is asked about: the items that a candidate answered worse than its baseline, and the wrong
answers it gave, as the tokens it produced. Loads no model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from harness.blame.sequences import Predicted, answered
from harness.chat.template import ChatTokenizer
from harness.errors import ContractError, HarnessError, nearest
from harness.evaluation.turns import conversation
from harness.report.record import RoundRecord
from harness.types import Comparison, Generation, Item, Manifest, Pair, Target

MOST_ITEMS = 200
"""The worst so many of a run's regressed items are measured."""


class NothingRegressed(HarnessError):
    """There is no regression to blame rows for."""


class Wrong(NamedTuple):
    """An item that regressed, and the answer that it regressed with."""

    item: Item
    pair: Pair
    generation: Generation
    """Of several samples the one with the lowest score."""


def regressed(record: RoundRecord) -> list[Wrong]:
    """Items on which both sides have a score and the candidate's is lower: the worst first, at
    most `MOST_ITEMS`. Raises HarnessError where nothing was compared."""
    comparison = compared(record)
    items = {item.id: item for item in record.items}
    answers = _worst_answers(record, comparison.candidate)
    lower = [
        pair
        for pair in comparison.pairs
        if pair.difference < 0
        and pair.candidate is not None
        and pair.baseline is not None
        and pair.item_id in answers
    ]
    lower.sort(key=lambda pair: (pair.difference, pair.item_id))
    return [Wrong(items[p.item_id], p, answers[p.item_id]) for p in lower[:MOST_ITEMS]]


def require_regressed(record: RoundRecord) -> list[Wrong]:
    """`regressed`, or NothingRegressed."""
    found = regressed(record)
    if not found:
        comparison = compared(record)
        raise NothingRegressed(
            f"{record.run_id}: {comparison.candidate} answered none of the "
            f"{len(comparison.pairs)} items that were judged worse than {comparison.baseline}: "
            "there is no regression to blame rows for"
        )
    return found


def chosen(record: RoundRecord, item_ids: Sequence[str], slice_: str | None) -> tuple[str, ...]:
    """Ids of the regressed items that are named, or in a slice, or all. Raises HarnessError for an
    item or slice that is not there or did not regress."""
    wrong = require_regressed(record)
    ids = [each.item.id for each in wrong]
    if slice_ is not None:
        in_slice = _in_slice(record, slice_, wrong)
        ids = [each for each in ids if each in in_slice]
    for each in item_ids:
        if each not in ids:
            raise _not_asked(record, each, ids)
    return tuple(dict.fromkeys(item_ids)) if item_ids else tuple(ids)


def encoded(
    wrong: Wrong, record: RoundRecord, manifest: Manifest, chat: ChatTokenizer
) -> Predicted:
    """The item's prompt as it was asked, and of the answer every token, with its stop token where
    the answer ended by itself. `chat` renders as the candidate's contract.

    Raises ContractError where the prompt has not as many tokens as the one that was answered.
    """
    target = Target(role="candidate", model=manifest.version, system=record.recipe.eval.system)
    generation = wrong.generation
    prompt = chat.prompt_ids(conversation(wrong.item, target, generation.earlier))
    if len(prompt) != generation.n_prompt_tokens:
        raise ContractError(
            f"item {wrong.item.id}: its prompt has {len(prompt)} tokens, and the one that "
            f"{manifest.version} answered had {generation.n_prompt_tokens}",
            hint="the run's records or the base's tokenizer were changed: run the round again",
        )
    answer = chat.encode(generation.text)
    if generation.state == "ok":
        answer = (*answer, _stop(manifest))
    return answered(prompt, answer)


def _stop(manifest: Manifest) -> int:
    """The token that trained answers end with; a contract can have several."""
    ends = [probe.completion_ids[-1] for probe in manifest.probes if probe.completion_ids]
    return next((each for each in ends if each in manifest.contract.stop_ids), _first(manifest))


def _first(manifest: Manifest) -> int:
    return manifest.contract.stop_ids[0]


def compared(record: RoundRecord) -> Comparison:
    """Raises HarnessError where the run came to no scores."""
    if record.comparison is None:
        raise HarnessError(
            f"{record.run_id}: its evidence failed before anything was compared",
            hint="mend what its report names, then run the round again",
        )
    return record.comparison


def _worst_answers(record: RoundRecord, candidate: str) -> dict[str, Generation]:
    """Item id → the candidate's answer with the lowest score; answers without words that count
    are left out."""
    scores = {
        (each.item_id, each.sample): each.score
        for each in record.verdicts
        if each.role == "candidate" and each.score is not None
    }
    found: dict[str, Generation] = {}
    for each in record.generations:
        key = (each.item_id, each.sample)
        if each.role != "candidate" or each.model != candidate or key not in scores:
            continue
        if each.state == "failed" or (each.state == "truncated" and not each.text):
            continue
        kept = found.get(each.item_id)
        if kept is None or scores[key] < scores[kept.item_id, kept.sample]:
            found[each.item_id] = each
    return found


def _in_slice(record: RoundRecord, name: str, wrong: Iterable[Wrong]) -> set[str]:
    comparison = compared(record)
    names = [each.name for each in comparison.slices]
    if name not in names:
        raise HarnessError(
            f"--slice {name!r}: the run has no such slice: {nearest(name, names)}",
            hint="slices are the values of gate.slices.by, or leave --slice out",
        )
    found = {each.item.id for each in wrong if each.pair.slice == name}
    if not found:
        raise NothingRegressed(
            f"{record.run_id}: no item of slice {name!r} was answered worse than by the baseline: "
            "there is no regression to blame rows for"
        )
    return found


def _not_asked(record: RoundRecord, item_id: str, ids: Sequence[str]) -> HarnessError:
    """Why an item is none of those that can be asked about."""
    pairs = {pair.item_id: pair for pair in compared(record).pairs}
    known = [item.id for item in record.items]
    if item_id not in known:
        return HarnessError(
            f"--item {item_id!r}: the run has no such item: {nearest(item_id, ids)}",
            hint="accepted are the items that regressed",
        )
    pair = pairs.get(item_id)
    if pair is None or pair.candidate is None or pair.baseline is None:
        why = "it was not judged on both sides"
    elif pair.difference >= 0:
        why = f"it did not regress: {pair.candidate:g}, the baseline's {pair.baseline:g}"
    else:
        why = f"it is not in --slice, or not among the {MOST_ITEMS} worst"
    return HarnessError(
        f"--item {item_id}: {why}", hint="harness blame RUN without --item asks about all"
    )
