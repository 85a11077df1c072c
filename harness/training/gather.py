"""Every source read and encoded into one table, with what choosing among the examples needs.

Streams: of each example only its tokens and a few digests stay in memory. Knows nothing of
weights, splits or length limits, which `mix` applies.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, Protocol

from harness.chat.encode import Row, as_sent, encode, encode_feedback, encode_preference
from harness.chat.template import ChatTokenizer
from harness.chat.wire import request_tools
from harness.errors import DataError
from harness.recipe import LoadedRecipe, Source
from harness.training.quality.duplicates import Duplicates, ExactReport
from harness.training.quality.kinds import kind_of
from harness.training.quality.normalise import prompt_group
from harness.training.reading.example import Example, Skipped
from harness.training.reading.read import open_source
from harness.training.rows import RowTable
from harness.types import Message

_TOLD_EVERY = 100


class Observer(Protocol):
    """Anything that wants to see every example once, in reading order."""

    def add(self, index: int, example: Example) -> object: ...


class SourceCounts(NamedTuple):
    """What one source of the recipe held."""

    path: str
    container: str
    shape: str
    role: str
    n_read: int
    """Examples that were read and encoded."""
    n_skipped: int
    n_rows: int = 0
    """Rows of it that are trained on, as its weight or share says; repeats counted."""


class Corpus(NamedTuple):
    """All examples of all sources, in reading order."""

    table: RowTable
    sources: tuple[SourceCounts, ...]
    source_of: array[int]
    """Example → index of its source."""
    groups: array[int]
    """Example → digest of its normalised prompt."""
    first_equal: array[int]
    """Example → the earliest one with the same text, −1 where it is the first."""
    repeats: ExactReport
    kinds: tuple[str, ...]
    kind_of: array[int]
    """Example → index in `kinds`, its instruction type."""
    skipped: tuple[Skipped, ...]
    has_system: bool
    """Whether any chat has a system message."""
    has_reasoning: bool
    """Whether any message has thoughts, beside its text or in it."""


def gather(
    loaded: LoadedRecipe,
    chat: ChatTokenizer,
    *,
    observers: Sequence[Observer] = (),
    advance: Callable[[int], None],
) -> Corpus:
    """Read and encode everything; `advance` hears how many examples more were.

    Raises DataError for a file that cannot be read, and for a row that cannot unless
    `data.on_error` is `skip`.
    """
    data, table = loaded.recipe.data, RowTable()
    source_of, groups, first_equal = array("H"), array("q"), array("q")
    duplicates = Duplicates()
    has_system = has_reasoning = False
    kinds: dict[str, int] = {}
    codes, skipped, sources = array("i"), list[Skipped](), list[SourceCounts]()
    for number, source in enumerate(data.sources):
        before = table.n_examples, len(skipped)
        opened = open_source(
            source, loaded.root, objective=loaded.recipe.train.objective, on_error=data.on_error
        )
        for found in _encoded(loaded, chat, opened.examples):
            if isinstance(found, Skipped):
                skipped.append(found)
                continue
            example, rows = found
            index = table.n_examples
            table.append(example, rows)
            source_of.append(number)
            groups.append(int.from_bytes(prompt_group(example), "big", signed=True))
            first = duplicates.add(index, example)
            first_equal.append(-1 if first is None else first)
            codes.append(kinds.setdefault(kind_of(example), len(kinds)))
            has_system = has_system or any(each.role == "system" for each in example.messages)
            has_reasoning = has_reasoning or any(map(_thinks, example.messages))
            for observer in observers:
                observer.add(index, example)
            if index % _TOLD_EVERY == _TOLD_EVERY - 1:
                advance(_TOLD_EVERY)
        counts = table.n_examples - before[0], len(skipped) - before[1]
        if not counts[0]:
            raise _nothing(source, skipped)
        sources.append(
            SourceCounts(source.path, opened.container, opened.shape, source.role, *counts)
        )
    return Corpus(
        table=table,
        sources=tuple(sources),
        source_of=source_of,
        groups=groups,
        first_equal=first_equal,
        repeats=duplicates.result(),
        kinds=tuple(kinds),
        kind_of=codes,
        skipped=tuple(skipped),
        has_system=has_system,
        has_reasoning=has_reasoning,
    )


def _encoded(
    loaded: LoadedRecipe, chat: ChatTokenizer, examples: Iterator[Example | Skipped]
) -> Iterator[tuple[Example, list[Row]] | Skipped]:
    for example in examples:
        if isinstance(example, Skipped):
            yield example
            continue
        try:
            rows = _encode(example, chat)
            yield _as_sent(example, chat), rows
        except DataError as error:
            if loaded.recipe.data.on_error == "stop":
                raise
            reason = str(error).removeprefix(example.source).lstrip(": ")
            yield Skipped(example.source, reason, error.hint)


def _thinks(message: Message) -> bool:
    return message.role == "assistant" and bool(message.reasoning or "<think>" in message.content)


def _as_sent(example: Example, chat: ChatTokenizer) -> Example:
    """The example as a request for it carries it, which is what rows are compared with later."""
    rejected = example.rejected
    return example._replace(
        messages=as_sent(example.messages, chat),
        tools=tuple(request_tools(example.tools)),
        rejected=rejected and as_sent((rejected,), chat)[0],
    )


def _encode(example: Example, chat: ChatTokenizer) -> list[Row]:
    messages, source, tools = example.messages, example.source, example.tools
    if example.rejected is not None:
        return [encode_preference(messages, example.rejected, chat, source, tools=tools)]
    if example.desirable is not None:
        return [encode_feedback(messages, example.desirable, chat, source, tools=tools)]
    return encode(messages, chat, source, tools=tools, untrained=example.untrained)


def _nothing(source: Source, skipped: list[Skipped]) -> DataError:
    why = f"; the last was {skipped[-1].source}: {skipped[-1].reason}" if skipped else ""
    return DataError(
        f"{source.path}: not one row could be used{why}",
        hint="correct the file, or set its format and columns in data.sources",
    )
