"""Files are read in every accepted shape, and refused with place, value and next step."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.errors import DataError
from harness.training.read import read

CHAT = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}
ALPACA = {"instruction": "Add", "input": "1 2", "output": "3", "source": "book"}
PAIR = {"prompt": "Hi", "completion": "Hello"}
MESSY = Path(__file__).parents[3] / "shared" / "data" / "messy"


def read_text(tmp_path: Path, text: str | bytes, name: str = "rows.jsonl") -> Any:
    data = text if isinstance(text, bytes) else text.encode()
    (tmp_path / name).write_bytes(data)
    return read(tmp_path / name, name)


def texts(example: Any) -> list[tuple[str, str]]:
    return [(each.role, each.content) for each in example.messages]


def test_three_shapes(tmp_path: Path) -> None:
    lines = "\n".join(json.dumps(row) for row in (CHAT, ALPACA, PAIR))
    chat, alpaca, pair = read_text(tmp_path, lines)
    assert texts(chat) == [("user", "Hi"), ("assistant", "Hello")]
    assert texts(alpaca) == [("user", "Add\n\n1 2"), ("assistant", "3")]
    assert texts(pair) == texts(chat)
    assert [each.source for each in (chat, alpaca, pair)] == [
        "rows.jsonl:1",
        "rows.jsonl:2",
        "rows.jsonl:3",
    ]


@pytest.mark.parametrize("missing", [{"input": ""}, {"input": None}, {}])
def test_alpaca_without_input(tmp_path: Path, missing: dict[str, Any]) -> None:
    row = {"instruction": "Add", "output": "3"} | missing
    (example,) = read_text(tmp_path, json.dumps(row))
    assert texts(example)[0] == ("user", "Add")


def test_an_array_keeps_its_lines(tmp_path: Path) -> None:
    text = "[\n " + json.dumps(PAIR, indent=1) + ",\n\n" + json.dumps(CHAT) + "]\n"
    first, second = read_text(tmp_path, text, "rows.json")
    assert first.source == "rows.json:2"
    assert second.source == f"rows.json:{text.count(chr(10))}"


def test_lines_in_a_file_called_json(tmp_path: Path) -> None:
    text = json.dumps(PAIR) + "\n" + json.dumps(CHAT) + "\n"
    assert len(read_text(tmp_path, text, "rows.json")) == 2


def test_windows_files(tmp_path: Path) -> None:
    text = "\ufeff" + json.dumps(PAIR) + "\r\n\r\n" + json.dumps(CHAT) + "\r\n"
    assert [each.source for each in read_text(tmp_path, text)] == ["rows.jsonl:1", "rows.jsonl:3"]


def test_unicode_line_separators_stay_inside_a_row(tmp_path: Path) -> None:
    row = {"prompt": "a\u2028b", "completion": "c\x85d"}
    (example,) = read_text(tmp_path, json.dumps(row, ensure_ascii=False))
    assert texts(example) == [("user", "a\u2028b"), ("assistant", "c\x85d")]


def messages(*values: Any) -> str:
    return json.dumps({"messages": list(values)})


USER = {"role": "user", "content": "Hi"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "rows.jsonl: no rows"),
        ("[]", "rows.jsonl: no rows"),
        (json.dumps(PAIR) + "\n{", "rows.jsonl:2: not JSON"),
        ("Here are the rows:\n" + json.dumps(PAIR), "rows.jsonl:1: not JSON"),
        ("[\n{}\n{}]", "rows.jsonl:3: not JSON"),
        ("7", "rows.jsonl:1: 7; accepted: a JSON object"),
        ('{"text": "a"}', "rows.jsonl:1: no known columns; seen: text"),
        ('{"prompt": "a", "completion": 3}', "rows.jsonl:1: completion = 3; accepted: text"),
        ('{"instruction": ["a"], "output": "b"}', 'rows.jsonl:1: instruction = ["a"]; accepted'),
        (json.dumps(ALPACA | {"history": [["a", "b"]]}), "rows.jsonl:1: history = "),
        ('{"messages": "a"}', 'rows.jsonl:1: messages = "a"; accepted: a list'),
        (messages(USER), "rows.jsonl:1: messages has no assistant turn"),
        (messages(USER, "b"), 'rows.jsonl:1: messages[1] = "b"; accepted: an object'),
        (messages({"role": "human"}), 'rows.jsonl:1: messages[0].role = "human"; accepted: system'),
        (messages({"role": "user"}), "rows.jsonl:1: messages[0].content = null; accepted: text"),
        (messages(USER | {"tool_calls": [1]}), "rows.jsonl:1: messages[0].tool_calls = [1]"),
        ('{"prompt": "\\ud800", "completion": "b"}', "rows.jsonl:1: prompt: a lone surrogate"),
        (b'{"prompt": "\xe9", "completion": "b"}', "rows.jsonl:1: byte 0xe9 is not UTF-8"),
        ("a".encode("utf-16"), "rows.jsonl: UTF-16"),
        ("{}\n" + "[" * 100_000, "rows.jsonl:1: no known columns"),
        (json.dumps(PAIR) + "\n" + '{"a":' * 100_000, "rows.jsonl:2: not JSON: nested too deep"),
        ("[" * 100_000, "rows.jsonl: not JSON: nested too deep"),
        (json.dumps(PAIR) + "\n" + "9" * 5000, "rows.jsonl:2: not JSON: a number has too many"),
        ("[" + "9" * 5000 + "]", "rows.jsonl: not JSON: a number has too many digits"),
    ],
)
def test_refusals(tmp_path: Path, text: str | bytes, expected: str) -> None:
    with pytest.raises(DataError) as caught:
        read_text(tmp_path, text)
    assert str(caught.value).startswith(expected)


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^rows\.jsonl: no such file"):
        read(tmp_path / "rows.jsonl", "rows.jsonl")
    with pytest.raises(DataError, match="cannot be read"):
        read(tmp_path, "folder")
    with pytest.raises(DataError, match="cannot be read: File name too long"):
        read(tmp_path / ("x" * 300), "long")
    with pytest.raises(DataError, match=r"'nul\\x00': not a path"):
        read(tmp_path / "nul\0", "nul\0")


@pytest.mark.parametrize("depth", range(900, 1000, 4))
def test_a_value_is_shown_however_deep_it_is(tmp_path: Path, depth: int) -> None:
    value = '{"a":' * depth + "1" + "}" * depth
    with pytest.raises(DataError, match=r"rows\.jsonl:1: (not JSON: nested too deep|messages = )"):
        read_text(tmp_path, '{"messages": ' + value + "}")


@pytest.mark.skipif(not MESSY.is_dir(), reason="the shared files are not here")
@pytest.mark.parametrize("path", sorted(MESSY.glob("*.json*")), ids=lambda path: path.name)
def test_real_messy_files_are_read_or_refused_by_name(path: Path) -> None:
    try:
        assert read(path, path.name)
    except DataError as error:
        refusal = str(error)
        assert refusal.startswith(path.name)
