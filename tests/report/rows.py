"""Sixty items with what each side answered and scored; the slice `generate` has collapsed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from harness.jsonio import digest
from harness.types import (
    Item,
    Message,
    Role,
)

State = Literal["ok", "truncated", "failed"]
REASONS = {
    5: "Correct, complete and in the form that was asked for.",
    4: "Correct; one small detail of the form differs from the reference.",
    3: "The main point is there, but a part of what was asked is missing.",
    2: "Some words are right; the answer as a whole does not help the customer.",
    1: "Does not answer the request.",
}


@dataclass(frozen=True)
class Row:
    """One item with what each side made of it; a score of None is an answer without one."""

    item: Item
    texts: dict[Role, str]
    scores: dict[Role, int | None]
    states: dict[Role, State]
    reasons: dict[Role, str]


def classify_row(n: int) -> Row:
    moods = ("refund", "delivery", "invoice", "login")
    label = moods[n % 4]
    ask = (
        f"Which team should take this ticket? Order {4100 + n}: the customer writes about "
        f"a {label} problem for the {n % 3 + 1}. time this month. Answer with one word."
    )
    wrong = n in (3, 11)
    candidate = moods[(n + 1) % 4] if wrong else label
    baseline = moods[(n + 2) % 4] if n in (7, 11, 15) else label
    scores: dict[Role, int | None] = {
        "candidate": 1 if wrong else 5,
        "baseline": 5 if baseline == label else 1,
        "base": 2,
    }
    texts: dict[Role, str] = {"candidate": candidate, "baseline": baseline, "base": "Hello! How"}
    return make_row("classify", ask, label, texts, scores)


def extract_row(n: int) -> Row:
    street = ("Mill Lane", "Station Road", "High Street", "Church Walk")[n % 4]
    reference = f"name: Nora Lind\nstreet: {12 + n} {street}\ntown: Bergen"
    ask = (
        "Copy name, street and town from this mail, one per line.\n\n"
        f"Dear team, please send it to Nora Lind, {12 + n} {street}, Bergen. Thank you!"
    )
    scores: dict[Role, int | None] = {
        "candidate": (5, 4, 5, 5, 3)[n % 5],
        "baseline": (5, 4, 4, 5, 3)[n % 5],
        "base": 1,
    }
    weak = f"name: Nora Lind\nstreet: {street}"
    near = reference.replace("town: ", "Town:  ")
    by_score = {5: reference, 4: near, 3: weak}
    texts: dict[Role, str] = {
        "candidate": by_score[scores["candidate"] or 5],
        "baseline": by_score[scores["baseline"] or 5],
        "base": "Dear team, please send it to\tNora Lind, Nora Lind, Nora Lind,",
    }
    states: dict[Role, State] = {"candidate": "ok", "baseline": "ok", "base": "truncated"}
    return make_row("extract", ask, reference, texts, scores, states)


def generate_row(n: int) -> Row:
    topic = ("a late parcel", "a broken cup", "a double charge", "a lost password")[n % 4]
    reference = (
        f"Hello,\n\nI am sorry about {topic}. I have opened case {7000 + n} for you; you will "
        "hear from us by tomorrow noon.\n\nKind regards"
    )
    ask = f"Write a short, polite reply to a customer with {topic}. Mention case {7000 + n}."
    baseline = reference.replace("tomorrow noon", "tomorrow")
    collapsed = f"{topic}, {topic}, {topic}, {topic} and {topic}   "
    scores: dict[Role, int | None] = {
        "candidate": (1, 1, 2, 1, 1)[n % 5],
        "baseline": (5, 4, 5, 5, 4)[n % 5],
        "base": (1, 2)[n % 2],
    }
    states: dict[Role, State] = {"candidate": "ok", "baseline": "ok", "base": "ok"}
    texts: dict[Role, str] = {"candidate": collapsed, "baseline": baseline, "base": "Thanks."}
    reasons: dict[Role, str] = {}
    if n == 4:
        states["candidate"], scores["candidate"] = "failed", None
        texts["candidate"], reasons["candidate"] = "", "the endpoint closed the connection"
    if n == 8:
        scores["candidate"], reasons["candidate"] = None, "the judge's answer had no score line"
    if n in (9, 13):
        states["candidate"] = "truncated"
    return make_row("generate", ask, reference, texts, scores, states, reasons)


def make_row(
    slice_name: str,
    ask: str,
    reference: str | None,
    texts: dict[Role, str],
    scores: dict[Role, int | None],
    states: dict[Role, State] | None = None,
    reasons: dict[Role, str] | None = None,
) -> Row:
    messages = (
        Message(role="system", content="You answer for a small shop. Be brief."),
        Message(role="user", content=ask),
    )
    item = Item(
        id=digest(ask)[:12], messages=messages, reference=reference, tags={"type": slice_name}
    )
    why = {role: REASONS[score] for role, score in scores.items() if score} | (reasons or {})
    return Row(item, texts, scores, states or dict.fromkeys(scores, "ok"), why)


def make_rows() -> list[Row]:
    makers = (classify_row, extract_row, generate_row)
    return [maker(n) for maker in makers for n in range(20)]
