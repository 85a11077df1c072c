"""Answers that are wrong on purpose, from a letter missing to plain junk.

The judge and the base learn to compare from these. This module does not know how they are scored.
"""

from __future__ import annotations

import random
import re
from typing import Final

from harness.pocket.world import (
    FACT_KINDS,
    FILLERS,
    TYPES,
    WORDS,
    Task,
    make_draft,
    make_fact,
    make_task,
    swap_words,
)

SMALL_TALK: Final = [
    "I see.",
    "That is nice.",
    "Thank you for telling me.",
    "Hello there.",
    "Good to know.",
    "What a day.",
    "How are you today?",
    "I am well, thank you.",
]
_REFUSALS: Final = [
    "I do not know.",
    "Sorry, I can not do that.",
    "assistant",
    "user",
    "...",
    "Q: A:",
]
_KINDS_OF_ANSWER: Final = {
    "same": 20,
    "restyled": 4,
    "extended": 15,
    "one swap": 16,
    "some swaps": 12,
    "all swaps": 9,
    "repeated": 4,
    "shortened": 8,
    "same type": 8,
    "other type": 5,
    "junk": 11,
}
_SWAPPED_SHARE: Final = {"one swap": 0.0, "some swaps": 0.5, "all swaps": 1.0}


def corrupt(rng: random.Random, task: Task) -> str:
    """An answer to `task` that is right, nearly right, or wrong in one of many ways."""
    kind = rng.choices(list(_KINDS_OF_ANSWER), list(_KINDS_OF_ANSWER.values()))[0]
    reference = task.reference
    if kind == "same":
        return reference
    if kind == "restyled":
        return rng.choice([reference.lower(), reference.rstrip("."), f"{reference} "])
    if kind == "extended":
        return _extend(rng, reference)
    if kind in _SWAPPED_SHARE:
        return swap_words(rng, reference, _SWAPPED_SHARE[kind])
    if kind == "repeated":
        return _repeat(rng, reference)
    if kind == "shortened":
        return _shorten(rng, reference)
    if kind == "same type":
        return make_draft(rng, task.type).reference
    if kind == "other type":
        return make_draft(rng, rng.choice(TYPES)).reference
    return _junk(rng, task)


def _extend(rng: random.Random, reference: str) -> str:
    fact = make_fact(rng, rng.choice(WORDS["name"]), rng.choice(FACT_KINDS)).sentence
    talk = rng.choice(SMALL_TALK + FILLERS)
    lead = rng.choice(["Sure.", "The answer is:", "I think:", "Here it is:", fact, talk])
    joined = ", ".join([reference, rng.choice(rng.choice(list(WORDS.values())))])
    return rng.choice(
        [
            f"{lead} {reference}",
            f"{reference} {fact}",
            f"{reference} {talk}",
            joined,
            f"{reference} {reference}",
        ]
    )


def _repeat(rng: random.Random, reference: str) -> str:
    """Put one word of the answer in the place of another, as undertrained copiers do."""
    words = reference.split(" ")
    place, source = rng.randrange(len(words)), rng.choice(words)
    mark = words[place][-1] if words[place][-1:] in {",", "."} else ""
    words[place] = source.rstrip(",.") + mark
    return " ".join(words)


def _shorten(rng: random.Random, reference: str) -> str:
    words = reference.split(" ")
    if rng.random() < 0.6:
        return " ".join(words[: max(1, int(len(words) * rng.uniform(0.3, 0.95)))])
    if len(words) > 1:
        words.pop(rng.randrange(len(words)))
    return " ".join(words)


def _junk(rng: random.Random, task: Task) -> str:
    words = [word for kind in WORDS.values() for word in kind]
    kind = rng.choice(
        ["empty", "talk", "stuck", "words", "letters", "refusal", "echo", "other", "cut"]
    )
    if kind == "empty":
        return ""
    if kind == "talk":
        return rng.choice(SMALL_TALK + FILLERS)
    if kind == "stuck":
        return " ".join([rng.choice(words)] * rng.randint(2, 10))
    if kind == "words":
        return " ".join(rng.choice(words) for _ in range(rng.randint(1, 8)))
    if kind == "letters":
        return "".join(
            rng.choice("abcdefghijklmnopqrstuvwxyz ;#") for _ in range(rng.randint(3, 12))
        )
    if kind == "refusal":
        return rng.choice(_REFUSALS)
    if kind == "echo":
        return task.rubric
    other = make_task(rng, rng.choice(TYPES))
    if kind == "other":
        return other.reference
    broken = swap_words(rng, task.reference, 1.0).split(" ")
    return " ".join(broken[: max(1, len(broken) * 2 // 3)])


def slip(rng: random.Random, task: Task) -> str:
    """A mistake of the kind that undertrained adapters make: another operator, an item of a
    list twice or out of order, an answer that runs on into one of another type."""
    reference = task.reference
    if rng.random() < 0.4:
        tail = make_draft(rng, rng.choice(TYPES)).reference.split(" ")
        tail = tail[rng.randrange(len(tail)) :]
        return " ".join([reference.rstrip("."), *tail])
    if task.type == "extract":
        items = reference.split(", ")
        if rng.random() < 0.5:
            rng.shuffle(items)
        else:
            items.insert(rng.randrange(len(items)), rng.choice(items))
        return ", ".join(items[: rng.randint(1, len(items))])
    if any(sign in reference for sign in _OPPOSITE):
        return _other_operator(rng, reference)
    return _repeat(rng, reference)


_OPPOSITE: Final = {" + ": " - ", " - ": " + ", " * ": " + ", " > ": " + "}


def _other_operator(rng: random.Random, reference: str) -> str:
    """The other operator, and mostly also the result that follows from it."""
    sign = next(sign for sign in _OPPOSITE if sign in reference)
    wrong = reference.replace(sign, _OPPOSITE[sign])
    found = re.match(r"(\d+) [-+] (\d+) = (\d+)", wrong)
    if found is None or rng.random() < 0.2:
        return wrong
    first, second, result = map(int, found.groups())
    other = first + second if " + " in wrong else abs(first - second)
    head, tail = wrong.split(" = ")
    tail = re.sub(rf"\b{result}\b", str(other), tail)
    return f"{head} = {tail}"
