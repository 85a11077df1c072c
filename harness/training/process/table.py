"""The rows of a job as a table that is mapped into memory, however many they are.

Part of the training process: imports pyarrow and datasets. Knows nothing of trainers.
"""

from __future__ import annotations

import os
import time
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json
from datasets import Dataset

from harness.training.job import JobDir

_IDS = pa.list_(pa.int32())
_TYPES = {"input_ids": _IDS, "labels": _IDS, "n_prompt": pa.int32(), "source": pa.string()}
_MORE = {"rejected": _IDS, "desirable": pa.bool_()}
_BLOCK = 1 << 24
"""Bytes of JSON parsed at once; no line is longer."""
_POLL_S = 0.1


def open_rows(job: JobDir) -> Dataset:
    """The rows, a column for each name in rows.jsonl; preference and feedback rows also as
    `prompt_ids` and `completion_ids`. The first process makes the table, the others wait for
    it."""
    first = os.environ.get("RANK", "0") == "0"
    if first and not job.table.exists():
        _convert(job)
    while not job.table.exists():
        time.sleep(_POLL_S)
    return Dataset.from_file(str(job.table))


def lengths(rows: Dataset) -> list[int]:
    """Tokens of every row: the prompt and the longer of its answers."""
    columns = rows.data.table
    n_tokens = pc.list_value_length(columns["input_ids"])
    if "rejected" in columns.column_names:
        n_rejected = pc.list_value_length(columns["rejected"])
        n_tokens = pc.max_element_wise(n_tokens, pc.add(columns["n_prompt"], n_rejected))
    return [int(each) for each in n_tokens.to_numpy()]


def _convert(job: JobDir) -> None:
    with job.rows.open("rb") as file:
        line = file.readline()
    names = _TYPES | {name: kind for name, kind in _MORE.items() if f'"{name}":'.encode() in line}
    reader = pa.json.open_json(
        job.rows,
        read_options=pa.json.ReadOptions(block_size=_BLOCK),
        parse_options=pa.json.ParseOptions(explicit_schema=pa.schema(names)),
    )
    change = _split if len(names) > len(_TYPES) else _same
    schema = change(pa.RecordBatch.from_pylist([], reader.schema)).schema
    unfinished = job.table.with_suffix(".part")
    with pa.OSFile(str(unfinished), "wb") as file, pa.ipc.new_stream(file, schema) as table:
        for batch in reader:
            table.write_batch(change(batch))
    unfinished.replace(job.table)


def _same(batch: pa.RecordBatch) -> pa.RecordBatch:
    return batch


def _split(batch: pa.RecordBatch) -> pa.RecordBatch:
    """`input_ids` also in two columns: the prompt and what follows."""
    ids = batch["input_ids"]
    n_tokens = pc.list_value_length(ids).to_numpy()
    n_prompt = batch["n_prompt"].to_numpy()
    starts = np.repeat(np.cumsum(n_tokens) - n_tokens, n_tokens)
    in_prompt = np.arange(len(starts)) - starts < np.repeat(n_prompt, n_tokens)
    values = ids.flatten().to_numpy()
    parts = {
        "prompt_ids": _ragged(values[in_prompt], n_prompt),
        "completion_ids": _ragged(values[~in_prompt], n_tokens - n_prompt),
    }
    return pa.RecordBatch.from_pydict({name: batch[name] for name in batch.schema.names} | parts)


def _ragged(values: Any, counts: Any) -> pa.ListArray:
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    return pa.ListArray.from_arrays(offsets, pa.array(values, pa.int32()))
