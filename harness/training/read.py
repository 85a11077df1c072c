"""Training files to examples: JSONL or JSON arrays, rows in any of three shapes.

`messages` (OpenAI), `instruction`/`input`/`output` (Alpaca) and `prompt`/`completion` become
chats; other columns are ignored. Knows nothing of templates, tokens or weights.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, get_args

from harness.errors import DataError
from harness.jsonio import NotJson, parse_json
from harness.types import Message

ROLES = get_args(Message.model_fields["role"].annotation)
SHAPES = "messages · instruction, output and optionally input · prompt and completion"
_SHOWN = 60
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_SEPARATORS = " \t\r\n,"


class Example(NamedTuple):
    """One chat to train on."""

    messages: tuple[Message, ...]
    source: str
    """file:line"""


def read(path: Path, label: str) -> list[Example]:
    """Every example of a file, in order; `label` is the file's name in sources and errors.

    Raises DataError that names file:line, column, value and what is accepted.
    """
    text = _text(path, label)
    rows = _array(text, label) if text.lstrip().startswith("[") else _lines(text, label)
    examples = [Example(_messages(row, f"{label}:{line}"), f"{label}:{line}") for line, row in rows]
    if not examples:
        raise DataError(f"{label}: no rows", hint="every line must be one JSON object")
    return examples


def _text(path: Path, label: str) -> str:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise DataError(
            f"{label}: no such file ({path})",
            hint="data.sources paths start from the recipe's folder",
        ) from None
    except OSError as error:
        raise DataError(f"{label}: cannot be read: {error.strerror}") from None
    except ValueError as error:  # a NUL in the path
        raise DataError(f"{label!r}: not a path: {error}") from None
    if data.startswith(_UTF16) or b"\x00" in data[:64]:
        raise DataError(
            f"{label}: UTF-16, or not text at all; accepted: UTF-8",
            hint=f"iconv -f UTF-16 -t UTF-8 {label}",
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise DataError(
            f"{label}:{line}: byte 0x{data[error.start]:02x} is not UTF-8; accepted: UTF-8",
            hint=f"convert the file, for example: iconv -f GB18030 -t UTF-8 {label}",
        ) from None


def _lines(text: str, label: str) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            yield number, parse_json(line)
        except NotJson as error:
            raise _not_json(f"{label}:{number}", error, line) from None


def _array(text: str, label: str) -> Iterator[tuple[int, Any]]:
    """The values of one JSON array, each with the line it starts in."""
    try:
        parse_json(text)
    except NotJson as error:
        if error.line is None:
            raise _not_json(label, error, text[: 2 * _SHOWN]) from None
        line = text.split("\n")[error.line - 1]
        raise _not_json(f"{label}:{error.line}", error, line) from None
    decoder = json.JSONDecoder()
    place, line_number = text.index("[") + 1, 1
    counted = 0
    while True:
        while text[place] in _SEPARATORS:
            place += 1
        if text[place] == "]":
            return
        line_number += text.count("\n", counted, place)
        counted = place
        value, place = decoder.raw_decode(text, place)
        yield line_number, value


def _not_json(where: str, error: NotJson, line: str) -> DataError:
    return DataError(
        f"{where}: not JSON: {error}: {line.strip()[:_SHOWN]!r}",
        hint="every line must be one JSON object, or the file one JSON array of objects",
    )


def _messages(row: Any, where: str) -> tuple[Message, ...]:
    if not isinstance(row, dict):
        raise DataError(f"{where}: {_show(row)}; accepted: a JSON object with {SHAPES}")
    if "messages" in row:
        messages = _chat(row["messages"], where)
    elif "instruction" in row and "output" in row:
        messages = _alpaca(row, where)
    elif "prompt" in row and "completion" in row:
        messages = _pair(_string(row, "prompt", where), _string(row, "completion", where))
    else:
        raise DataError(
            f"{where}: no known columns; seen: {', '.join(map(str, row)) or 'none'}",
            hint=f"accepted: {SHAPES}",
        )
    if not any(each.role == "assistant" for each in messages):
        raise DataError(
            f"{where}: messages has no assistant turn, so nothing to train on",
            hint="every example needs at least one assistant message",
        )
    return messages


def _chat(value: Any, where: str) -> tuple[Message, ...]:
    if not isinstance(value, list) or not value:
        raise DataError(f"{where}: messages = {_show(value)}; accepted: a list of messages")
    return tuple(_message(each, f"{where}: messages[{i}]") for i, each in enumerate(value))


def _message(value: Any, where: str) -> Message:
    if not isinstance(value, dict):
        raise DataError(f"{where} = {_show(value)}; accepted: an object with role and content")
    if value.get("role") not in ROLES:
        raise DataError(f"{where}.role = {_show(value.get('role'))}; accepted: {', '.join(ROLES)}")
    for key in value.keys() - {"role", "content", "name"}:
        if value[key] is not None:
            raise DataError(
                f"{where}.{key} = {_show(value[key])}: only role and content can be trained on",
                hint="remove the key, or the example",
            )
    return Message(role=value["role"], content=_string(value, "content", where, "."))


def _alpaca(row: dict[str, Any], where: str) -> tuple[Message, ...]:
    for key in ("history", "system"):
        if row.get(key):
            raise DataError(
                f"{where}: {key} = {_show(row[key])}: not read beside instruction and output",
                hint="write the row as messages",
            )
    prompt = _string(row, "instruction", where)
    if row.get("input") is not None:
        prompt = "\n\n".join(filter(None, (prompt, _string(row, "input", where))))
    return _pair(prompt, _string(row, "output", where))


def _pair(prompt: str, answer: str) -> tuple[Message, ...]:
    return (Message(role="user", content=prompt), Message(role="assistant", content=answer))


def _string(row: dict[str, Any], key: str, where: str, joint: str = ": ") -> str:
    value = row.get(key)
    if not isinstance(value, str):
        raise DataError(f"{where}{joint}{key} = {_show(value)}; accepted: text")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"{where}{joint}{key}: a lone surrogate {value[error.start]!r} is not text",
            hint="re-export the file with whole characters",
        ) from None
    return value


def _show(value: Any) -> str:
    try:
        text = json.dumps(value, ensure_ascii=True)
    except RecursionError:
        text = "a value nested too deep to show"
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
