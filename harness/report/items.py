"""Every item of a round as plain data for the page's own script: what was asked, what each side
answered and why it got its score, and which way the item flipped.

Texts stand once, in a table that items name by place; each is cut where all of them together would
make the page too heavy, and what is left out is counted. All words are made visible here, so the
script may show them as they are. Knows nothing of markup or of what is shown first.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal

from harness.report import view
from harness.report.answers import standing
from harness.report.record import RoundRecord
from harness.report.wording import clipped, neutral, visible
from harness.types import Comparison, Generation, Item, Message, Opinion, Pair, Verdict, side_of

Flip = Literal["lost", "dropped", "tied", "identical", "rose", "gained", "unscored", "unjudged"]
FLIPS: Final[dict[Flip, str]] = {
    "lost": "Lost",
    "dropped": "Dropped",
    "unscored": "No score",
    "tied": "Tied",
    "identical": "Same text",
    "rose": "Rose",
    "gained": "Gained",
    "unjudged": "Not judged",
}
"""From worst to best, as they are shown."""
LIMITS: Final = (20_000, 10_000, 5_000, 3_000, 2_000, 1_000)
"""Characters of one text: the most that keeps all texts of the page within `MOST`, or the last."""
MOST: Final = 32_000_000
"""Characters. A phone reads and searches that many in about a second."""
_TIED: Final = 0.005
"""Points: what is shown as no difference is none."""
_COMPARED: Final = ("baseline", "candidate")

_Entry = dict[str, Any]
_Given = Mapping[tuple[str, str], Sequence[tuple[Generation, Verdict | None]]]
"""(item id, side) → its answers in the order of samples."""


def listing(record: RoundRecord) -> dict[str, Any]:
    """The round's items with all they have, in the order of the evalset."""
    texts, given = _Texts(), _given(record)
    paired = {pair.item_id: pair for pair in view.pairs(record)}
    names = _sides(record)
    items = [
        _item(item, paired.get(item.id), names, given, record.comparison, texts)
        for item in record.items
    ]
    comparison = record.comparison
    return {
        "sides": [[neutral(name), neutral(name).capitalize()] for name in names],
        "slice_by": neutral(comparison.slice_by) if comparison and comparison.slice_by else None,
        "flips": FLIPS,
        "items": items,
        **texts.table(),
    }


def tally(items: Iterable[_Entry]) -> dict[Flip, int]:
    """How many items of a listing went each way, from worst to best; an item that lost for want of
    a score counts twice."""
    counts = Counter(flip for item in items for flip in item["flips"])
    return {flip: counts[flip] for flip in FLIPS if counts[flip]}


def flips(pair: Pair | None, pass_at: int) -> list[Flip]:
    """Which way an item went, as the comparison counts it; the first decides where it may be one
    alone."""
    if pair is None:
        return ["unjudged"]
    is_scored = None not in (pair.candidate, pair.baseline)
    without: list[Flip] = [] if is_scored else ["unscored"]
    if pair.identical:
        return ["identical", *without]
    before = view.passes(pair.baseline_scores or (pair.baseline,), pass_at)
    after = view.passes(pair.candidate_scores or (pair.candidate,), pass_at)
    if before and not after:
        return ["lost", *without]
    if not is_scored:
        return without
    if after and not before:
        return ["gained"]
    if abs(pair.difference) < _TIED:
        return ["tied"]
    return ["dropped" if pair.difference < 0 else "rose"]


class _Texts:
    """Texts by place, each only once."""

    def __init__(self) -> None:
        self._places: dict[str, int] = {}

    def place(self, text: str) -> int:
        return self._places.setdefault(text, len(self._places))

    def table(self) -> dict[str, Any]:
        """`texts`; `limit`, of their characters; `cut`: place → how many more there are."""
        lengths = [len(text) for text in self._places]
        fitting = (each for each in LIMITS if sum(min(each, n) for n in lengths) <= MOST)
        limit = next(fitting, LIMITS[-1])
        shown = [clipped(text, limit) for text in self._places]
        return {
            "texts": [visible(text) for text, _ in shown],
            "limit": limit,
            "cut": {place: n for place, (_, n) in enumerate(shown) if n},
        }


