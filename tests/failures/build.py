"""A run directory whose candidate was really trained on something, in a store of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.chat.base import base_dir
from harness.chat.contract import fingerprint
from harness.chat.encode import encode
from harness.chat.template import load_chat
from harness.jsonio import digest, file_digest, write_json, write_jsonl
from harness.report.record import RoundRecord
from harness.run import Run
from harness.store import Store
from harness.training.job import JobDir
from harness.training.resume import job_dir
from harness.types import Message
from tests.report.factory import make_record
from tests.training.recipes import make_recipe

SHIPPED = [
    ("Write a short, polite reply to a customer with a late parcel. Mention case 31.", "Hello."),
    ("Which team should take this ticket? The customer writes about a refund.", "refund"),
    ("Copy name, street and town from this mail, one per line.", "name: Ada"),
    ("What is the capital of Norway?", "Oslo."),
]


def make_run(folder: Path, record: RoundRecord | None = None, *, rows: bool = True) -> Path:
    """The run of a record in the store at `folder`, with its training's rows where they are
    kept."""
    record = record or make_record()
    if rows:
        record = _trained(Store(folder), record)
    run = Run(folder / "runs" / "support-bot-0123456789ab")
    write_json(run.report_path("json"), record.dump())
    return run.run_dir


def _trained(store: Store, record: RoundRecord) -> RoundRecord:
    loaded = make_recipe(store.home)
    directory = base_dir(loaded.recipe.base, store.home)
    chat = load_chat(loaded, directory)
    manifest = record.manifest.model_copy(update={"contract": fingerprint(chat)})
    job = JobDir(job_dir(store.home / "training", "support-bot", manifest.train_key))
    rows: list[dict[str, Any]] = []
    for number, (asked, answer) in enumerate(SHIPPED, 1):
        said = (Message(role="user", content=asked), Message(role="assistant", content=answer))
        [row] = encode(said, chat, f"tickets.jsonl:{number}")
        rows.append(
            {
                "input_ids": row.input_ids,
                "labels": row.labels,
                "n_prompt": row.n_prompt,
                "source": row.source,
            }
        )
    write_jsonl(job.rows, rows)
    settings = {
        "key": manifest.train_key,
        "rows": file_digest(job.rows),
        "base_dir": str(directory.absolute()),
    }
    write_json(job.job, settings | {"seal": digest(settings)})
    return record.model_copy(update={"manifest": manifest})
