"""What a round took and what proves it, read from the directories of its run and of its training.

What is not there, or not as it was written, is left out: no page is worth a lost round. Computes
nothing of the decision and knows nothing of pages.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path, PurePath
from typing import Any, Final, NamedTuple, TypeVar

from pydantic import ValidationError

from harness.errors import HarnessError
from harness.jsonio import read_json, read_jsonl
from harness.report.record import RoundRecord
from harness.run import Run
from harness.store import Store
from harness.training.job import JobDir
from harness.training.origin import own_job
from harness.types import (
    CurvePoint,
    DataReport,
    DataSource,
    JudgeHealth,
    Manifest,
    ProbeReport,
    Record,
    Spending,
    StageTime,
    Training,
)

MAX_POINTS: Final = 200
"""Of a training's curve; a longer one keeps the means of equal parts."""

R = TypeVar("R", bound=Record)
_UNREADABLE = (OSError, HarnessError, ValidationError, ValueError, TypeError, KeyError)


def with_account(
    record: RoundRecord, run: Run, store: Store, stages: Sequence[StageTime]
) -> RoundRecord:
    """The record with everything that its run and its candidate's training say of themselves.
    `stages`: what the command that made it has done; those before its last check are of another
    round."""
    rules = {rule.rule for rule in record.decision.rules}
    # Of an earlier making of this run there may be more, and the decision does not stand on it.
    is_proven, is_examined = "probe" in rules, any(each.startswith("judge ") for each in rules)
    job = _job(store, record.manifest)
    told = {
        "stages": tuple(_of_this_round(stages)),
        "spending": _read(run.spending_path, Spending),
        "proof": _read(run.probe_path, ProbeReport) if is_proven else None,
        "health": _read(run.health_path, JudgeHealth) if is_examined else None,
        "data": _data(record.manifest, run.data_path, job),
        "training": _training(job) if job else None,
        "packages": _packages(run.environment_path),
        "ancestors": tuple(_ancestors(store, record.manifest)),
    }
    return record.model_copy(update=told)


def _of_this_round(stages: Sequence[StageTime]) -> Sequence[StageTime]:
    checks = [place for place, each in enumerate(stages) if each.name == "check"]
    return stages[checks[-1] if checks else 0 :]


def _read(path: Path, kind: type[R]) -> R | None:
    try:
        return kind.model_validate(read_json(path))
    except _UNREADABLE:
        return None


def _job(store: Store, manifest: Manifest) -> JobDir | None:
    try:
        return own_job(store, manifest)
    except _UNREADABLE:
        return None


def _packages(path: Path) -> dict[str, str] | None:
    """What asked and judged: Python and packages, of env.json; nothing of the machine."""
    try:
        value = read_json(path)
        return {"python": str(value["python"])} | {
            str(name): str(version) for name, version in value["packages"].items()
        }
    except (*_UNREADABLE, AttributeError):
        return None


def _ancestors(store: Store, manifest: Manifest) -> Iterator[str]:
    """The versions that an adapter was continued from, the nearest first, as far as they are in
    the store."""
    parent = manifest.parent
    while parent:
        yield parent
        try:
            parent = store.manifest(parent).parent
        except _UNREADABLE:
            return


def _data(manifest: Manifest, data_path: Path, job: JobDir | None) -> DataReport | None:
    """Of the run, or else of the training: whichever is of the rows that the manifest names."""
    for path in (data_path, *([job.path / "data.json"] if job else [])):
        try:
            value = read_json(path)
            if value["data"] == manifest.data:
                return DataReport(
                    counts=value["counts"], sources=tuple(map(_source, value["sources"]))
                )
        except _UNREADABLE:
            continue
    return None


def _source(value: Mapping[str, Any]) -> DataSource:
    path = PurePath(value["path"])
    return DataSource(
        path=path.name if path.is_absolute() else str(path),
        role=value["role"],
        n_read=value["n_read"],
        n_skipped=value["n_skipped"],
        n_rows=value["n_rows"],
    )


def _training(job: JobDir) -> Training | None:
    settings = job.read()
    if settings is None:
        return None
    try:
        told = _told(job.events)
        return Training(
            objective=settings["train"].get("objective", "sft"),
            lora=settings["lora"],
            train=settings["train"],
            n_steps=settings["n_steps"],
            n_tokens=told.n_tokens,
            seconds=told.seconds,
            curve=_thinned(told.points),
        )
    except (*_UNREADABLE, AttributeError):
        return None


class _Event(NamedTuple):
    """One line of events.jsonl that tells of a loss, and where its process began."""

    step: int
    loss: float
    lr: float
    n_tokens: int
    elapsed_s: float


class _Told(NamedTuple):
    points: list[CurvePoint]
    n_tokens: int | None
    seconds: float | None


def _told(path: Path) -> _Told:
    """The curve and the sums of all processes that worked on a training. Steps that a process did
    again, after one that was killed had done them, are those of the later."""
    points: list[CurvePoint] = []
    n_tokens, seconds, starts = 0, 0.0, list[int]()
    for start, events in _processes(path):
        starts.append(start)
        points = [each for each in points if each.step <= start]
        begun = _Event(start, 0.0, 0.0, 0, 0.0)
        points += [_point(one, other) for one, other in pairwise([begun, *events])]
        last = events[-1] if events else begun
        n_tokens, seconds = n_tokens + last.n_tokens, seconds + last.elapsed_s
    whole = starts[:1] == [0]
    return _Told(points, n_tokens if whole else None, round(seconds, 3) if whole else None)


def _processes(path: Path) -> Iterator[tuple[int, list[_Event]]]:
    """(step at which it began, what it told) of each process, in order."""
    start, events, is_begun = 0, list[_Event](), False
    for _, value in read_jsonl(path) if path.is_file() else ():
        if value["event"] == "begin":
            if is_begun:
                yield start, events
            start, events, is_begun = int(value["step"]), [], True
        elif value["event"] == "log":
            found = [float(value[key]) for key in ("loss", "lr", "elapsed_s")]
            if all(map(math.isfinite, found)):
                loss, lr, elapsed_s = found
                events.append(_Event(value["step"], loss, lr, value["n_tokens"], elapsed_s))
    if is_begun:
        yield start, events


def _point(before: _Event, event: _Event) -> CurvePoint:
    n_tokens, seconds = event.n_tokens - before.n_tokens, event.elapsed_s - before.elapsed_s
    speed = round(n_tokens / seconds, 1) if seconds > 0 and n_tokens >= 0 else None
    return CurvePoint(step=event.step, loss=round(event.loss, 6), lr=event.lr, tokens_per_s=speed)


def _thinned(points: Sequence[CurvePoint]) -> tuple[CurvePoint, ...]:
    """At most MAX_POINTS, each the mean of as many neighbours at the step of the last of them."""
    if len(points) <= MAX_POINTS:
        return tuple(points)
    size = math.ceil(len(points) / MAX_POINTS)
    parts = [points[place : place + size] for place in range(0, len(points), size)]
    return tuple(_mean(part) for part in parts)


def _mean(part: Sequence[CurvePoint]) -> CurvePoint:
    speeds = [each.tokens_per_s for each in part if each.tokens_per_s is not None]
    return CurvePoint(
        step=part[-1].step,
        loss=round(math.fsum(each.loss for each in part) / len(part), 6),
        lr=part[-1].lr,
        tokens_per_s=round(math.fsum(speeds) / len(speeds), 1) if speeds else None,
    )
