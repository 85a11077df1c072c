"""Every training row of a candidate beside every item that it made worse, measured once.

What is measured lies in the store's blame/; the same question is answered from there, and one that
was interrupted goes on where it was.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from harness.blame.asked import Wrong, encoded, require_regressed
from harness.blame.influence import Influence
from harness.blame.kept import Kept
from harness.blame.passes import MOST_BYTES, N_SAMPLE, N_SUMS, Passes
from harness.blame.point import Point, choose_point
from harness.blame.sequences import Predicted
from harness.blame.trained import TrainedRows, read_trained
from harness.chat.contract import drift, fingerprint
from harness.chat.template import ChatTokenizer
from harness.errors import ContractError, EnvironmentFault, HarnessError
from harness.jsonio import locked
from harness.outcome import read_record
from harness.progress import Reporter
from harness.report.record import RoundRecord
from harness.store import Store, base_digest
from harness.types import Manifest

METHOD = 1
"""Raised where the numbers would be others."""


class _Question(NamedTuple):
    record: RoundRecord
    manifest: Manifest
    wrong: list[Wrong]
    point: Point
    rows: TrainedRows


def measure(run_dir: Path, store: Store, reporter: Reporter) -> Influence:
    """The influence of the candidate's training rows on the items of a run that regressed.

    Raises NothingRegressed where there are none; HarnessError where the candidate or the baseline
    is not in the store, or the training's rows or the base are gone or changed.
    """
    question = _ask(run_dir, store)
    kept = Kept(store.home / "blame", _about(question))
    size = len(question.rows), len(question.wrong)
    found = kept.result(*size)
    if found is None:
        told = "  another process measures the same: waiting for it to end"
        with locked(kept.lock, lambda: reporter.note(told)):
            if (found := kept.result(*size)) is None:
                _measure(question, kept, store, reporter)
                found = kept.result(*size)
    if found is None:
        raise HarnessError(
            f"{kept.path}: what was measured does not read back",
            hint="check that disk, remove that directory and run the same command again",
        )
    return Influence(
        rows=question.rows,
        items=tuple(each.item.id for each in question.wrong),
        products=found.products,
        losses=found.losses,
        point=question.point.name,
        why_there=question.point.why,
        exact=found.exact,
    )


def _ask(run_dir: Path, store: Store) -> _Question:
    record = read_record(run_dir)
    wrong = require_regressed(record)
    candidate = wrong[0].generation.model
    if "@" not in candidate:
        raise HarnessError(
            f"{record.run_id}: its candidate {candidate!r} is no adapter, so no rows taught it"
        )
    manifest = store.manifest(candidate)
    point = choose_point(record, manifest, store)
    return _Question(record, manifest, wrong, point, read_trained(store, manifest))


def _about(question: _Question) -> dict[str, Any]:
    """All that the numbers depend on."""
    system, point = question.record.recipe.eval.system, question.point
    return {
        "method": METHOD,
        "candidate": question.manifest.version,
        "point": point.name,
        "rows": question.rows.digest,
        "base": question.manifest.base.weights,
        "system": system,
        "answers": [
            [each.item.id, *each.generation.earlier, each.generation.text, each.generation.state]
            for each in question.wrong
        ],
        "bounds": [MOST_BYTES, N_SAMPLE, N_SUMS],
    }


def _measure(question: _Question, kept: Kept, store: Store, reporter: Reporter) -> None:
    """The rows' passes through the model. Raises EnvironmentFault where the memory is too
    small."""
    job = question.rows.job.read() or {}
    base_dir = Path(job["base_dir"])
    reporter.stage("load")
    if base_digest(base_dir) != question.manifest.base.weights:
        raise HarnessError(
            f"{base_dir}: not the base that {question.manifest.version} was trained on",
            hint="put that base back",
        )
    queries = _queries(question, base_dir, store)
    try:
        passes = Passes(job, question.point, question.rows, kept, reporter)
        reporter.done(f"{question.manifest.base.model}, LoRA of {question.point.name}")
        passes.measure(queries)
    except (RuntimeError, MemoryError) as error:
        if not _is_out_of_memory(error):
            raise
        raise EnvironmentFault(
            f"too little memory: {error}",
            hint="stop what else takes it; the same command goes on where it was",
        ) from None


def _is_out_of_memory(error: Exception) -> bool:
    """Of a GPU torch has a class of its own, of this machine's memory only words."""
    is_named = type(error).__name__ in ("OutOfMemoryError", "MemoryError")
    return is_named or "allocate memory" in str(error)


def _queries(question: _Question, base_dir: Path, store: Store) -> list[Predicted]:
    manifest = question.manifest
    path = store.version_dir(manifest.version) / "chat_template.jinja"
    source = path.read_text(encoding="utf-8")
    chat = ChatTokenizer(base_dir, template=source).as_trained(manifest.contract, source)
    if changed := drift(manifest.contract, fingerprint(chat)):
        raise ContractError(
            f"{manifest.version}: chats are not rendered as it was trained: {'; '.join(changed)}"
        )
    return [encoded(each, question.record, manifest, chat) for each in question.wrong]
