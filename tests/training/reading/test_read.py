"""Sources are read row by row, or refused with place, value and next step."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import DataError
from harness.jsonio import NotJson, canonical, parse_json
from harness.recipe import Source
from harness.recipe.training import Objective
from harness.training.reading.example import Example, Skipped
from harness.training.reading.read import open_source
from harness.training.reading.shapes import ACCEPTED, COLUMNS
from tests.training.reading.sources import ALPACA, CHAT, PAIR, jsonl, opened, read, texts, write

USER = {"role": "user", "content": "Hi"}


def messages(*values: Any) -> str:
    return json.dumps({"messages": list(values)})


@pytest.mark.parametrize(
    ("row", "shape", "expected"),
    [
        (CHAT, "messages", [("user", "Hi"), ("assistant", "Hello")]),
        (ALPACA, "alpaca", [("user", "Add\n\n1 2"), ("assistant", "3")]),
        (PAIR, "prompt", [("user", "Hi"), ("assistant", "Hello")]),
    ],
)
def test_shapes_are_detected(tmp_path: Path, row: Any, shape: str, expected: Any) -> None:
    container, found, examples = opened(write(tmp_path, jsonl(row, row)))
    assert (container, found) == ("jsonl", shape)
    read = [each for each in examples if isinstance(each, Example)]
    assert [texts(each) for each in read] == [expected, expected]
    assert [each.source for each in read] == ["rows.jsonl:1", "rows.jsonl:2"]


def test_the_recipe_may_say_what_the_columns_are(tmp_path: Path) -> None:
    path = write(tmp_path, jsonl({"question": "Hi", "answer": "Hello", "prompt": "not this"}))
    columns = {"prompt": "question", "completion": "answer"}
    assert texts(read(path, columns=columns)[0]) == [("user", "Hi"), ("assistant", "Hello")]
    swapped = write(tmp_path, jsonl({"prompt": "Hello", "completion": "Hi"}), "swapped.jsonl")
    columns = {"prompt": "completion", "completion": "prompt"}
    assert texts(read(swapped, columns=columns)[0]) == [("user", "Hi"), ("assistant", "Hello")]


def test_a_format_of_the_recipe_wins_over_the_columns(tmp_path: Path) -> None:
    path = write(tmp_path, jsonl(ALPACA | PAIR | {"label": True}))
    assert opened(path, "kto").shape == "feedback"
    assert opened(path, format="prompt").shape == "prompt"
    assert texts(read(path, format="prompt")[0])[0] == ("user", "Hi")


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"prompt": "questoin", "completion": "answer"}, "no column 'questoin' in the file: did"),
        ({"promt": "question"}, "no shape has a column 'promt': did you mean 'prompt'?"),
        (
            {"prompt": "question", "completion": "answer", "outptu": "answer"},
            "data.sources.columns: prompt has no column 'outptu': accepted: completion",
        ),
        (
            {"prompt": "question", "completion": "answer", "tools": "functions"},
            "no column 'functions' in the file",
        ),
    ],
)
def test_a_wrong_mapping_is_refused(tmp_path: Path, columns: Any, expected: str) -> None:
    path = write(tmp_path, jsonl({"question": "Hi", "answer": "Hello"}))
    with pytest.raises(DataError) as caught:
        read(path, columns=columns)
    assert expected in str(caught.value)


def test_a_mapped_column_may_be_absent_from_some_rows(tmp_path: Path) -> None:
    rows = (PAIR, PAIR | {"persona": "Be brief."})
    first, second = read(write(tmp_path, jsonl(*rows)), columns={"system": "persona"})
    assert texts(first)[0] == ("user", "Hi")
    assert texts(second)[0] == ("system", "Be brief.")


OBJECTIVES: list[tuple[Any, Objective, str]] = [
    (PAIR, "dpo", "rows of shape prompt; train.objective dpo takes: preference, ranked"),
    (PAIR, "kto", "rows of shape prompt; train.objective kto takes: feedback, preference"),
    (PAIR | {"label": False}, "sft", "rows of shape feedback; train.objective sft takes: messages"),
    (PAIR | {"label": False}, "dpo", "rows of shape feedback; train.objective dpo takes:"),
    ({"prompt": "a", "chosen": "b", "rejected": "c"}, "sft", "rows of shape preference; train"),
    ({"instruction": "a", "output": ["b", "c"]}, "kto", "rows of shape ranked; train.objective"),
]


@pytest.mark.parametrize(("row", "objective", "expected"), OBJECTIVES)
def test_an_objective_takes_its_shapes_only(
    tmp_path: Path, row: Any, objective: Objective, expected: str
) -> None:
    with pytest.raises(DataError) as caught:
        opened(write(tmp_path, jsonl(row)), objective)
    assert str(caught.value).startswith(f"rows.jsonl: {expected}")
    assert "set train.objective to" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "rows.jsonl: no rows"),
        ("[]", "rows.jsonl: no rows"),
        (json.dumps(PAIR) + "\n{", "rows.jsonl:2: not JSON"),
        ("Here are the rows:\n" + json.dumps(PAIR), "rows.jsonl:1: not JSON"),
        ("[\n" + json.dumps(PAIR) + "\n{}]", "rows.jsonl:3: not JSON: Expecting ',' delimiter"),
        ("[" + json.dumps(PAIR) + ",\n]", "rows.jsonl:2: not JSON"),
        ("[" + json.dumps(PAIR) + "]\n{}", "rows.jsonl:2: not JSON: Extra data (column 1)"),
        ("[" + json.dumps(PAIR) + ", 7]", "rows.jsonl:1 row 2: 7; accepted: a JSON object"),
        ("7", "rows.jsonl:1: 7; accepted: a JSON object"),
        ('{"text": "a"}', "rows.jsonl:1: no known columns; seen: text"),
        ('{"prompt": "a", "completion": 3}', "rows.jsonl:1: completion = 3; accepted: text"),
        (jsonl(PAIR, {"prompt": "a"}), "rows.jsonl:2: no column 'completion'; seen: prompt"),
        ('{"instruction": ["a"], "output": "b"}', 'rows.jsonl:1: instruction = ["a"]; accepted'),
        (json.dumps(ALPACA | {"history": [["a"]]}), 'rows.jsonl:1: history[0] = ["a"]; accepted'),
        ('{"messages": "a"}', 'rows.jsonl:1: messages = "a"; accepted: a list'),
        (messages(USER), "rows.jsonl:1: messages has no assistant turn"),
        (messages(USER, "b"), 'rows.jsonl:1: messages[1] = "b"; accepted: an object'),
        (messages({"role": "human"}), 'rows.jsonl:1: messages[0].role = "human"; accepted: system'),
        (messages({"role": "user"}), "rows.jsonl:1: messages[0].content = null; accepted: text"),
        (messages(USER | {"tool_calls": [1]}), "rows.jsonl:1: messages[0].tool_calls = [1]"),
        ('{"prompt": "\\ud800", "completion": "b"}', "rows.jsonl:1: prompt: a lone surrogate"),
        ('[{"messages": [{"a": "\\ud800"}]}]', "rows.jsonl:1: messages[0].a: a lone surrogate"),
        ("{}\n" + "[" * 100_000, "rows.jsonl:1: no known columns"),
        (json.dumps(PAIR) + "\n" + '{"a":' * 100_000, "rows.jsonl:2: not JSON: nested too deep"),
        ("[" * 100_000, "rows.jsonl:1: not JSON: nested too deep"),
        (json.dumps(PAIR) + "\n" + "9" * 5000, "rows.jsonl:2: not JSON: a number has too many"),
        ("[" + "9" * 5000 + "]", "rows.jsonl:1: not JSON: a number has too many digits"),
    ],
)
def test_refusals(tmp_path: Path, text: str, expected: str) -> None:
    with pytest.raises(DataError) as caught:
        read(write(tmp_path, text))
    assert str(caught.value).startswith(expected)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("depth", range(900, 1000, 4))
def test_a_value_is_shown_however_deep_it_is(tmp_path: Path, depth: int) -> None:
    value = '{"a":' * depth + "1" + "}" * depth
    with pytest.raises(DataError, match=r"rows\.jsonl:1: (not JSON: nested too deep|messages = )"):
        read(write(tmp_path, '{"messages": ' + value + "}"))


def test_bad_rows_are_skipped_and_named(tmp_path: Path) -> None:
    text = "not a row\n" + jsonl(PAIR, {"prompt": "a", "completion": None}, 7, PAIR) + "{"
    found = list(opened(write(tmp_path, text), on_error="skip").examples)
    assert [each.source for each in found] == [f"rows.jsonl:{line}" for line in range(1, 7)]
    assert [type(each) for each in found] == [Skipped, Example, Skipped, Skipped, Example, Skipped]
    reasons = [each.reason for each in found if isinstance(each, Skipped)]
    assert reasons[0].startswith("not JSON: Expecting value (column 1): 'not a row'")
    assert reasons[1] == "completion = null; accepted: text"


def test_a_source_of_bad_rows_only_is_an_error(tmp_path: Path) -> None:
    path = write(tmp_path, jsonl(*[{"prompt": "a", "completion": None}] * 3))
    with pytest.raises(DataError, match=r"no row can be used, the first: rows\.jsonl:1: complet"):
        list(opened(path, on_error="skip").examples)
    path = write(tmp_path, jsonl(*[{"a": 1}] * 300))
    with pytest.raises(DataError, match=r"^rows\.jsonl:1: no known columns; seen: a$"):
        opened(path, on_error="skip")


def test_what_is_wrong_with_the_whole_file_is_never_skipped(tmp_path: Path) -> None:
    conflict = jsonl(PAIR) + "<<<<<<< HEAD\n" + jsonl(PAIR)
    with pytest.raises(DataError, match=r"^rows\.jsonl:2: a merge conflict's marker"):
        list(opened(write(tmp_path, conflict), on_error="skip").examples)
    array = "[" + json.dumps(PAIR) + ",\n{'a'}]"
    with pytest.raises(DataError, match=r"^rows\.jsonl:2: not JSON"):
        list(opened(write(tmp_path, array), on_error="skip").examples)


def test_paths_start_from_the_recipe(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    path = write(tmp_path / "data", jsonl(PAIR))
    for name in ("data/rows.jsonl", str(path)):
        found = open_source(Source(path=name), tmp_path, objective="sft", on_error="stop")
        assert [each.source for each in found.examples] == [f"{name}:1"]


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


@settings(deadline=None)
@given(st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=20), st.booleans(), st.booleans())
def test_any_text_comes_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory,
    pairs: list[tuple[str, str]],
    ascii_only: bool,
    array: bool,
) -> None:
    rows = [{"prompt": prompt, "completion": answer} for prompt, answer in pairs]
    lines = [json.dumps(row, ensure_ascii=ascii_only) for row in rows]
    text = "[" + ",\n".join(lines) + "]" if array else "\n".join(lines)
    found = read(write(tmp_path_factory.mktemp("rows"), text))
    assert [(each.messages[0].content, each.messages[1].content) for each in found] == pairs
    assert [each.source for each in found] == [f"rows.jsonl:{n + 1}" for n in range(len(rows))]


@settings(deadline=None)
@given(st.text(max_size=60) | st.text('{}[]",:\\u d8tru0-9eE.\n', max_size=60))
def test_no_text_makes_a_reader_crash(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    data = text.encode("utf-8", "surrogatepass")
    path = write(tmp_path_factory.mktemp("rows"), b'{"prompt": "a", "completion": "b"}\n' + data)
    try:
        found = read(path)
    except DataError:
        return
    assert found


@settings(deadline=None)
@given(st.text('{}[]",:\\ud8tru0-9eE.\n ', max_size=80))
def test_an_array_is_json_to_us_exactly_when_it_is_to_python(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    whole = '[{"prompt": "a", "completion": "b"}' + text
    path = write(tmp_path_factory.mktemp("rows"), whole)
    try:
        parse_json(whole)
    except NotJson:
        with pytest.raises(DataError):
            list(opened(path).examples)
        return
    assert list(opened(path, on_error="skip").examples)


SCALARS = st.none() | st.booleans() | st.integers(-1, 2) | st.floats() | st.text(max_size=5)
KEYS = st.sampled_from(
    "role content from value train weight tool_calls name arguments function type text id".split()
)
WORDS = st.sampled_from(["user", "assistant", "system", "tool", "human", "gpt", "function_call"])
VALUES = st.recursive(
    SCALARS | WORDS | st.just('[{"name": "f"}]'),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)
COLUMN = st.sampled_from(sorted({column for columns in COLUMNS.values() for column in columns}))


@settings(deadline=None, max_examples=300)
@given(
    st.sampled_from(list(COLUMNS)),
    st.dictionaries(COLUMN | st.sampled_from(["instances", "context", "rating"]), VALUES),
)
def test_no_row_makes_a_reader_crash(
    tmp_path_factory: pytest.TempPathFactory, shape: Any, row: dict[str, Any]
) -> None:
    [objective, *_] = [name for name, shapes in ACCEPTED.items() if shape in shapes]
    path = write(tmp_path_factory.mktemp("rows"), jsonl(row))
    try:
        found = list(opened(path, objective, "skip", format=shape).examples)
    except DataError:
        return
    for each in found:
        if isinstance(each, Example):
            assert canonical([message.dump() for message in each.messages])
            assert canonical(each.tools)
            assert each.messages[-1].role == "assistant"


def test_a_row_of_another_shape_is_told_so(tmp_path: Path) -> None:
    path = write(tmp_path, jsonl(PAIR, CHAT))
    with pytest.raises(DataError, match=r"rows\.jsonl:2: no column 'prompt'") as caught:
        read(path)
    assert "of shape messages, and the file is read as prompt" in str(caught.value.hint)
    with pytest.raises(DataError) as caught:
        read(path, format="alpaca")
    assert "of shape prompt, and the file is read as alpaca" in str(caught.value.hint)
