"""Real files, not made for us: each is read whole, or refused in one clear line."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from harness.errors import DataError
from harness.recipe.training import Objective
from harness.training.reading.chats import is_placeholder
from harness.training.reading.example import Example, Skipped
from tests.training.reading.sources import SHARED, opened, read

pytestmark = pytest.mark.skipif(not SHARED.is_dir(), reason="the shared files are not here")
TRAIN, MESSY = SHARED / "train", SHARED / "messy"
READ: list[tuple[str, Objective, str, int]] = [
    ("alpaca/alpaca_5000.json", "sft", "alpaca", 5000),
    ("alpaca/alpaca_en_demo.json", "sft", "alpaca", 999),
    ("alpaca/alpaca_zh_demo.json", "sft", "alpaca", 1000),
    ("chat/sharegpt_identity.json", "sft", "sharegpt", 500),
    ("chat/tinker_conversations.jsonl", "sft", "messages", 128),
    ("chat/verifiers_wordle_gpt-5-mini.jsonl", "sft", "prompt", 15),
    ("dolly/dolly_3k.json", "sft", "alpaca", 2996),
    ("llamafactory_demo/dpo_en_demo.json", "dpo", "preference", 300),
    ("llamafactory_demo/dpo_en_demo.json", "kto", "preference", 600),
    ("llamafactory_demo/glaive_toolcall_en_demo.json", "sft", "sharegpt", 300),
    ("llamafactory_demo/identity.json", "sft", "alpaca", 91),
    ("llamafactory_demo/kto_en_demo.json", "kto", "feedback", 300),
    ("oasst_zh/oaast_sft_zh.json", "sft", "alpaca", 766),
    ("self_instruct/seed_tasks.jsonl", "sft", "alpaca", 175),
    ("tiny/chat_tiny.json", "sft", "sharegpt", 1),
    ("tiny/hh_rlhf_tiny.json", "dpo", "preference", 1),
    ("tiny/instruct_tiny.json", "sft", "alpaca", 2),
]


@pytest.mark.parametrize(("name", "objective", "shape", "n_examples"), READ)
def test_training_files_are_read_whole(
    name: str, objective: Objective, shape: str, n_examples: int
) -> None:
    assert opened(TRAIN / name, objective).shape == shape
    examples = read(TRAIN / name, objective)
    assert len(examples) == n_examples
    assert len({each.source for each in examples}) == n_examples
    assert {each.messages[-1].role for each in examples} == {"assistant"}


def test_tool_calls_of_glaive_are_calls() -> None:
    examples = read(TRAIN / "llamafactory_demo" / "glaive_toolcall_en_demo.json")
    turns = Counter(
        "call" if turn.tool_calls else turn.role for each in examples for turn in each.messages
    )
    assert turns == {"user": 746, "assistant": 746, "call": 211, "tool": 211}
    calling = [each for each in examples if any(turn.tool_calls for turn in each.messages)]
    assert calling
    assert all(tool["type"] == "function" for each in calling for tool in each.tools)


def test_ranked_answers_that_are_the_same_are_no_pairs() -> None:
    path = TRAIN / "oasst_zh" / "oaast_rm_zh.json"
    found = list(opened(path, "dpo", "skip").examples)
    same = [each for each in found if isinstance(each, Skipped)]
    assert len(same) == 6
    assert {each.reason for each in same} == {"the better and the worse answer are the same"}
    assert len(found) - len(same) == 1212
    with pytest.raises(DataError, match=r"oaast_rm_zh\.json:\d+ pair 1: the better and the worse"):
        read(path, "dpo")


def test_placeholders_are_left_out_of_the_prompt() -> None:
    """60 rows in 19 spellings say that there is no input, and three say N/A or None."""
    path = TRAIN / "alpaca" / "alpaca_5000.json"
    rows = json.loads(path.read_text())
    empty = [place for place, row in enumerate(rows) if is_placeholder(row["input"])]
    assert len(empty) == 63
    assert len({rows[place]["input"] for place in empty}) == 21
    examples = read(path)
    for place in empty:
        assert examples[place].messages[0].content == rows[place]["instruction"]


def test_a_folder_lists_its_files_but_is_no_data() -> None:
    with pytest.raises(DataError, match=r"dataset_info\.json:1: no known columns; seen: identity,"):
        read(TRAIN / "llamafactory_demo" / "dataset_info.json")


QA = {"prompt": "question", "completion": "answer"}
IDEAL = {"prompt": "input", "completion": "ideal"}
REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("atpl_bad_rows.jsonl", {}, ":1: no known columns; seen: input, ideal"),
    ("dataset_info_missing_comma.json", {}, ":642: not JSON: Expecting ',' delimiter"),
    ("dummy_conversation_mergeconflict.json", {}, ":1: a merge conflict's marker: '<<<<<<< HEAD'"),
    ("gbk_3_rows.jsonl", {}, ":1: byte 0xd6 is not UTF-8; it looks like GB18030"),
    ("gsm8k_badline120_rows_1-660.jsonl", QA, ":120: not JSON: "),
    ("helpful-base_test.jsonl.gz", {}, ":1: a git-lfs pointer to the file of 875191 bytes"),
    ("jsonl_named_json.json", {}, ":1: no known columns; seen: content, answer, steps"),
    ("mt_bench_question_crlf.jsonl", {}, ":1: no known columns; seen: question_id, category"),
    ("one_bad_row_of_80.jsonl", {"type": "category"}, ":1: no known columns; seen: question_id"),
    ("openai_evals_coqa_multi_system.jsonl", IDEAL, ':1: completion[0] = "A: Naples"; accepted'),
    ("prose_first_line.jsonl", {}, ":1: not JSON: Expecting value (column 1): 'Your Data"),
    ("unquoted_keys.jsonl", {}, ":1: not JSON: Expecting property name enclosed"),
    ("utf16_metrics.json", {}, ": UTF-16LE; accepted: UTF-8"),
    ("utf8_bom_crlf.yaml", {}, ":1: not JSON: Expecting value (column 1): 'every_nth_word:'"),
]


@pytest.mark.parametrize(("name", "columns", "expected"), REFUSED)
def test_messy_files_are_refused_in_one_line(
    name: str, columns: dict[str, str], expected: str
) -> None:
    with pytest.raises(DataError) as caught:
        read(MESSY / name, columns=columns)
    assert str(caught.value).startswith(name + expected)
    assert "\n" not in str(caught.value)
    assert caught.value.hint


MAPPED: list[tuple[str, dict[str, str], int, list[str]]] = [
    ("gsm8k_badline120_rows_1-660.jsonl", QA, 659, ["120"]),
    (
        "jsonl_named_json.json",
        {"prompt": "content", "completion": "answer"},
        8,
        [],
    ),
    (
        "atpl_bad_rows.jsonl",
        IDEAL,
        1,
        [str(line) for line in range(2, 16)],
    ),
]


@pytest.mark.parametrize(("name", "columns", "n_read", "bad_lines"), MAPPED)
def test_messy_files_are_read_with_a_mapping_and_their_bad_lines_skipped(
    name: str, columns: dict[str, str], n_read: int, bad_lines: list[str]
) -> None:
    found = list(opened(MESSY / name, on_error="skip", columns=columns).examples)
    assert sum(isinstance(each, Example) for each in found) == n_read
    bad = [each.source for each in found if isinstance(each, Skipped)]
    assert bad == [f"{name}:{line}" for line in bad_lines]


def test_a_blank_turn_is_left_for_the_lint_to_find() -> None:
    [example] = read(MESSY / "axolotl_conversation.missingturns.json")
    assert example.messages[1].content == ""


def test_every_messy_file_is_named_here() -> None:
    named = {name for name, *_ in REFUSED} | {"axolotl_conversation.missingturns.json"}
    assert {Path(path).name for path in MESSY.iterdir()} == named
