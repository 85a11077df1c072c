"""The training process: `python -m harness.training.worker JOB_DIR`.

Trains a LoRA on rows that are already token ids and labels, then measures the evidence. Knows
nothing of recipes, chats or the store. Exits with 0 when the job is finished, 75 when it was
asked to stop and saved a checkpoint.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from harness.jsonio import read_json, read_jsonl, write_json
from harness.training.callbacks import watch_parent
from harness.training.job import COMPLETE, JobDir
from harness.training.measure import evidence
from harness.training.trainers import make_trainer

INTERRUPTED = 75


def main(path: Path) -> int:
    """Train, or go on training, the job in `path`."""
    watch_parent()
    job_dir = JobDir(path)
    job = read_json(job_dir.job)
    rows = [row for _, row in read_jsonl(job_dir.rows)]
    trainer = make_trainer(job_dir, job, rows)
    trainer.train(resume_from_checkpoint=_newest_complete(job_dir.checkpoints))
    if trainer.state.global_step < job["n_steps"]:
        return INTERRUPTED
    trainer.model.save_pretrained(job_dir.adapter, save_embedding_layers=False)
    write_json(job_dir.probes, evidence(trainer.model, rows, job["probes"]))
    return 0


def _newest_complete(checkpoints: Path) -> str | None:
    """The last whole checkpoint; halves of others are deleted."""
    found = sorted(checkpoints.glob("checkpoint-*"), key=lambda each: int(each.name[11:]))
    whole = [each for each in found if (each / COMPLETE).exists()]
    for each in found:
        if each not in whole:
            shutil.rmtree(each)
    return str(whole[-1]) if whole else None


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
