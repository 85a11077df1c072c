"""Plain text of the pocket world for pretraining: random facts, then what follows from them.

Every document marks the spans which a reader could predict from the text before them; the
training loss is put mainly there. No document pairs an instruction with its answer: the base
that reads these does not follow instructions yet. This module knows no tokens and no models.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from typing import Final

from harness.pocket.corruption import SMALL_TALK, corrupt
from harness.pocket.oracle import compare, judge_answer
from harness.pocket.world import (
    FACT_KINDS,
    FILLERS,
    PLURAL,
    TYPES,
    WORDS,
    make_draft,
    make_fact,
    make_facts,
    make_task,
    words_of_kind,
)

IM_START: Final = "<|im_start|>"
IM_END: Final = "<|im_end|>"
_OPEN, _CLOSE = "\x01", "\x02"
_ALL_WORDS: Final = [word for words in WORDS.values() for word in words]
_DRILLED_QUARTER: Final = 0.25
_DRILL_SHARE: Final = 0.7


def _sure(text: str) -> str:
    return f"{_OPEN}{text}{_CLOSE}"


def _copy(rng: random.Random) -> str:
    words = [rng.choice(_ALL_WORDS) for _ in range(rng.randint(2, 10))]
    text = rng.choice([" ", ", "]).join(words)
    return rng.choice(
        [
            f"Copy: {text}\nAgain: {_sure(text)}",
            f"{text} / {_sure(text)}",
            f"Words: {text}\nThe words: {_sure(text)}",
        ]
    )


def _copy_text(rng: random.Random) -> str:
    text = make_draft(rng, rng.choice(TYPES)).reference
    return f"Copy: {text}\nAgain: {_sure(text)}"


def _lookup(rng: random.Random) -> str:
    """Pairs, then questions in both directions: the shortest exercise in finding by content."""
    count = rng.randint(2, 5)
    pairs = list(
        zip(
            rng.sample(WORDS["name"], count),
            rng.sample(WORDS[rng.choice(["town", "food", "job", "animal"])], count),
            strict=True,
        )
    )
    asked = [rng.choice([pair, pair[::-1]]) for pair in rng.choices(pairs, k=rng.randint(3, 6))]
    told = ", ".join(f"{name} {word}" for name, word in pairs)
    return f"{told}. " + " ".join(f"{key}? {_sure(value)}." for key, value in asked)


def _notes(rng: random.Random) -> str:
    """Notes with several questions, forward and reverse."""
    facts = make_facts(rng, rng.randint(2, 4))
    text = " ".join(fact.sentence for fact in facts)
    asked = rng.choices(facts, k=rng.randint(2, 4))
    questions = [rng.choice([f.forward, f.reverse]) for f in asked]
    pattern = rng.choice(["\nQ: {q}\nA: {a}", "\n{q} {a}", " {q}\nIndeed: {a}"])
    if rng.random() < 0.25:
        return f"{questions[0]}\n{text}\nIndeed: {_sure(asked[0].sentence)}"
    pairs = zip(questions, asked, strict=True)
    return f"Notes. {text}" + "".join(pattern.format(q=q, a=_sure(f.sentence)) for q, f in pairs)


def _index(rng: random.Random) -> str:
    """A text with several lists of the words in it."""
    facts = make_facts(rng, rng.randint(2, 4), rng.choice([None, *FACT_KINDS]))
    if rng.random() < 0.5:
        facts.insert(rng.randint(0, len(facts)), make_facts(rng, 1)[0])
    text = " ".join(fact.sentence for fact in facts)
    found = {kind: words_of_kind(facts, kind) for kind in PLURAL}
    lists = [(PLURAL[kind], ", ".join(words)) for kind, words in found.items() if words]
    rng.shuffle(lists)
    pattern = rng.choice(["\n{what}: {a}", " The {what} are {a}.", "\nIndex of {what}: {a}"])
    if rng.random() < 0.25:
        what, words = lists[0]
        return f"{what} in {text}\n{_sure(words)}"
    return text + "".join(pattern.format(what=w, a=_sure(a)) for w, a in lists[: rng.randint(2, 4)])


_ABILITY_FORMS: Final[dict[str, list[str]]] = {
    "qa": ["{text}\nQ: {question}\nA: {a}", "{question}\n{text}\nIndeed: {a}"],
    "summarise": ["{text}\nIn short: {a}", "Long: {text}\nShort: {a}", "{text} That is, {a}"],
    "classify": ["Review: {text}\nMood: {a}", "{text} ({a})", "{text} A {a} view."],
    "extract": ["{text}\n{what}: {a}", "{text} The {what} are {a}", "{what} in {text}\n{a}"],
    "generate": ["Words: {words}\nText: {a}", "{words} / {a}", "Keywords {words}\n{a}"],
    "reason": ["{text} {question}\nWorking: {a}", "{question} {text}\n{a}"],
    "code": ["# {spec}\n{a}", '"""{spec}"""\n{a}', "Code to {spec}:\n{a}"],
}


def _abilities(rng: random.Random) -> str:
    """One to three solved tasks of one type, in the form of a document."""
    task_type = rng.choice(["summarise", "classify", "generate", "reason", "code", "extract", "qa"])
    form = rng.choice(_ABILITY_FORMS[task_type])
    drafts = [make_draft(rng, task_type) for _ in range(rng.randint(1, 3))]
    return "\n".join(form.format(a=_sure(d.reference), **d.fields) for d in drafts)


def _sums(rng: random.Random) -> str:
    lines = []
    for _ in range(rng.randint(1, 3)):
        b, a = sorted((rng.randint(0, 20), rng.randint(0, 20)))
        lines += [f"{a} + {b} = {_sure(str(a + b))}", f"{a} - {b} = {_sure(str(a - b))}"]
        lines += [f"{b} + {a} = {_sure(str(a + b))}", f"{a} {_sure('>' if a > b else '=')} {b}"]
    return "\n".join(rng.sample(lines, len(lines)))


def _comparison(rng: random.Random) -> str:
    """Two texts compared word by word, as the judge does it."""
    task = make_task(rng, rng.choice(TYPES))
    response = corrupt(rng, task)
    found = compare(task.type, task.rubric, task.reference, response)
    form = rng.choice(
        [
            "Asked: {asked}\nKey: {key}\nGiven: {given}\n{a}",
            "Asked: {asked}\nKey: {key}\nGiven: {given}\nCheck: {a}",
            "{asked}\nFirst: {key}\nSecond: {given}\nCompared: {a}",
        ]
    )
    answer = _sure(judge_answer(found))
    return form.format(asked=task.rubric, key=task.reference, given=response, a=answer)


def _story(rng: random.Random) -> str:
    sentences = []
    for _ in range(rng.randint(3, 6)):
        fact = make_fact(rng, rng.choice(WORDS["name"]), rng.choice(FACT_KINDS)).sentence
        review = make_draft(rng, "classify").fields["text"]
        sentences.append(rng.choices([fact, review, rng.choice(FILLERS)], [6, 2, 2])[0])
    return rng.choice(["", "A story: ", "Today: "]) + " ".join(sentences)


def _chat(rng: random.Random) -> str:
    """Small talk in the shape of a chat: the format without the following of instructions."""
    turns = []
    for _ in range(rng.randint(1, 2)):
        said = rng.choice([rng.choice(SMALL_TALK), make_draft(rng, "qa").fields["text"]])
        reply = rng.choice(SMALL_TALK)
        turns.append(f"{IM_START}user\n{said}{IM_END}\n{IM_START}assistant\n{reply}{IM_END}\n")
    return "".join(turns)


def _word_list(rng: random.Random) -> str:
    kind = rng.choice(list(PLURAL))
    return f"Some {PLURAL[kind]}: " + ", ".join(rng.sample(WORDS[kind], 4))


_MIX: Final[list[tuple[Callable[[random.Random], str], float]]] = [
    (_comparison, 0.42),
    (_notes, 0.13),
    (_index, 0.10),
    (_abilities, 0.17),
    (_lookup, 0.04),
    (_sums, 0.03),
    (_copy_text, 0.03),
    (_story, 0.02),
    (_chat, 0.05),
    (_word_list, 0.01),
]


def make_document(rng: random.Random, done: float = 1.0) -> tuple[str, list[tuple[int, int]]]:
    """One document and its predictable spans, for a training that is `done` (0 to 1) complete.

    Copying drills dominate at first and fade out over the first quarter: without them copying
    from the context, on which everything else rests, appears late or not at all.
    """
    drilled = max(0.0, _DRILL_SHARE * (1 - done / _DRILLED_QUARTER))
    if rng.random() < drilled:
        return _strip_marks(rng.choice([_copy, _copy, _lookup])(rng))
    makers, shares = zip(*_MIX, strict=True)
    return _strip_marks(rng.choices(makers, shares)[0](rng))


def _strip_marks(marked: str) -> tuple[str, list[tuple[int, int]]]:
    text, spans, start = "", [], 0
    for part in re.split(f"([{_OPEN}{_CLOSE}])", marked):
        if part == _OPEN:
            start = len(text)
        elif part == _CLOSE:
            spans.append((start, len(text)))
        else:
            text += part
    return text, spans
