"""What the table holds of each example is what the encoder made of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.chat.encode import encode, encode_feedback, encode_preference
from harness.chat.template import load_chat
from harness.recipe import Source
from harness.training.gather import gather
from harness.training.reading.example import Example
from harness.training.reading.read import open_source
from tests.training.recipes import make_recipe, write_rows

ASKED = {"role": "user", "content": "Which colour is Mara's hat?"}
THOUGHT = {"role": "assistant", "content": "Red.", "reasoning": "Mara wears red."}
PLAIN = {"role": "assistant", "content": "Blue."}
CHATS = [
    {"messages": [ASKED, THOUGHT]},
    {"messages": [ASKED, PLAIN | {"train": False}, ASKED, THOUGHT, ASKED, PLAIN]},
]
PAIRS = [{"prompt": [ASKED], "chosen": [THOUGHT], "rejected": [PLAIN]}]
OPINIONS = [
    {"prompt": [ASKED], "completion": [THOUGHT], "label": True},
    {"prompt": [ASKED], "completion": [PLAIN], "label": False},
]


@pytest.mark.parametrize(("objective", "rows"), [("sft", CHATS), ("dpo", PAIRS), ("kto", OPINIONS)])
def test_rows_are_the_encoders(tmp_path: Path, objective: Any, rows: list[Any]) -> None:
    write_rows(tmp_path / "rows.jsonl", rows)
    loaded = make_recipe(tmp_path, train={"objective": objective}, lora={"dropout": 0})
    chat = load_chat(loaded)
    source = Source(path="rows.jsonl")
    opened = open_source(source, tmp_path, objective=objective, on_error="stop")
    expected = []
    for each in opened.examples:
        assert isinstance(each, Example)
        if each.rejected:
            expected.append(encode_preference(each.messages, each.rejected, chat, each.source))
        elif each.desirable is not None:
            expected.append(encode_feedback(each.messages, each.desirable, chat, each.source))
        else:
            expected += encode(each.messages, chat, each.source, untrained=each.untrained)
    corpus = gather(loaded, chat, advance=lambda n: None)
    n_rows = sum(len(corpus.table.rows_of(i)) for i in range(corpus.table.n_examples))
    assert [corpus.table.row(i) for i in range(n_rows)] == expected
    assert any("Mara wears red." in chat.decode(row.input_ids) for row in expected)
    assert json.loads(json.dumps(expected[0].messages[0].dump())) == ASKED
    assert corpus.has_reasoning
