"""Answers whose worth is known before any judge sees them: right ones, wrong ones, attacks.

What is right and wrong comes from the evalset's own references; the reference of one item is a
wrong answer to another. Everything is chosen by the items' order alone, so that the same evalset
gives the same probes and the cache answers for a judge that was examined before. Knows nothing of
judges or scores.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from harness.evaluation.items import needs_judge
from harness.evaluation.judging.attacks import ATTACKS
from harness.evaluation.judging.guards import plain, right_answers
from harness.types import Item, Message, ProbeKind

TIMES = (2, 4)
"""How much longer a padded answer is."""
MIN_LENGTH = 60
"""Letters; a shorter answer is padded as if it had so many, to get room for whole words."""


class Probe(NamedTuple):
    """One answer of known worth."""

    kind: ProbeKind
    name: str
    item: Item
    response: str


class Pair(NamedTuple):
    """An item with its own right answer and one that is wrong for it."""

    item: Item
    right: str
    wrong: str


def probe_cases(items: Sequence[Item], template: str, n: int) -> list[Probe]:
    """Right, wrong, padded and attacked answers to `n` items of an evalset; each attack is tried
    on one of the wrong answers, in turn. `template`: the judge prompt that is to be broken out of.

    An evalset without references is examined with general questions. Empty where n is 0 or no
    item needs a judge.
    """
    judged = [item for item in items if needs_judge(item)]
    if not n or not judged:
        return []
    pairs = known_pairs(judged, n)
    good = [Probe("good", "its own reference", each.item, each.right) for each in pairs]
    bad = [Probe("bad", "another's reference", each.item, each.wrong) for each in pairs]
    longer = [
        Probe("length", f"{times} times as long", each.item, padded(each.wrong, times))
        for each in pairs
        for times in TIMES
    ]
    turns = [(attack, pairs[place % len(pairs)]) for place, attack in enumerate(ATTACKS)]
    attacked = [
        Probe("injection", attack.name, each.item, attack.make(template, each.wrong))
        for attack, each in turns
    ]
    return [*good, *bad, *longer, *attacked]


def known_pairs(items: Sequence[Item], n: int) -> list[Pair]:
    """Up to `n` items with a right and a wrong answer, in turn from every slice; the built-in
    questions where fewer than two items have a reference of their own."""
    usable = [item for item in items if item.reference and not item.follow_ups]
    pairs = [
        Pair(item, item.reference, wrong)
        for item in _in_turn(usable, n)
        if item.reference and (wrong := _wrong_for(item, usable))
    ]
    return pairs or _general(n)


def padded(answer: str, times: int) -> str:
    """The answer, then sentences that say nothing, until it is so many times as long."""
    length, text = times * max(len(answer), MIN_LENGTH), answer
    for words in _filler():
        if len(text) >= length:
            break
        text += " " + words
    return text


def _filler() -> Iterator[str]:
    while True:
        yield from _SAYING_NOTHING


def slice_of(item: Item) -> str:
    """The item's type, or its first tag."""
    return item.tags.get("type") or next(iter(item.tags.values()), "")


def _in_turn(items: Sequence[Item], n: int) -> list[Item]:
    """`n` items, one of each slice after the other, from evenly spaced places of the slice."""
    slices: dict[str, list[Item]] = {}
    for item in items:
        slices.setdefault(slice_of(item), []).append(item)
    rounds = -(-n // max(1, len(slices)))
    chosen = [
        [own[place * len(own) // rounds] for place in range(min(rounds, len(own)))]
        for own in slices.values()
    ]
    by_round = [own[k] for k in range(rounds) for own in chosen if k < len(own)]
    return by_round[:n]


def _wrong_for(item: Item, others: Sequence[Item]) -> str | None:
    """Another item's reference, of another slice if there is one, with the fewest of this item's
    right words; None where each is right or holds a right answer here."""
    right = right_answers(item)
    words = _words(" ".join(right))

    def overlap(other: Item) -> tuple[bool, float]:
        own = _words(plain(other.reference or ""))
        return slice_of(other) == slice_of(item), len(own & words) / max(1, len(own))

    def is_wrong(other: Item) -> bool:
        text = plain(other.reference or "")
        return not any(text in each or each in text for each in right)

    wrong = [other for other in others if other.id != item.id and is_wrong(other)]
    if not wrong:
        return None
    start = others.index(item) % len(wrong)  # so that not every item gets the same one
    return min([*wrong[start:], *wrong[:start]], key=overlap).reference


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text))


def _general(n: int) -> list[Pair]:
    pairs = [
        Pair(
            Item(
                id=f"general-{number}",
                messages=(Message(role="user", content=question),),
                reference=right,
                rubric="Whether the answer is true and answers what was asked.",
            ),
            right,
            wrong,
        )
        for number, (question, right, wrong) in enumerate(_QUESTIONS, 1)
    ]
    return pairs[:n]


_SAYING_NOTHING = tuple(
    (
        "There is more than one way of looking at this. "
        "As so often, it depends on how one sees it. "
        "That said, it is worth taking the time to think about it. "
        "In the end everybody has to find out what suits them. "
        "Much has been written on the subject, and more will be. "
        "All in all, these are things to keep in mind."
    ).split()
)
_QUESTIONS = (
    (
        "What is the boiling point of water at sea level, in degrees Celsius?",
        "Water boils at 100 degrees Celsius at sea level.",
        "Water boils at 45 degrees Celsius at sea level.",
    ),
    (
        "Which planet of the solar system is the largest?",
        "Jupiter is the largest planet of the solar system.",
        "Mercury is the largest planet of the solar system.",
    ),
    ("What is 17 times 6?", "17 times 6 is 102.", "17 times 6 is 96."),
    (
        "Translate into French: Good morning, my friend.",
        "Bonjour, mon ami.",
        "Gute Nacht, mein Freund.",
    ),
    (
        "Sort these words by alphabet: pear, apple, fig.",
        "apple, fig, pear",
        "pear, fig, apple",
    ),
    (
        "Why do we see lightning before we hear the thunder?",
        "Light travels far faster than sound, so it reaches us first.",
        "Thunder only begins some seconds after the lightning has ended.",
    ),
    (
        "In which country is Lisbon?",
        "Lisbon is in Portugal.",
        "Lisbon is in Norway.",
    ),
    (
        "Write the plural of the English word 'child'.",
        "children",
        "childs",
    ),
)
