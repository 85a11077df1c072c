"""The rows that two versions were trained on, read from their trainings' directories.

A few dozen bytes of each row are kept; the examples are read again. Rows that are not as their
training wrote them are not compared.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from harness import jsonio
from harness.diff.parts import DataPart, Example
from harness.diff.rows import Match, Place, match
from harness.errors import DataError
from harness.store import Store
from harness.training.job import JobDir
from harness.training.origin import Decode, decoder, own_job
from harness.types import ChatContract, Manifest

N_EXAMPLES = 3
_GONE = "the rows of {} are gone: no training directory has them as they were written"
_OTHER_TOKENS = "their chats became tokens by other templates or tokenizers: no row can be matched"


class _Side(NamedTuple):
    job: JobDir | None
    manifest: Manifest

    def has_rows(self) -> bool:
        settings = self.job.read() if self.job else None
        return bool(self.job and settings and self.job.holds_rows(settings["rows"]))


def data_part(store: Store, before: Manifest, after: Manifest) -> DataPart:
    """Counts and up to three examples of each; why not, where rows cannot be compared."""
    old, new = (_Side(own_job(store, each), each) for each in (before, after))
    part = DataPart(
        n_before=before.n_rows,
        n_after=after.n_rows,
        sources_before=_sources(old.job),
        sources_after=_sources(new.job),
    )
    if _rendering(before.contract) != _rendering(after.contract):
        return part.model_copy(update={"unknown": _OTHER_TOKENS})
    if before.data == after.data:
        none = {"n_added": 0, "n_removed": 0, "n_changed": 0}
        return part.model_copy(update={"n_same": before.n_rows, "same_order": True} | none)
    if gone := [each.manifest.version for each in (old, new) if not each.has_rows()]:
        return part.model_copy(update={"unknown": _GONE.format(" and ".join(gone))})
    assert old.job
    assert new.job
    try:
        found = match(_places(old.job.rows), _places(new.job.rows))
        return part.model_copy(update=_told(found, old.job, new.job, after.contract))
    except (OSError, DataError, LookupError, TypeError, ValueError, AttributeError) as error:
        return part.model_copy(update={"unknown": f"the rows cannot be read: {error}"})


def _rendering(contract: ChatContract) -> tuple[Any, ...]:
    return contract.template, contract.kwargs, contract.tokenizer, contract.special


def _sources(job: JobDir | None) -> dict[str, int]:
    """As data.json has them; empty where that is lost."""
    try:
        sources = jsonio.read_json(job.path / "data.json")["sources"] if job else ()
        return {str(each["path"]): int(each["n_rows"]) for each in sources}
    except (OSError, DataError, KeyError, TypeError, ValueError):
        return {}


def _places(path: Path) -> list[Place]:
    return [_place(line, row) for line, row in jsonio.read_jsonl(path)]


def _place(line: int, row: dict[str, Any]) -> Place:
    trained = {key: value for key, value in row.items() if key != "source"}
    prompt = row["input_ids"][: row["n_prompt"]]
    content, asked = (bytes.fromhex(jsonio.digest(each)[:32]) for each in (trained, prompt))
    return Place(content, asked, line)


def _told(found: Match, old: JobDir, new: JobDir, contract: ChatContract) -> dict[str, Any]:
    added, removed = found.added[:N_EXAMPLES], found.removed[:N_EXAMPLES]
    changed = found.changed[:N_EXAMPLES]
    old_rows = _read(old.rows, [*removed, *(pair[0] for pair in changed)])
    new_rows = _read(new.rows, [*added, *(pair[1] for pair in changed)])
    decode = decoder((new, old), contract) if old_rows or new_rows else None
    return {
        "n_same": found.n_same,
        "n_added": len(found.added),
        "n_removed": len(found.removed),
        "n_changed": len(found.changed),
        "added": tuple(_example(None, new_rows[each.line], decode) for each in added),
        "removed": tuple(_example(old_rows[each.line], None, decode) for each in removed),
        "changed": tuple(
            _example(old_rows[one.line], new_rows[other.line], decode) for one, other in changed
        ),
    }


def _read(path: Path, places: Iterable[Place]) -> dict[int, dict[str, Any]]:
    wanted = {each.line for each in places}
    if not wanted:
        return {}
    return {line: row for line, row in jsonio.read_jsonl(path) if line in wanted}


def _example(
    old: dict[str, Any] | None, new: dict[str, Any] | None, decode: Decode | None
) -> Example:
    row = new or old or {}
    return Example(
        before=str(old["source"]) if old else None,
        after=str(new["source"]) if new else None,
        prompt=decode(row["input_ids"][: row["n_prompt"]]) if decode else None,
        answer_before=_answer(old, decode),
        answer_after=_answer(new, decode),
    )


def _answer(row: dict[str, Any] | None, decode: Decode | None) -> str | None:
    """What is trained, in words; of a pair also what is rejected."""
    if row is None or decode is None:
        return None
    text = decode(row["input_ids"][row["n_prompt"] :])
    if row.get("rejected"):
        text += f" rather than {decode(row['rejected'])}"
    if row.get("desirable") is not None:
        text += f" ({'' if row['desirable'] else 'un'}desirable)"
    return text
