"""JSON files as rows: one object a line, an array of objects, or objects over several lines.

A file is read through a window, never whole. Knows nothing of what the columns mean.
"""

from __future__ import annotations

import codecs
import gzip
import json
import re
import zlib
from collections.abc import Generator, Iterator
from typing import IO, Any

import msgspec

from harness.errors import DataError
from harness.jsonio import NotJson, parse_json
from harness.training.reading.encodings import not_utf8
from harness.training.reading.example import SHOWN, BadRow, show

Placed = tuple[str, dict[str, Any] | BadRow]
"""The place of a row (file:line), and the row or why it is none."""
PlacedRows = Generator[Placed, None, None]
"""Closing it closes the file."""
ONE_OBJECT = "every line must be one JSON object, or the file one JSON array of objects"
_CHUNK = 1 << 20
_BOM = codecs.BOM_UTF8
_LONE = re.compile(r"\\u[dD][89a-fA-F]")
_CONFLICT = re.compile(r"(<<<<<<<|>>>>>>>|=======|\|\|\|\|\|\|\|)( |$)")
_SPACE = re.compile(r"[ \t\r\n]*")
_LONGEST_TOKEN = 16
"""More characters than any JSON literal or escape has, so that a cut one is told from a wrong."""


def is_document(head: bytes) -> bool:
    """Whether a file that starts so is one array, or objects spread over lines, not JSONL."""
    text = head.removeprefix(_BOM).decode(errors="replace").lstrip()
    if text.startswith("["):
        return True
    line, newline, _ = text.partition("\n")
    if not text.startswith("{") or not newline:
        return False
    try:
        json.loads(line)
    except json.JSONDecodeError as error:
        return error.pos >= len(line.rstrip()) and not error.msg.startswith("Unterminated")
    except (ValueError, RecursionError):
        return False
    return False


def numbered(file: IO[bytes], label: str) -> Iterator[tuple[int, bytes]]:
    """Lines with their numbers from 1. Raises DataError where a gzip file is damaged."""
    number = 0
    try:
        for number, line in enumerate(file, 1):
            yield number, line.removeprefix(_BOM) if number == 1 else line
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise _damaged(f"{label}:{number + 1}", error) from None


def lines(file: IO[bytes], label: str) -> PlacedRows:
    """The rows of a JSONL file. Raises DataError for what is wrong with the whole file."""
    decode = msgspec.json.decode
    for number, line in numbered(file, label):
        try:
            value = decode(line)
        except (ValueError, RecursionError):
            if not line.strip():
                continue
            value = _exact(line, label, number)
        yield f"{label}:{number}", _object(value)


def _exact(line: bytes, label: str, number: int) -> Any:
    """What msgspec refuses, once more with Python's parser: numbers beyond a float are read, and
    what is wrong with the others is said."""
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        raise not_utf8(error, label, number) from None
    try:
        value = parse_json(text)
    except NotJson as error:
        _require_no_conflict(text, f"{label}:{number}")
        return _not_json(error, text)
    return _lone_surrogate(value, text)


def document(file: IO[bytes], label: str) -> PlacedRows:
    """The rows of a JSON array, or of objects that follow each other. Raises DataError where
    the text is not JSON: what comes after that place cannot be told apart."""
    window = _Window(_texts(file, label), label)
    if window.peek() != "[":
        while window.peek():
            yield window.row()
        return
    window.place += 1
    if window.peek() == "]":
        return
    while True:
        yield window.row()
        if window.peek() != ",":
            break
        window.place += 1
    if window.peek() != "]":
        raise window.wrong("Expecting ',' delimiter")
    window.place += 1
    if window.peek():
        raise window.wrong("Extra data")


