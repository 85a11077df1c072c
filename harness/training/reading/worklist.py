"""Lines of a worklist: examples that people were asked for and have yet to write, or have written.

A line is a row like any other, in the shape its objective reads, with an object `worklist` beside
it that says what is wanted. It stays there once the line is filled in, so that a held-out item
among such lines is refused whatever `data.overlap` says. Knows nothing of why they were asked for.
"""

from __future__ import annotations

from typing import Any

from harness.jsonio import NotJson, parse_json
from harness.recipe.training import Objective
from harness.training.reading.example import BadRow, show
from harness.training.reading.messages import SPEAKERS, listed

KEY = "worklist"
SCHEMA = 1
UNFILLED = "not filled in yet"
FILL = (
    "write the empty contents as the line's worklist.brief says, or delete the lines that nobody "
    "will fill in"
)
_FILLED = ("messages", "conversations", "prompt", "instruction", "chosen", "rejected")
_ANSWERED = ("completion", "output", "answers")
"""Columns that hold what people write, of every shape."""


def blank(objective: Objective) -> dict[str, Any]:
    """A row without its words, in a shape that the objective is trained on."""
    asked, answer = ([{"role": role, "content": ""}] for role in ("user", "assistant"))
    if objective == "sft":
        return {"messages": [*asked, *answer]}
    return {"prompt": asked, "chosen": answer, "rejected": [dict(answer[0])]}


def is_wished(row: dict[str, Any]) -> bool:
    """Whether the row is a line of a worklist. A column of that name with anything else in it is
    some other data's. Raises BadRow for a schema that is not known."""
    mark = row.get(KEY)
    if isinstance(mark, str) and mark.startswith("{"):  # as a table holds it
        try:
            mark = parse_json(mark)
        except NotJson:
            return False
    if not (isinstance(mark, dict) and {"schema", "brief"} <= mark.keys()):
        return False
    if mark["schema"] != SCHEMA:
        raise BadRow(f"{KEY}.schema = {show(mark['schema'])}; accepted: {SCHEMA}")
    return True


def require_filled(row: dict[str, Any]) -> None:
    """Raises BadRow where a text of the user or the assistant is still blank."""
    if any(_is_blank(listed(row[key])) for key in (*_FILLED, *_ANSWERED) if key in row):
        raise BadRow(UNFILLED, FILL)


def _is_blank(value: Any) -> bool:
    """Of a text, a message or a list of them: whether any is blank. A call needs no text."""
    if isinstance(value, list):
        return not value or any(map(_is_blank, value))
    if isinstance(value, dict):
        written = value.get("content", value.get("value"))
        role = SPEAKERS.get(str(value.get("role", value.get("from"))))
        is_said = role in ("user", "assistant") and not value.get("tool_calls")
        return is_said and _is_blank(written)
    return value is None or (isinstance(value, str) and not value.strip())
