"""Candidate against baseline, item by item: generations and verdicts in, one comparison out.

Pure: no clock and no randomness, pairs in the evalset's order, floats of 12 significant digits, so
the same records give the same bytes. Knows nothing of margins, thresholds or what passes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from harness.errors import DataError
from harness.recipe import Gate
from harness.release.breakdown import length_adjusted, spread
from harness.release.pairing import Paired, cluster_by, pair_up
from harness.release.summary import Terms, side, summarise, with_holm
from harness.types import Comparison, Generation, HumanDifference, Item, Look, Verdict, side_of

OVERALL = "overall"
"""The name of the comparison on all items."""


def compare(
    items: Sequence[Item],
    generations: Iterable[Generation],
    verdicts: Iterable[Verdict],
    *,
    candidate: str,
    baseline: str,
    evalset: str,
    judge: str,
    gate: Gate,
    calibration: Iterable[HumanDifference] = (),
    look: Look | None = None,
    planned: Mapping[str, int] | None = None,
) -> Comparison:
    """Pair the two sides by item id and summarise them, on all items and per slice.

    `items` are those judged, all or the part that a `look` takes in; `planned` is how many items
    each slice of the whole evalset has, by which a slice is guarded (None: as many as there are).
    A missing or unscored answer stays in: it counts as the worst case for the candidate. Identical
    texts count as a difference of 0; several samples are averaged within their item. Raises
    DataError for records that are not of these items, or that answer an item twice.
    """
    generations = tuple(generations)
    others = tuple(dict.fromkeys(side_of(each) for each in generations if each.role == "other"))
    paired = pair_up(items, generations, tuple(verdicts), others, gate)
    terms = Terms(
        pass_at=gate.pass_at,
        tail=look.tail if look else gate.alpha,
        at_look=look is not None,
        cluster_by=cluster_by(items, gate),
        has_base=any(each.role == "base" for each in generations),
    )
    named = _by_slice(paired)
    sizes = {name: len(part) for name, part in named.items()} | dict(planned or {})
    return Comparison(
        candidate=candidate,
        baseline=baseline,
        evalset=evalset,
        judge=judge,
        slice_by=gate.slices.by,
        pass_at=gate.pass_at,
        alpha=gate.alpha,
        overall=summarise(OVERALL, paired, terms, guarded=True),
        slices=with_holm(
            [
                summarise(name, named[name], terms, guarded=sizes[name] >= gate.slices.min_n)
                for name in sorted(named)
            ]
        ),
        pairs=tuple(each.pair for each in paired),
        calibration=_in_order(items, calibration),
        others={name: side(paired, name, terms) for name in others},
        look=look,
        cluster_by=terms.cluster_by,
        length=length_adjusted(paired, terms.tail, terms.cluster_by),
        spread=spread(paired),
    )


def planned_sizes(items: Sequence[Item], gate: Gate) -> dict[str, int]:
    """Slice → its items in the whole evalset."""
    tags = (item.tags.get(gate.slices.by) for item in items if gate.slices.by)
    return dict(Counter(tag for tag in tags if tag is not None))


def _by_slice(paired: Sequence[Paired]) -> dict[str, list[Paired]]:
    named: dict[str, list[Paired]] = {}
    for each in paired:
        if each.pair.slice is not None:
            named.setdefault(each.pair.slice, []).append(each)
    return named


def _in_order(
    items: Sequence[Item], calibration: Iterable[HumanDifference]
) -> tuple[HumanDifference, ...]:
    found = {each.item_id: each for each in calibration}
    ordered = tuple(found.pop(item.id) for item in items if item.id in found)
    if found:
        raise DataError(f"label of item {next(iter(found))}: no such item in the evalset")
    return ordered
