"""Examples and their rows in temporary files, a few numbers of each in memory.

A row takes about forty bytes of memory, however long it is, and becomes a `Row` when it is asked
for. Knows nothing of where rows come from or which are chosen.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import weakref
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, overload

from harness.chat.encode import IGNORED, Row
from harness.training.reading.example import Example
from harness.types import Message

_OPINIONS = (None, False, True)


class _Spool:
    """Byte strings in a temporary file, by the place they were appended in."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the spool lives
        weakref.finalize(self, self._file.close)
        self._ends = array("q", [0])
        self._flushed = True

    def append(self, data: bytes) -> None:
        self._file.write(data)
        self._ends.append(self._ends[-1] + len(data))
        self._flushed = False

    def __getitem__(self, index: int) -> bytes:
        if not self._flushed:
            self._file.flush()
            self._flushed = True
        start, end = self._ends[index], self._ends[index + 1]
        return os.pread(self._file.fileno(), end - start, start)


class RowTable:
    """Examples in reading order, each with its rows. Append-only."""

    def __init__(self) -> None:
        self._texts, self._tokens = _Spool(), _Spool()
        self._first_rows = array("q", [0])
        self._examples = array("q")
        self._n_ids, self._n_rejected, self._n_trained = array("i"), array("i"), array("i")
        self._n_prompt, self._n_messages = array("i"), array("i")
        self._desirable = bytearray()

    def append(self, example: Example, rows: Sequence[Row]) -> None:
        """Keep an example and the rows it was encoded to."""
        self._texts.append(json.dumps(_plain(example), ensure_ascii=False).encode())
        for row in rows:
            trained = bytes(label != IGNORED for label in row.labels)
            ids = array("i", row.input_ids).tobytes()
            self._tokens.append(ids + trained + array("i", row.rejected).tobytes())
            self._examples.append(self.n_examples)
            self._n_ids.append(len(row.input_ids))
            self._n_rejected.append(len(row.rejected))
            self._n_trained.append(trained.count(1) + len(row.rejected))
            self._n_prompt.append(row.n_prompt)
            self._n_messages.append(len(row.messages))
            self._desirable.append(_OPINIONS.index(row.desirable))
        self._first_rows.append(len(self._n_prompt))

    @property
    def n_examples(self) -> int:
        return len(self._first_rows) - 1

    def rows_of(self, example: int) -> range:
        """Places of an example's rows."""
        return range(self._first_rows[example], self._first_rows[example + 1])

    def example_of(self, row: int) -> int:
        """The example a row is of."""
        return self._examples[row]

    def length(self, row: int) -> int:
        """Tokens of a row: the prompt and the longer of its answers."""
        return max(self._n_ids[row], self._second(row))

    def n_tokens(self, row: int) -> int:
        """Tokens the model reads for a row; a pair repeats its prompt."""
        return self._n_ids[row] + self._second(row)

    def n_trained(self, row: int) -> int:
        """Tokens of a row that are trained."""
        return self._n_trained[row]

    def opinions(self, rows: Iterable[int]) -> tuple[int, int]:
        """How many of the rows are desirable, and how many undesirable."""
        found = Counter(self._desirable[row] for row in rows)
        return found[_OPINIONS.index(True)], found[_OPINIONS.index(False)]

    def source(self, row: int) -> str:
        """file:line and the first assistant turn that the row trains."""
        text = self._text(self._examples[row])
        return _turn(text["source"], text["messages"], self._n_messages[row])

    def example(self, example: int) -> Example:
        """One example, as it was kept."""
        text = self._text(example)
        rejected = text["rejected"]
        return Example(
            messages=tuple(Message.model_validate(each) for each in text["messages"]),
            source=text["source"],
            tools=tuple(text["tools"]),
            untrained=frozenset(text["untrained"]),
            rejected=None if rejected is None else Message.model_validate(rejected),
            desirable=text["desirable"],
            type=text["type"],
            worklist=text["worklist"],
        )

    def row(self, row: int) -> Row:
        """One row, as it was encoded."""
        text, data = self._text(self._examples[row]), self._tokens[row]
        messages, n_messages = text["messages"], self._n_messages[row]
        n_ids = self._n_ids[row]
        ids, rejected = array("i", data[: 4 * n_ids]), array("i", data[5 * n_ids :])
        trained = data[4 * n_ids : 5 * n_ids]
        return Row(
            input_ids=tuple(ids),
            labels=tuple(i if kept else IGNORED for i, kept in zip(ids, trained, strict=True)),
            source=_turn(text["source"], messages, n_messages),
            messages=tuple(Message.model_validate(each) for each in messages[:n_messages]),
            n_prompt=self._n_prompt[row],
            tools=tuple(text["tools"]),
            rejected=tuple(rejected),
            desirable=_OPINIONS[self._desirable[row]],
        )

    def digest(self, rows: Iterable[int]) -> str:
        """SHA-256 of what is trained on, in order: token ids, labels, second answers, opinions."""
        found = hashlib.sha256()
        for row in rows:
            head = (self._n_ids[row], self._n_rejected[row], self._desirable[row])
            found.update(array("i", head).tobytes() + self._tokens[row])
        return found.hexdigest()

    def _second(self, row: int) -> int:
        """Tokens of the prompt with the rejected answer; 0 where there is none."""
        return self._n_prompt[row] + self._n_rejected[row] if self._n_rejected[row] else 0

    def _text(self, example: int) -> dict[str, Any]:
        text: dict[str, Any] = json.loads(self._texts[example])
        return text


class Rows(Sequence[Row]):
    """Chosen rows of a table, in training order; repeats are possible."""

    def __init__(self, table: RowTable, places: array[int]) -> None:
        self.table = table
        self.places = places

    def __len__(self) -> int:
        return len(self.places)

    def __iter__(self) -> Iterator[Row]:
        return map(self.table.row, self.places)

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> Rows: ...
    def __getitem__(self, index: int | slice) -> Row | Rows:
        if isinstance(index, slice):
            return Rows(self.table, self.places[index])
        return self.table.row(self.places[index])

    def digest(self) -> str:
        """SHA-256 of what is trained on, in order."""
        return self.table.digest(self.places)


def _plain(example: Example) -> dict[str, Any]:
    return example._asdict() | {
        "messages": [each.dump() for each in example.messages],
        "untrained": sorted(example.untrained),
        "rejected": example.rejected and example.rejected.dump(),
    }


def _turn(source: str, messages: Sequence[Any], n_before: int) -> str:
    number = 1 + sum(each["role"] == "assistant" for each in messages[:n_before])
    return f"{source} turn {number}"
