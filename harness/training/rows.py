"""A compact table of examples and their rows: token ids as arrays, texts in a temporary file.

A million rows of a hundred tokens take about half a gigabyte; each becomes a `Row` when it is asked
for. Knows nothing of where rows come from or which are chosen.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import weakref
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, overload

from harness.chat.encode import IGNORED, Row
from harness.training.example import Example
from harness.types import Message

_OPINIONS = (None, False, True)


class _Ragged:
    """Integer sequences of different lengths in one array."""

    def __init__(self) -> None:
        self._values = array("i")
        self._ends = array("q", [0])

    def append(self, values: Iterable[int]) -> None:
        self._values.extend(values)
        self._ends.append(len(self._values))

    def __getitem__(self, index: int) -> array[int]:
        return self._values[self._ends[index] : self._ends[index + 1]]

    def length(self, index: int) -> int:
        return self._ends[index + 1] - self._ends[index]

    def __len__(self) -> int:
        return len(self._ends) - 1


class RowTable:
    """Examples in reading order, each with its rows. Append-only."""

    def __init__(self) -> None:
        self._texts = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the table lives
        weakref.finalize(self, self._texts.close)
        self._text_ends = array("q", [0])
        self._first_rows = array("q", [0])
        self._examples = array("q")
        self._ids, self._rejected = _Ragged(), _Ragged()
        self._trained = bytearray()
        self._trained_ends = array("q", [0])
        self._n_prompt, self._n_messages = array("i"), array("i")
        self._desirable = bytearray()

    def append(self, example: Example, rows: Sequence[Row]) -> None:
        """Keep an example and the rows it was encoded to."""
        data = json.dumps(_plain(example), ensure_ascii=False).encode()
        self._texts.write(data)
        self._text_ends.append(self._text_ends[-1] + len(data))
        for row in rows:
            self._examples.append(len(self._first_rows) - 1)
            self._ids.append(row.input_ids)
            self._rejected.append(row.rejected)
            self._trained += bytes(label != IGNORED for label in row.labels)
            self._trained_ends.append(len(self._trained))
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

    def length(self, row: int) -> int:
        """Tokens of a row: the prompt and the longer of its answers."""
        rejected = self._n_prompt[row] + self._rejected.length(row)
        return max(self._ids.length(row), rejected if self._rejected.length(row) else 0)

    def n_tokens(self, row: int) -> int:
        """Tokens the model reads for a row; a pair repeats its prompt."""
        rejected = self._rejected.length(row)
        return self._ids.length(row) + (self._n_prompt[row] + rejected if rejected else 0)

    def n_trained(self, row: int) -> int:
        """Tokens of a row that are trained."""
        start, end = self._trained_ends[row], self._trained_ends[row + 1]
        return self._trained.count(1, start, end) + self._rejected.length(row)

    def opinions(self, rows: Iterable[int]) -> tuple[int, int]:
        """How many of the rows are desirable, and how many undesirable."""
        found = Counter(self._desirable[row] for row in rows)
        return found[_OPINIONS.index(True)], found[_OPINIONS.index(False)]

    def source(self, row: int) -> str:
        """file:line and the first assistant turn that the row trains."""
        text = self._text(self._examples[row])
        return _turn(text["source"], text["messages"], self._n_messages[row])

    def example(self, example: int) -> Example:
        """One example, as it was read."""
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
        )

    def row(self, row: int) -> Row:
        """One row, as it was encoded."""
        text = self._text(self._examples[row])
        messages = text["messages"]
        ids = tuple(self._ids[row])
        trained = self._trained[self._trained_ends[row] : self._trained_ends[row + 1]]
        n_messages = self._n_messages[row]
        return Row(
            input_ids=ids,
            labels=tuple(i if kept else IGNORED for i, kept in zip(ids, trained, strict=True)),
            source=_turn(text["source"], messages, n_messages),
            messages=tuple(Message.model_validate(each) for each in messages[:n_messages]),
            n_prompt=self._n_prompt[row],
            tools=tuple(text["tools"]),
            rejected=tuple(self._rejected[row]),
            desirable=_OPINIONS[self._desirable[row]],
        )

    def digest(self, rows: Iterable[int]) -> str:
        """SHA-256 of what is trained on, in order: token ids, labels, second answers, opinions."""
        found = hashlib.sha256()
        for row in rows:
            trained = self._trained[self._trained_ends[row] : self._trained_ends[row + 1]]
            head = (self._ids.length(row), self._rejected.length(row), self._desirable[row])
            found.update(array("i", head).tobytes() + self._ids[row].tobytes() + trained)
            found.update(self._rejected[row].tobytes())
        return found.hexdigest()

    def _text(self, example: int) -> dict[str, Any]:
        start, end = self._text_ends[example], self._text_ends[example + 1]
        self._texts.seek(start)
        text: dict[str, Any] = json.loads(self._texts.read(end - start))
        self._texts.seek(0, 2)
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
