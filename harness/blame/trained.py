"""The rows that a version was trained on: where each came from, in words and as token ids.

They are read from the training's directory; a few bytes of each stay in memory. Loads no model.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from itertools import takewhile
from typing import Any, NamedTuple, overload

from harness import jsonio
from harness.errors import HarnessError
from harness.store import Store
from harness.training.job import JobDir
from harness.training.origin import Decode, decoder, own_job
from harness.types import Manifest

Ids = list[int]
_AGAIN = "train it again (harness round RECIPE), or take the version's home with its training/"


class TrainedRow(NamedTuple):
    """One training row in words."""

    place: int
    """In the order of the training's rows, from 0."""
    source: str
    """file:line and the first assistant turn that it trains."""
    prompt: str
    """Without what the prompts of all rows begin and end with: the template's frame."""
    answer: str
    """What follows the prompt, without its stop token; of a pair the chosen answer."""


class TrainedRows(Sequence[TrainedRow]):
    """The rows of one training; each is read from its file when it is asked for."""

    def __init__(self, job: JobDir, digest: str, decode: Decode, stop_ids: Sequence[int]) -> None:
        self.job = job
        self.digest = digest
        """SHA-256 of the file of rows."""
        self.lengths = array("q")
        """Tokens that each row takes in a batch: of a pair twice its longer side."""
        self.has_pairs = False
        self._decode, self._stop_ids = decode, frozenset(stop_ids)
        self._starts = array("q")
        self._n_head, self._n_tail = self._scan()

    def __len__(self) -> int:
        return len(self._starts)

    def __iter__(self) -> Iterator[TrainedRow]:
        return map(self.__getitem__, range(len(self)))

    @overload
    def __getitem__(self, index: int) -> TrainedRow: ...
    @overload
    def __getitem__(self, index: slice) -> list[TrainedRow]: ...
    def __getitem__(self, index: int | slice) -> TrainedRow | list[TrainedRow]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        place = range(len(self))[index]
        row = self.line(place)
        n_prompt = row["n_prompt"]
        answer: Ids = row["input_ids"][n_prompt:]
        if answer and answer[-1] in self._stop_ids:
            answer = answer[:-1]
        prompt = row["input_ids"][self._n_head : max(n_prompt - self._n_tail, self._n_head)]
        words = (self._decode(ids).strip() for ids in (prompt, answer))
        return TrainedRow(place, str(row["source"]), *words)

    def line(self, place: int) -> dict[str, Any]:
        """A row as its training wrote it."""
        with self.job.rows.open("rb") as file:
            file.seek(self._starts[place])
            row: dict[str, Any] = jsonio.parse_bytes(file.readline())
        return row

    def _scan(self) -> tuple[int, int]:
        """Note where every row begins; how many tokens all prompts begin and end with alike."""
        head: Ids | None = None
        tail: Ids = []
        at = 0
        with self.job.rows.open("rb") as file:
            for data in file:
                row = jsonio.parse_bytes(data)
                self._starts.append(at)
                prompt: Ids = row["input_ids"][: row["n_prompt"]]
                n_tokens = len(row["input_ids"])
                if rejected := row.get("rejected"):
                    self.has_pairs = True
                    n_tokens = 2 * max(n_tokens, len(prompt) + len(rejected))
                self.lengths.append(n_tokens)
                head = prompt if head is None else _shared(head, prompt)
                tail = _shared(tail, prompt[::-1]) if at else prompt[::-1]
                at += len(data)
        return (len(head or ()), len(tail)) if len(self) > 1 else (0, 0)


def read_trained(store: Store, manifest: Manifest) -> TrainedRows:
    """The rows of a version. Raises HarnessError where its training's directory or base is gone,
    or where the rows are not as they were written."""
    version, job = manifest.version, own_job(store, manifest)
    if job is None or (settings := job.read()) is None:
        raise HarnessError(
            f"{version}: its training's directory in {store.home / 'training'} is gone, and the "
            "rows that it was trained on with it",
            hint=_AGAIN,
        )
    if not job.holds_rows(settings["rows"]):
        raise HarnessError(f"{job.rows}: gone, or not as {version} was trained on", hint=_AGAIN)
    decode = decoder([job], manifest.contract)
    if decode is None:
        raise HarnessError(
            f"{version}: its base {manifest.base.model!r} is not in {settings.get('base_dir')!r} "
            "any more, or has another tokenizer",
            hint="put the base back where the training found it",
        )
    return TrainedRows(job, str(settings["rows"]), decode, manifest.contract.stop_ids)


def _shared(one: Ids, other: Ids) -> Ids:
    pairs = zip(one, other, strict=False)
    return [a for a, _ in takewhile(lambda pair: pair[0] == pair[1], pairs)]
