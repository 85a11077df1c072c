"""Only plain values come out of YAML; all else is one line with place, value and reason."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import EvalsetError, HarnessError, RecipeError
from harness.yamlio import parse_yaml, read_yaml

MULTIPLYING = "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(9)
)


def refusal(text: str) -> str:
    with pytest.raises(RecipeError) as caught:
        parse_yaml(text, "a.yaml", RecipeError)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 300
    return message


def test_values_come_with_the_line_of_every_key() -> None:
    value, lines = parse_yaml("a: 1\nb:\n  c: [x, {d: null}]\n", "a.yaml", RecipeError)
    assert value == {"a": 1, "b": {"c": ["x", {"d": None}]}}
    assert lines == {"a": 1, "b": 2, "b.c": 3, "b.c.0": 3, "b.c.1": 3, "b.c.1.d": 3}
    assert parse_yaml("", "a.yaml", RecipeError) == (None, {})


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-4", 1e-4), ("1.5e3", 1500.0), ("-2E+8", -2e8), (".5e1", 5.0), ("'1e-4'", "1e-4"),
     ("1e", "1e"), ("e5", "e5"), ("1e5x", "1e5x")],
)  # fmt: skip
def test_a_power_of_ten_is_a_number(text: str, value: object) -> None:
    assert parse_yaml(f"a: {text}", "a.yaml", RecipeError).value == {"a": value}


def test_merged_mappings_and_aliases_are_plain_values() -> None:
    value, _ = parse_yaml("a: &a {x: 1}\nb: {<<: *a, y: 2}\n", "a.yaml", RecipeError)
    assert value["b"] == {"x": 1, "y": 2}
    value, _ = parse_yaml("a: &a {x: 1}\nb: *a\n", "a.yaml", RecipeError)
    assert value["b"] == value["a"]
    assert value["b"] is not value["a"], "a change of one must not change the other"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: !!python/object:os.system {}", "a.yaml:2: b = a mapping: !!python/object:"),
        ("a: !!python/name:os.system", "a.yaml:1: a = '': !!python/name:os.system is not accepted"),
        ("a: !mine 3", "a.yaml:1: a = '3': !mine is not accepted; accepted: text, numbers"),
        ("? [a, b]\n: 1", "a.yaml:1: the key a list is not accepted; accepted: plain text"),
        ("a: {5: 1}", "a.yaml:1: a: the key '5' is not accepted"),
        ("on: 1", "a.yaml:1: the key 'on' is not accepted"),
        ('"a\\0": 1', "a.yaml:1: the key 'a\\x00' is not accepted"),
        ("a: 1\n<<: 5", "a.yaml:2: not YAML: expected a mapping"),
        ("a: 2024-13-45", "a.yaml:1: a = '2024-13-45': !!timestamp is not accepted"),
        ("a: 2024-01-02", "text goes in quotes"),
        ("a: !!set {x}", "a.yaml:1: a = a mapping: !!set is not accepted"),
        ("a: =", "!!value is not accepted"),
        ("a: !!int x", "a.yaml:1: a = 'x': cannot be read as !!int"),
        ("a: !!bool maybe", "a.yaml:1: a = 'maybe': cannot be read as !!bool"),
        ("a: " + "9" * 5000, "999…: cannot be read as !!int"),
        ("a: 0x" + "f" * 5000, "fff…: a number of more than 64 bits"),
        ("a: !!int ''", "a.yaml:1: a = '': cannot be read as !!int"),
        ("? !!str {a: b}\n: 1", "a.yaml:1: the key a mapping is not accepted"),
        ("? !!merge [a]\n: 1", "a.yaml:1: the key a list is not accepted"),
        ("a: !!seq x", "a.yaml:1: not YAML: expected a sequence node, but found scalar"),
        ("a: .inf", "a.yaml:1: a = '.inf': not a finite number"),
        ("a: [1, -.INF]", "a.yaml:1: a.1 = '-.INF': not a finite number"),
        ("a: .nan", "not a finite number"),
        ("a: 1\nb: 1e999", "a.yaml:2: b = '1e999': not a finite number"),
        ("a: 1\nb: \x07", "a.yaml:2: not YAML: the character #x07 is not accepted"),
        ('a: "x\\0y"', "a.yaml:1: a = 'x\\x00y': the character '\\x00' is not accepted"),
        ('a: "\\ud800"', "the character '\\ud800' is not accepted"),
        ("a: &a [*a]", "a.yaml:1: nested more than 32 deep, or an alias that contains itself"),
        ("a: " + "[" * 3000 + "]" * 3000, "nested more than 32 deep"),
        ("a: " + "[" * 40 + "]" * 40, "a.yaml:1: nested more than 32 deep"),
        (MULTIPLYING, "a.yaml: more than 10000 values"),
        ("a: 1\nb: 2\na: 3", "a.yaml:3: a is set twice (first in line 1)"),
        ("a: [", "a.yaml:1: not YAML"),
        ("a: *b", "a.yaml:1: not YAML: found undefined alias"),
        ("a: 1\n---\nb: 2", "a.yaml:2: not YAML: but found another document"),
    ],
    ids=range(35),
)
def test_all_else_is_one_line(text: str, message: str) -> None:
    assert message in refusal(text)


@settings(max_examples=300, deadline=None)
@given(st.text(st.sampled_from("ab: -[]{}&*!<>?|#'\"%@`\n\t~01.e,=\\\0\ud800"), max_size=24))
def test_nothing_but_a_refusal_is_raised(text: str) -> None:
    with contextlib.suppress(HarnessError):
        json.dumps(parse_yaml(text, "a.yaml", RecipeError).value, allow_nan=False)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes(b"a: \xe9")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for name, reason in {
        "latin.yaml": "latin.yaml: not text in UTF-8",
        "loop": "loop: cannot be read",
        "x" * 300: "cannot be read: .*too long",
        "latin.yaml/under": "under: cannot be read",
        "nul\0": "cannot be read",
        "": "cannot be read",
    }.items():
        with pytest.raises(EvalsetError, match=reason):
            read_yaml(tmp_path / name, EvalsetError)
    with pytest.raises(FileNotFoundError):
        read_yaml(tmp_path / "none.yaml", EvalsetError)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("a: 1")
    path.chmod(0)
    with pytest.raises(RecipeError, match="cannot be read"):
        read_yaml(path, RecipeError)
