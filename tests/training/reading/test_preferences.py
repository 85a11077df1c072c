"""Pairs, ranked lists and feedback, in every spelling, become the better and the worse answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.training.reading.example import Example, Skipped
from tests.training.reading.sources import read_rows, texts

USER = {"role": "user", "content": "Hi"}
GOOD = {"role": "assistant", "content": "Hello"}
POOR = {"role": "assistant", "content": "What"}
SPOKEN = {"conversations": [{"from": "human", "value": "Hi"}]}


def pairs(folder: Path, row: Any) -> list[Any]:
    return read_rows(folder, row, objective="dpo")


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "Hi", "chosen": "Hello", "rejected": "What"},
        {"prompt": [USER], "chosen": [GOOD], "rejected": [POOR]},
        {"chosen": [USER, GOOD], "rejected": [USER, POOR]},
        {"prompt": "Hi", "chosen": [USER, GOOD], "rejected": [USER, POOR]},
        {"messages": [USER], "chosen": GOOD, "rejected": POOR},
        {"instruction": "Hi", "input": "", "chosen": "Hello", "rejected": "What"},
        SPOKEN
        | {
            "chosen": {"from": "gpt", "value": "Hello"},
            "rejected": {"from": "gpt", "value": "What"},
        },
        {
            "chosen": "\n\nHuman: Hi\n\nAssistant: Hello",
            "rejected": "\n\nHuman: Hi\n\nAssistant: What",
        },
    ],
)
def test_a_pair(tmp_path: Path, row: Any) -> None:
    [example] = pairs(tmp_path, row)
    assert texts(example) == [("user", "Hi"), ("assistant", "Hello")]
    assert example.rejected.content == "What"
    assert example.rejected.role == "assistant"
    assert example.desirable is None
    under = row | {"system": "Be brief.", "category": "chat"}
    [example] = pairs(tmp_path, under)
    assert texts(example)[:2] == [("system", "Be brief."), ("user", "Hi")]
    assert example.type == "chat"


def test_a_pair_after_several_turns(tmp_path: Path) -> None:
    before = "\n\nHuman: a\n\nAssistant: b\n\nHuman: Hi\n\nAssistant: "
    [example] = pairs(tmp_path, {"chosen": before + "Hello", "rejected": before + "What"})
    assert [text for _, text in texts(example)] == ["a", "b", "Hi", "Hello"]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"chosen": "a", "rejected": "b"}, "the answers answer nothing: no prompt"),
        ({"chosen": GOOD, "rejected": POOR, "system": "a"}, "the answers answer nothing"),
        ({"prompt": "Hi", "chosen": "a", "rejected": "a"}, "the better and the worse answer are"),
        (
            {"chosen": [USER, GOOD, USER, GOOD], "rejected": [USER, POOR, USER, GOOD]},
            "chosen and rejected differ at turn 1, before the last turn",
        ),
        (
            {"chosen": [USER, GOOD], "rejected": [USER, GOOD, USER, POOR]},
            "chosen has 2 turns, rejected 4",
        ),
        ({"chosen": [USER, USER], "rejected": [USER, GOOD]}, "chosen ends with the user's turn"),
        (
            {"prompt": "Bye", "chosen": [USER, GOOD], "rejected": [USER, POOR]},
            'prompt = "Bye": chosen and rejected do not hold it',
        ),
        (
            {"messages": [USER, GOOD], "chosen": "a", "rejected": "b"},
            "an assistant's turn stands before the answers",
        ),
        ({"prompt": "Hi", "chosen": "a", "rejected": 3}, "rejected = 3; accepted: text"),
        ({"prompt": "Hi", "chosen": [], "rejected": "a"}, "chosen = []; accepted: a list of mess"),
    ],
)
def test_no_pair(tmp_path: Path, row: Any, expected: str) -> None:
    good = {"prompt": "Hi", "chosen": "a", "rejected": "b"}
    [_, bad] = read_rows(tmp_path, good, row, objective="dpo")
    assert isinstance(bad, Skipped)
    assert bad.reason.startswith(expected)


def test_a_ranked_list_is_its_neighbours(tmp_path: Path) -> None:
    row = {
        "instruction": "Hi",
        "input": "",
        "output": ["a", "b", "b", "c"],
        "history": [["x", "y"]],
    }
    first, same, last = pairs(tmp_path, row)
    assert [text for _, text in texts(first)] == ["x", "y", "Hi", "a"]
    assert (first.rejected.content, first.source) == ("b", "rows.jsonl:1 pair 1")
    assert same == Skipped("rows.jsonl:1 pair 2", "the better and the worse answer are the same")
    assert (last.messages[-1].content, last.rejected.content) == ("b", "c")
    [example] = pairs(tmp_path, {"prompt": "Hi", "answers": ["a", "b"]})
    assert (example.messages[-1].content, example.rejected.content) == ("a", "b")


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        (["a"], "answers: 1 of them; accepted: two or more"),
        (["a", 3], 'answers = ["a", 3]; accepted: a list of texts'),
        ("a", 'answers = "a"; accepted: a list of texts'),
    ],
)
def test_no_ranked_list(tmp_path: Path, answers: Any, expected: str) -> None:
    good, row = ({"prompt": "Hi", "answers": each} for each in (["a", "b"], answers))
    found = read_rows(tmp_path, good, row, objective="dpo")
    assert found[-1].reason.startswith(expected)


JUDGED: list[tuple[dict[str, Any], bool]] = [
    ({"label": True}, True),
    ({"label": 0}, False),
    ({"label": "false"}, False),
    ({"kto_tag": False}, False),
    ({"tag": "good"}, True),
    ({"tag": "bad"}, False),
    ({"rating": 1}, True),
    ({"rating": -1}, False),
]


@pytest.mark.parametrize(("label", "expected"), JUDGED)
@pytest.mark.parametrize(
    "row",
    [
        {"messages": [USER, GOOD]},
        {"prompt": "Hi", "completion": "Hello"},
        {"prompt": "Hi", "response": "Hello"},
        {"instruction": "Hi", "output": "Hello"},
    ],
)
def test_feedback(tmp_path: Path, row: Any, label: dict[str, Any], expected: bool) -> None:
    [example] = read_rows(tmp_path, row | label, objective="kto")
    assert texts(example) == [("user", "Hi"), ("assistant", "Hello")]
    assert example.desirable is expected
    assert example.rejected is None


def test_no_feedback(tmp_path: Path) -> None:
    row = {"messages": [USER, GOOD], "rating": 1}
    ends_open = {"messages": [USER, GOOD, USER], "rating": 1}
    found = read_rows(tmp_path, row, row | {"rating": 0}, row | {"rating": 5}, ends_open,
                      objective="kto")  # fmt: skip
    assert [each.reason for each in found[1:]] == [
        "rating = 0; accepted: 1, -1",
        "rating = 5; accepted: 1, -1",
        "ends with the user's turn; accepted: the assistant's",
    ]
    [example] = read_rows(
        tmp_path, row | {"up": 0}, objective="kto", columns={"label": "up"}, format="feedback"
    )
    assert example.desirable is False


def test_a_rating_on_a_scale_is_no_feedback(tmp_path: Path) -> None:
    [example] = read_rows(tmp_path, {"messages": [USER, GOOD], "rating": 4})
    assert isinstance(example, Example)
    assert example.desirable is None


def test_kto_takes_pairs_apart(tmp_path: Path) -> None:
    row = {"prompt": "Hi", "chosen": "Hello", "rejected": "What"}
    better, worse = read_rows(tmp_path, row, objective="kto")
    assert (texts(better)[1], better.desirable) == (("assistant", "Hello"), True)
    assert (texts(worse)[1], worse.desirable) == (("assistant", "What"), False)
    assert [each.source for each in (better, worse)] == [
        "rows.jsonl:1 chosen",
        "rows.jsonl:1 rejected",
    ]


def test_answers_may_be_the_json_text_of_messages(tmp_path: Path) -> None:
    """As a table without nested columns has them."""
    row = {"chosen": json.dumps([USER, GOOD]), "rejected": json.dumps([USER, POOR])}
    [pair] = read_rows(tmp_path, row, objective="dpo")
    assert texts(pair) == [("user", "Hi"), ("assistant", "Hello")]
    assert pair.rejected.content == "What"
    [pair] = read_rows(
        tmp_path, {"prompt": "a", "chosen": "[1]", "rejected": "[]"}, objective="dpo"
    )
    assert (texts(pair)[-1][1], pair.rejected.content) == ("[1]", "[]")