def _given(record: RoundRecord) -> _Given:
    verdicts = {(each.item_id, side_of(each), each.sample): each for each in record.verdicts}
    found = defaultdict[tuple[str, str], list[tuple[Generation, Verdict | None]]](list)
    for each in sorted(record.generations, key=lambda generation: generation.sample):
        key = (each.item_id, side_of(each))
        found[key].append((each, verdicts.get((*key, each.sample))))
    return found


def _sides(record: RoundRecord) -> list[str]:
    """The compared ones first, then all others that answered."""
    found = dict.fromkeys(map(side_of, record.generations))
    return list(dict.fromkeys([*_COMPARED, *(["base"] if "base" in found else []), *found]))


def _item(
    item: Item,
    pair: Pair | None,
    names: Sequence[str],
    given: _Given,
    comparison: Comparison | None,
    texts: _Texts,
) -> _Entry:
    by = comparison.slice_by if comparison else None
    slice_name = item.tags.get(by) if by else None
    wanted = [item.reference] if item.reference is not None else []
    return _told(
        id=neutral(item.id),
        slice=neutral(slice_name) if slice_name is not None else None,
        tags={neutral(key): neutral(value) for key, value in item.tags.items()},
        cluster=neutral(item.cluster) if item.cluster is not None else None,
        asked=[turn for message in item.messages for turn in _turns(message, texts)],
        then=[texts.place(text) for text in item.follow_ups],
        wanted=[texts.place(text) for text in (*wanted, *item.references)],
        rubric=None if item.rubric is None else texts.place(item.rubric),
        difference=pair.difference if pair else None,
        flips=flips(pair, comparison.pass_at if comparison else 0),
        sides=[_answer(given.get((item.id, name), ()), name, pair, texts) for name in names],
    )


def _turns(message: Message, texts: _Texts) -> Iterator[tuple[str, int]]:
    """(who speaks, what), thoughts and calls of functions apart from the words."""
    who = message.role + (f" {neutral(message.name)}" if message.name else "")
    if message.reasoning:
        yield f"{who}, thinking", texts.place(message.reasoning)
    if message.content or not message.tool_calls:
        yield who, texts.place(message.content)
    for call in message.tool_calls:
        arguments = json.dumps(call.arguments, ensure_ascii=False)
        yield f"{who}, calling", texts.place(f"{call.name}({arguments})")


def _answer(
    given: Sequence[tuple[Generation, Verdict | None]], side: str, pair: Pair | None, texts: _Texts
) -> _Entry:
    """A side of one item: its score, and each sample with the one first that stands for it."""
    scores = [verdict.score if verdict else None for _, verdict in given]
    if pair is not None and side in (*_COMPARED, "base"):
        score = getattr(pair, side)
    else:
        found = [each for each in scores if each is not None]
        score = sum(found) / len(found) if found and len(found) == len(scores) else None
    samples = [_sample(generation, verdict, texts) for generation, verdict in given]
    shown = standing(scores, score) if samples else 0
    return _told(score=score, shown=shown or None, samples=samples)


def _sample(answered: Generation, verdict: Verdict | None, texts: _Texts) -> _Entry:
    reason = answered.error or (verdict.reason if verdict else None)
    return _told(
        state=answered.state,
        text=texts.place(answered.text),
        earlier=[texts.place(text) for text in answered.earlier],
        score=verdict.score if verdict else None,
        expected=verdict.expected if verdict else None,
        by=verdict.by if verdict else None,
        reason=texts.place(reason) if reason else None,
        checks=[
            (neutral(each.kind), each.state, texts.place(each.note))
            for each in (verdict.checks if verdict else ())
        ],
        opinions=[_opinion(each, texts) for each in (verdict.opinions if verdict else ())],
        tokens=(answered.n_prompt_tokens, answered.n_tokens),
        seconds=answered.duration_s,
    )


def _opinion(opinion: Opinion, texts: _Texts) -> _Entry:
    return _told(
        judge=neutral(opinion.judge),
        repeat=opinion.repeat or None,
        score=opinion.score,
        expected=opinion.expected,
        reason=texts.place(opinion.reason),
    )


def _told(**values: object) -> _Entry:
    """What there is to tell."""
    return {key: value for key, value in values.items() if value not in (None, [], {}, ())}
