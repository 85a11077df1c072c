"""One row to examples: what shape it has, under which names, and what an objective makes of it.

Knows nothing of files.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from harness.errors import DataError, nearest
from harness.recipe import Source
from harness.recipe.training import Objective, Shape
from harness.training.reading.chats import CHATS, Chat, row_tools, trainable
from harness.training.reading.example import BadRow, Example, Skipped, columns_of
from harness.training.reading.preferences import Pair, feedback, has_feedback, pair, ranked

ACCEPTED: dict[Objective, tuple[Shape, ...]] = {
    "sft": ("messages", "alpaca", "sharegpt", "prompt"),
    "dpo": ("preference", "ranked"),
    "kto": ("feedback", "preference"),
}
"""The shapes each objective can be trained on."""
SHAPES = (
    "messages · instruction, output and optionally input · conversations · prompt and completion · "
    "chosen and rejected · answers · any of the first four with label"
)
_ASIDE = ("system", "tools", "type")
_ASKED = ("messages", "conversations", "prompt", "instruction", "input", "history")
COLUMNS: dict[Shape, tuple[str, ...]] = {
    "messages": ("messages", *_ASIDE),
    "alpaca": ("instruction", "input", "output", "history", "reasoning", *_ASIDE),
    "sharegpt": ("conversations", *_ASIDE),
    "prompt": ("prompt", "completion", "reasoning", *_ASIDE),
    "preference": ("chosen", "rejected", *_ASKED, *_ASIDE),
    "ranked": ("answers", *_ASKED, *_ASIDE),
    "feedback": (*_ASKED, "output", "completion", "label", "reasoning", *_ASIDE),
}
"""The columns each shape has; others are ignored."""
_OPTIONAL = ("input", "history", "reasoning", *_ASIDE)
ALIASES: dict[Shape, dict[str, str]] = {
    "messages": {},
    "alpaca": {"context": "input", "response": "output"},
    "sharegpt": {},
    "prompt": {"response": "completion"},
    "preference": {"context": "input"},
    "ranked": {"context": "input", "output": "answers"},
    "feedback": {},
}
"""Names that are as common (Dolly's), read where ours is absent."""
_TYPES = ("type", "category", "task")
_LONGEST_TYPE = 64
_RENAME = (
    "name yours in data.sources.columns, as in columns: {prompt: question, completion: answer}"
)


def detect(row: Mapping[str, Any]) -> Shape:
    """The shape the columns of a row tell. Raises BadRow naming the columns when none does."""
    seen = {key for key, value in row.items() if value is not None} or set(row)
    chat = _chat_shape(seen) or _chat_shape(set(row))
    if {"chosen", "rejected"} <= seen:
        return "preference"
    if "answers" in seen or isinstance(row.get("output"), list):
        return "ranked"
    if chat and has_feedback(dict(row)):
        return "feedback"
    if chat:
        return chat
    columns = columns_of(row)
    if "text" in seen:
        raise BadRow(
            f"no known columns; seen: {columns}",
            "text that is rendered already cannot be split into prompt and answer: keep the chats "
            "it was made of",
        )
    raise BadRow(f"no known columns; seen: {columns}", f"accepted: {SHAPES}; or {_RENAME}")


def _chat_shape(seen: set[str]) -> Shape | None:
    for needed, shape in _TOLD_BY:
        if needed <= seen:
            return shape
    return None


_TOLD_BY: tuple[tuple[set[str], Shape], ...] = (
    ({"messages"}, "messages"),
    ({"conversations"}, "sharegpt"),
    ({"instruction", "output"}, "alpaca"),
    ({"instruction", "response"}, "alpaca"),
    ({"instruction", "instances"}, "alpaca"),
    ({"prompt", "completion"}, "prompt"),
    ({"prompt", "response"}, "prompt"),
)


def require_columns(source: Source, shape: Shape, row: Mapping[str, Any]) -> None:
    """Raises DataError for a mapping of a column the shape does not have, or to one the file's
    first row does not have; what a row may lack is left to the end of the file."""
    for ours, theirs in source.columns.items():
        if ours not in COLUMNS[shape]:
            known = nearest(ours, COLUMNS[shape])
            raise DataError(
                f"{source.path}: data.sources.columns: {shape} has no column {ours!r}: {known}"
            )
        if theirs not in row and ours not in _OPTIONAL:
            raise no_column(source, theirs, row)


def require_known(source: Source, row: Mapping[str, Any]) -> None:
    """Raises DataError for a mapping of a column that no shape has, or to one not in the row."""
    known = {column for columns in COLUMNS.values() for column in columns}
    for ours, theirs in source.columns.items():
        if ours not in known:
            raise DataError(
                f"{source.path}: data.sources.columns: no shape has a column {ours!r}: "
                f"{nearest(ours, known)}"
            )
        if theirs not in row:
            raise no_column(source, theirs, row)


def no_column(source: Source, theirs: str, row: Mapping[str, Any]) -> DataError:
    """The refusal of a mapping to a column the file does not have."""
    return DataError(
        f"{source.path}: data.sources.columns: no column {theirs!r} in the file: "
        f"{nearest(theirs, map(str, row))}"
    )


def renamed(row: dict[str, Any], columns: Mapping[str, str]) -> dict[str, Any]:
    """The row with the user's names replaced by ours (`columns`: ours → theirs)."""
    taken = {ours: row[theirs] for ours, theirs in columns.items() if theirs in row}
    theirs = set(columns.values())
    return {key: value for key, value in row.items() if key not in theirs} | taken


def examples(
    row: dict[str, Any], shape: Shape, objective: Objective, source: str
) -> Iterator[Example | Skipped]:
    """What an objective is trained on for one row, whose shape it must accept. Raises BadRow;
    yields Skipped for a part of a row that says nothing."""
    for theirs, ours in ALIASES[shape].items():
        if theirs in row and ours not in row:
            row[ours] = row[theirs]
    if shape == "feedback":
        yield _judged(row, source)
    elif shape == "preference":
        yield from _compared(pair(row), row, objective, source)
    elif shape == "ranked":
        yield from _neighbours(row, source)
    elif "instances" in row and "output" not in row:
        yield from _instances(row, source)
    else:
        yield _example(CHATS[shape](row), row, source)


def _example(chat: Chat, row: dict[str, Any], source: str) -> Example:
    messages, untrained = trainable(chat)
    return Example(messages, source, row_tools(row), untrained, type=_type(row))


def _instances(row: dict[str, Any], source: str) -> Iterator[Example]:
    """Self-instruct's seed tasks: one instruction with several inputs and outputs."""
    if not isinstance(row["instances"], list) or not row["instances"]:
        raise BadRow("instances is no list of inputs and outputs")
    for number, each in enumerate(row["instances"], 1):
        if not isinstance(each, dict):
            raise BadRow(f"instances[{number - 1}]: accepted: an object with input and output")
        yield _example(CHATS["alpaca"](row | each), row, f"{source} instance {number}")


def _judged(row: dict[str, Any], source: str) -> Example:
    verdict = feedback(row)
    shape = _chat_shape({key for key, value in row.items() if value is not None})
    if shape is None:
        raise BadRow(f"feedback on no chat; seen: {columns_of(row)}")
    for theirs, ours in ALIASES[shape].items():
        if theirs in row and ours not in row:
            row[ours] = row[theirs]
    messages = CHATS[shape](row).messages
    if messages[-1].role != "assistant":
        raise BadRow(f"ends with the {messages[-1].role}'s turn; accepted: the assistant's")
    return Example(messages, source, row_tools(row), desirable=verdict, type=_type(row))


def _compared(
    found: Pair, row: dict[str, Any], objective: Objective, source: str
) -> Iterator[Example]:
    """A pair as one example, or for KTO as two: an answer to give and one not to."""
    tools, kind = row_tools(row), _type(row)
    better = (*found.messages, found.better)
    if objective == "dpo":
        yield Example(better, source, tools, rejected=found.worse, type=kind)
        return
    worse = (*found.messages, found.worse)
    yield Example(better, f"{source} chosen", tools, desirable=True, type=kind)
    yield Example(worse, f"{source} rejected", tools, desirable=False, type=kind)


def _neighbours(row: dict[str, Any], source: str) -> Iterator[Example | Skipped]:
    for each in ranked(row):
        if isinstance(each, Pair):
            yield from _compared(each, row, "dpo", f"{source} pair {each.number}")
        else:
            number, bad = each
            yield Skipped(f"{source} pair {number}", str(bad))


def _type(row: dict[str, Any]) -> str | None:
    for key in _TYPES:
        value = row.get(key)
        if isinstance(value, str) and 0 < len(value) <= _LONGEST_TYPE:
            return value
    return None


def require_objective(shape: Shape, objective: Objective, label: str) -> None:
    """Raises DataError when the objective cannot be trained on rows of the shape."""
    accepted = ACCEPTED[objective]
    if shape in accepted:
        return
    fitting = [name for name, shapes in ACCEPTED.items() if shape in shapes]
    raise DataError(
        f"{label}: rows of shape {shape}; train.objective {objective} takes: {', '.join(accepted)}",
        hint=f"set train.objective to {' or '.join(fitting)}, or data.sources.format to the shape "
        "the rows are meant to have",
    )
