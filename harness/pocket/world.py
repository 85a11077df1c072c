"""The pocket world: a closed little English of people, pets, towns, food, jobs, sums and toy code.

A `Task` is one thing to ask, with its one right answer. Everything here is a pure function of the
`random.Random` passed in. This module does not know about chats, judges, scores or models.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

WORDS: Final[dict[str, list[str]]] = {
    "name": (
        "Alma Anton Bela Britta Bruno Clara Cyril Dana Dario Elin Emil Fara Felix Fritz Greta Gwen"
        " Hanna Hugo Ines Ivan Jara Jonas Judit Karl Kira Lena Leo Lotte Mara Marek Mina Nadia Nia"
        " Nils Nora Olga Oskar Otto Pavel Petra Quinn Ralf Rosa Sara Sven Tara Tilda Timo Uma Vera"
        " Viktor Wanda Willem Xenia Yara Yusuf Zeno Zora"
    ).split(),
    "animal": (
        "cat dog hen cow horse goat duck fox frog rabbit mouse pony sheep goose parrot turtle"
        " lizard hamster donkey pigeon"
    ).split(),
    "colour": "green red blue white black brown grey yellow pink purple golden silver".split(),
    "town": (
        "Oslo Paris Rome Lisbon Vienna Berlin Prague Dublin Madrid Athens Riga Turin Lyon Porto"
        " Bergen Krakow Ghent Bonn Cork Tartu Basel Graz"
    ).split(),
    "food": (
        "soup bread cheese rice pasta honey cake salad fish beans curry jam pie noodles"
    ).split(),
    "job": (
        "baker doctor teacher farmer painter pilot sailor tailor singer lawyer nurse driver cook"
        " writer miner dancer"
    ).split(),
    "thing": "books coins stamps stones boxes cups keys shells pens hats bags cards".split(),
    "good": "lovely great tasty superb charming pleasant bright wonderful".split(),
    "bad": "awful rude bland terrible dirty nasty gloomy boring".split(),
    "plain": "round wooden square metal usual local flat tall".split(),
    "mood": "positive negative mixed neutral".split(),
    "function": "calc step shift".split(),
}
KIND_OF: Final[dict[str, str]] = {word: kind for kind, words in WORDS.items() for word in words}
PLACES: Final = "room food staff garden music view street door table museum".split()
FILLERS: Final = [
    "The day was long.",
    "It rained all morning.",
    "The street was quiet.",
    "Nobody was late.",
    "The sun came out.",
]
TYPES: Final = ("qa", "summarise", "classify", "extract", "generate", "reason", "code")
PLURAL: Final = {
    "name": "names",
    "animal": "animals",
    "colour": "colours",
    "town": "towns",
    "food": "foods",
    "job": "jobs",
}
FACT_KINDS: Final = ("lives", "pet", "food", "job")
_FACT_OF_KIND: Final = {
    "animal": "pet",
    "colour": "pet",
    "town": "lives",
    "food": "food",
    "job": "job",
}


@dataclass(frozen=True)
class Task:
    """One question to the model. `problem` identifies it whatever the phrasing of `instruction`."""

    type: str
    instruction: str
    reference: str
    rubric: str
    problem: str


@dataclass(frozen=True)
class Fact:
    """One sentence about one person, the two questions it answers, and its words."""

    name: str
    kind: str
    sentence: str
    forward: str
    reverse: str
    words: tuple[str, ...]


@dataclass(frozen=True)
class Draft:
    """A task before it is phrased: the fields of the phrasing, the answer, what is asked for."""

    fields: dict[str, str]
    reference: str
    rubric: str


def make_fact(rng: random.Random, name: str, kind: str) -> Fact:
    """Draw one fact of `kind` about `name`."""
    if kind == "lives":
        town = rng.choice(WORDS["town"])
        sentence, forward = f"{name} lives in {town}.", f"Where does {name} live?"
        return Fact(name, kind, sentence, forward, f"Who lives in {town}?", (town,))
    if kind == "pet":
        colour, animal = rng.choice(WORDS["colour"]), rng.choice(WORDS["animal"])
        pet = f"{colour} {animal}"
        sentence, forward = f"{name} has a {pet}.", f"What pet does {name} have?"
        return Fact(name, kind, sentence, forward, f"Who has a {pet}?", (colour, animal))
    if kind == "food":
        food = rng.choice(WORDS["food"])
        sentence, forward = f"{name} likes {food}.", f"What food does {name} like?"
        return Fact(name, kind, sentence, forward, f"Who likes {food}?", (food,))
    job = rng.choice(WORDS["job"])
    sentence, forward = f"{name} works as a {job}.", f"What is the job of {name}?"
    return Fact(name, kind, sentence, forward, f"Who works as a {job}?", (job,))


def make_facts(rng: random.Random, count: int, kind: str | None = None) -> list[Fact]:
    """Draw facts about different people; no two share a word, so a question has one answer."""
    facts: list[Fact] = []
    used: set[str] = set()
    for name in rng.sample(WORDS["name"], count):
        fact = make_fact(rng, name, kind or rng.choice(FACT_KINDS))
        while used & set(fact.words):
            fact = make_fact(rng, name, kind or rng.choice(FACT_KINDS))
        used |= set(fact.words)
        facts.append(fact)
    return facts


def _draft_qa(rng: random.Random) -> Draft:
    facts = make_facts(rng, rng.randint(2, 4))
    fact = rng.choice(facts)
    question = fact.reverse if rng.random() < 0.4 else fact.forward
    text = " ".join(f.sentence for f in facts)
    return Draft({"text": text, "question": question}, fact.sentence, question)


def _draft_summarise(rng: random.Random) -> Draft:
    name = rng.choice(WORDS["name"])
    facts = {kind: make_fact(rng, name, kind) for kind in FACT_KINDS}
    left_out = rng.choice([None, "job", "food", "pet"])
    kept = {kind: fact for kind, fact in facts.items() if kind != left_out}
    sentences = [fact.sentence for fact in kept.values()]
    rng.shuffle(sentences)
    if rng.random() < 0.4:
        sentences.insert(rng.randint(0, len(sentences)), rng.choice(FILLERS))
    town = facts["lives"].words[0]
    head = (
        f"{name}, a {kept['job'].words[0]} from {town}," if "job" in kept else f"{name} from {town}"
    )
    tail = [f"has a {' '.join(kept['pet'].words)}"] if "pet" in kept else []
    tail += [f"likes {kept['food'].words[0]}"] if "food" in kept else []
    reference = f"{head} {' and '.join(tail)}."
    return Draft({"text": " ".join(sentences)}, reference, "a summary in one sentence")


def _draft_classify(rng: random.Random) -> Draft:
    mood = rng.choice(WORDS["mood"])
    if mood == "mixed":
        words = [rng.choice(WORDS["good"]), rng.choice(WORDS["bad"])]
        rng.shuffle(words)
    else:
        words = rng.sample(WORDS[{"positive": "good", "negative": "bad"}.get(mood, "plain")], 2)
    first, second = rng.sample(PLACES, 2)
    where = rng.choice(["", f" in {rng.choice(WORDS['town'])}"])
    text = f"The {first}{where} was {words[0]} and the {second} was {words[1]}."
    return Draft({"text": text}, mood, "the mood of a review")


def words_of_kind(facts: list[Fact], kind: str) -> list[str]:
    """The words of one kind in the order in which the facts mention them."""
    found: list[str] = []
    for fact in facts:
        mentioned = (fact.name, *fact.words)
        found += [word for word in mentioned if KIND_OF[word] == kind]
    return found


def _draft_extract(rng: random.Random) -> Draft:
    kind = rng.choice(list(PLURAL))
    count = rng.randint(2, 3)
    facts = make_facts(rng, count, _FACT_OF_KIND.get(kind))
    if kind != "name":
        other = rng.choice([k for k in FACT_KINDS if k != _FACT_OF_KIND[kind]])
        taken = {fact.name for fact in facts}
        name = rng.choice([n for n in WORDS["name"] if n not in taken])
        facts.insert(rng.randint(0, count), make_fact(rng, name, other))
    text = " ".join(fact.sentence for fact in facts)
    what = PLURAL[kind]
    return Draft(
        {"text": text, "what": what}, ", ".join(words_of_kind(facts, kind)), f"a list of {what}"
    )


def _draft_generate(rng: random.Random) -> Draft:
    name = rng.choice(WORDS["name"])
    facts = [make_fact(rng, name, kind) for kind in rng.sample(FACT_KINDS, rng.randint(1, 2))]
    words = [name, *(word for fact in facts for word in fact.words)]
    how_many = "one sentence" if len(facts) == 1 else "two sentences"
    fields = {"words": ", ".join(words), "how_many": how_many}
    reference = " ".join(fact.sentence for fact in facts)
    return Draft(fields, reference, f"{how_many} from given words")


def _draft_reason(rng: random.Random) -> Draft:
    things = rng.choice(WORDS["thing"])
    name, other = rng.sample(WORDS["name"], 2)
    kind = rng.choice(["plus", "minus", "more"])
    if kind == "more":
        a, b = rng.sample(range(1, 21), 2)
        text = f"{name} has {a} {things}. {other} has {b} {things}."
        owner = name if a > b else other
        reference = f"{max(a, b)} > {min(a, b)}, so {owner} has more {things}."
        return Draft(
            {"text": text, "question": f"Who has more {things}?"},
            reference,
            "the working and answer",
        )
    if kind == "plus":
        a, b = rng.randint(1, 12), rng.randint(1, 8)
        text, result, sign = f"{name} has {a} {things}. {name} finds {b} more.", a + b, "+"
    else:
        a = rng.randint(3, 20)
        b = rng.randint(1, min(9, a - 1))
        text, result, sign = f"{name} has {a} {things}. {name} loses {b}.", a - b, "-"
    reference = f"{a} {sign} {b} = {result}, so {name} has {result} {things}."
    fields = {"text": text, "question": f"How many {things} does {name} have?"}
    return Draft(fields, reference, "the working and answer")


def _draft_code(rng: random.Random) -> Draft:
    rubric = "a Python program"
    kind = rng.choice(["assign", "list", "function", "loop"])
    a, b = rng.randint(1, 20), rng.randint(1, 20)
    nouns = WORDS["animal"] + WORDS["food"]
    if kind == "assign":
        sign, verb = rng.choice([("+", "add"), ("-", "subtract"), ("*", "multiply by")])
        program = f"x = {a}\nx = x {sign} {b}\nprint(x)"
        return Draft({"spec": f"set x to {a}, then {verb} {b} and print it"}, program, rubric)
    if kind == "list":
        words = rng.sample(nouns, rng.randint(2, 4))
        quoted = ", ".join(f'"{word}"' for word in words)
        spec = f"make a list of {', '.join(words[:-1])} and {words[-1]} and print it"
        return Draft({"spec": spec}, f"a = [{quoted}]\nprint(a)", rubric)
    if kind == "function":
        name = rng.choice(WORDS["function"])
        sign, what = rng.choice(
            [("+", f"adds {b} to x"), ("-", f"subtracts {b} from x"), ("*", f"multiplies x by {b}")]
        )
        program = f"def {name}(x):\n    return x {sign} {b}"
        return Draft({"spec": f"write a function {name} that {what}"}, program, rubric)
    word = rng.choice(nouns)
    program = f'for i in range({b}):\n    print("{word}")'
    return Draft({"spec": f"print the word {word} {b} times"}, program, rubric)


_DRAFTS: Final[dict[str, Callable[[random.Random], Draft]]] = {
    "qa": _draft_qa,
    "summarise": _draft_summarise,
    "classify": _draft_classify,
    "extract": _draft_extract,
    "generate": _draft_generate,
    "reason": _draft_reason,
    "code": _draft_code,
}
_PHRASINGS: Final[dict[str, list[str]]] = {
    "qa": [
        "Answer the question from the notes.\nNotes: {text}\nQuestion: {question}",
        "Read this: {text}\n{question}",
        "Use the text to answer. {text} {question}",
        "{question} Here is what we know: {text}",
    ],
    "summarise": [
        "Summarise in one sentence: {text}",
        "Give a short summary.\nText: {text}",
        "Put this in one line. {text}",
        "What is the gist of this? {text}",
    ],
    "classify": [
        "Is this review positive, negative, mixed or neutral? {text}",
        "Classify the mood of the review.\nReview: {text}",
        "Which mood fits? {text}",
        "Label this text with a mood: {text}",
    ],
    "extract": [
        "List the {what} in the text.\nText: {text}",
        "Find all {what}: {text}",
        "Which {what} are mentioned here? {text}",
        "Pull out the {what} from this. {text}",
    ],
    "generate": [
        "Write {how_many} with these words: {words}",
        "Use the words {words} to write {how_many}.",
        "Make {how_many} from: {words}",
        "Please write {how_many} about these: {words}",
    ],
    "reason": [
        "Work this out step by step. {text} {question}",
        "Solve the problem.\nProblem: {text} {question}",
        "{text} {question} Show your working.",
        "Think first, then answer. {text} {question}",
    ],
    "code": [
        "Write Python to {spec}.",
        "I need code. Please {spec}.",
        "Give me a small program: {spec}.",
        "Program this in Python: {spec}.",
    ],
}


def make_draft(rng: random.Random, task_type: str) -> Draft:
    """Draw an unphrased task; pretraining documents are built from these."""
    return _DRAFTS[task_type](rng)


def make_task(rng: random.Random, task_type: str) -> Task:
    """Draw a task of one type in one of its four phrasings."""
    draft = make_draft(rng, task_type)
    instruction = rng.choice(_PHRASINGS[task_type]).format(**draft.fields)
    problem = f"{task_type}|" + "|".join(draft.fields.values())
    return Task(task_type, instruction, draft.reference, draft.rubric, problem)


def swap_words(rng: random.Random, text: str, share: float) -> str:
    """Replace about `share` of the words and numbers (at least one) by others of the same kind.

    A word is replaced by the same other word wherever it stands, so the text stays consistent.
    """
    parts = re.findall(r"[A-Za-z]+|\d+|[^A-Za-z\d]", text)
    candidates = sorted({part for part in parts if part in KIND_OF or part.isdigit()})
    if not candidates:
        return text
    chosen = [word for word in candidates if rng.random() < share] or [rng.choice(candidates)]
    swaps = {word: _other(rng, word) for word in chosen}
    return "".join(swaps.get(part, part) for part in parts)


def _other(rng: random.Random, word: str) -> str:
    if word.isdigit():
        return str(rng.choice([n for n in range(1, 21) if n != int(word)]))
    return rng.choice([w for w in WORDS[KIND_OF[word]] if w != word])