class _Window:
    """A part of a JSON text, read on as needed. `place` is where in it the reading stands."""

    def __init__(self, texts: Iterator[str], label: str) -> None:
        self.text = ""
        self.place = 0
        self._texts = texts
        self._label = label
        self._line, self._counted = 1, 0
        self._cut = 0  # characters of the current line that lie before the window
        self._n_rows, self._last = 0, 0
        self._decode = json.JSONDecoder().raw_decode

    def peek(self) -> str:
        """The next character that is not blank, "" at the end."""
        while True:
            found = _SPACE.match(self.text, self.place)
            self.place = found.end() if found else self.place
            if self.place < len(self.text):
                return self.text[self.place]
            if not self._more():
                return ""

    def row(self) -> Placed:
        """The next value; beside the line, its place has the row's number (from 1) where another
        row stands before it in the line. Raises DataError where there is none."""
        self.peek()
        line, self._n_rows = self.line(), self._n_rows + 1
        where = f"{self._label}:{line}{f' row {self._n_rows}' if line == self._last else ''}"
        self._last = line
        while True:
            start = self.place
            try:
                value, end = self._decode(self.text, start)
            except json.JSONDecodeError as error:
                cut = error.msg.startswith("Unterminated") or (
                    error.pos >= len(self.text) - _LONGEST_TOKEN
                )
                if cut and self._more():
                    continue
                self.place = error.pos
                raise self.wrong(error.msg) from None
            except RecursionError:
                raise self.wrong("nested too deep") from None
            except ValueError:  # Python's limit on the digits of an integer
                raise self.wrong("a number has too many digits") from None
            if end == len(self.text) and self._more():  # a number may go on
                continue
            self.place = end
            return where, _object(_lone_surrogate(value, self.text, start, end))

    def line(self) -> int:
        """The line of the file `place` lies in, from 1."""
        self._line += self.text.count("\n", self._counted, self.place)
        self._counted = self.place
        return self._line

    def wrong(self, reason: str) -> DataError:
        """The refusal of the text at `place`."""
        where = f"{self._label}:{self.line()}"
        start = self.text.rfind("\n", 0, self.place) + 1
        line = self.text[start : self.place + 2 * SHOWN].partition("\n")[0]
        _require_no_conflict(line, where)
        column = self.place - start + 1 + (0 if start else self._cut)
        shown = line[max(0, self.place - start - SHOWN // 2) :].strip() or "the end of the text"
        return _refusal(where, _not_json(NotJson(f"{reason} (column {column})"), shown))

    def _more(self) -> bool:
        """Move on to the rest of the text and at least as much again, so that a long value is not
        parsed over and over. Whether there was more."""
        n_rest = len(self.text) - self.place
        parts: list[str] = []
        while sum(map(len, parts)) <= n_rest and (part := next(self._texts, "")):
            parts.append(part)
        if parts:
            self.line()
            newline = self.text.rfind("\n", 0, self.place)
            self._cut = self.place - newline - 1 + (self._cut if newline < 0 else 0)
            self.text = "".join((self.text[self.place :], *parts))
            self.place = self._counted = 0
        return bool(parts)


def _texts(file: IO[bytes], label: str) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    line = 1
    try:
        while True:
            chunk = file.read(_CHUNK)
            text = decoder.decode(chunk, final=not chunk)
            line += text.count("\n")
            if text:
                yield text
            if not chunk:
                return
    except UnicodeDecodeError as error:
        raise not_utf8(error, label, line) from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise _damaged(f"{label}:{line}", error) from None


def _object(value: Any) -> dict[str, Any] | BadRow:
    if isinstance(value, dict | BadRow):
        return value
    return BadRow(f"{show(value)}; accepted: a JSON object", ONE_OBJECT)


def _lone_surrogate(value: Any, text: str, start: int = 0, end: int | None = None) -> Any:
    """The value, or a BadRow that names where in it half a character stands alone: such a text
    could be neither encoded nor written."""
    if not _LONE.search(text, start, len(text) if end is None else end):
        return value
    for path, part in _strings(value, ""):
        try:
            part.encode()
        except UnicodeEncodeError as error:
            return BadRow(
                f"{path}: a lone surrogate {part[error.start]!r} is not text",
                "re-export the file with whole characters",
            )
    return value


def _strings(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from _strings(each, f"{path}[{index}]")
    elif isinstance(value, dict):
        for key, each in value.items():
            yield f"{path}: a key", key
            yield from _strings(each, f"{path}.{key}" if path else key)


def _not_json(error: NotJson, line: str) -> BadRow:
    return BadRow(f"not JSON: {error}: {line.strip()[:SHOWN]!r}", ONE_OBJECT)


def _refusal(where: str, bad: BadRow) -> DataError:
    return DataError(f"{where}: {bad}", hint=bad.hint)


def _require_no_conflict(line: str, where: str) -> None:
    if _CONFLICT.match(line.strip()):
        raise DataError(
            f"{where}: a merge conflict's marker: {line.strip()[:SHOWN]!r}",
            hint="resolve the conflict: the file holds both sides",
        )


def _damaged(where: str, error: Exception) -> DataError:
    return DataError(
        f"{where}: the gzip file ends early or is damaged: {error}", hint="fetch the file again"
    )
