"""The command line of the server process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from harness.errors import HarnessError
from serve.__main__ import parse

NEEDED = ("--home", "h", "--base-dir", "b", "--base-name", "n")


def test_what_is_given_is_taken_and_the_rest_is_vllms() -> None:
    kwargs = ("--chat-template-kwargs", '{"mood": "plain"}')
    options, with_parent = parse([*NEEDED, "--drain-s", "2.5", *kwargs, "--", "--seed", "1"])
    assert (options.home, options.drain_s, options.kwargs) == (Path("h"), 2.5, {"mood": "plain"})
    assert options.extra == ("--seed", "1")
    assert not with_parent


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((*NEEDED, "--drain-s", "-1"), "--drain-s: -1: accepted: seconds from 0"),
        ((*NEEDED, "--drain-s", "inf"), "--drain-s: inf: accepted: seconds from 0"),
        ((*NEEDED, "--drain-s", "soon"), "--drain-s: soon: accepted: seconds from 0"),
        ((*NEEDED, "--chat-template-kwargs", "[1]"), r"\[1\]: accepted: a JSON object"),
        ((*NEEDED, "--chat-template-kwargs", "{"), "--chat-template-kwargs: not JSON"),
        ((*NEEDED, "--prot", "1"), "unrecognized arguments: --prot 1"),
        (NEEDED[2:], "required: --home"),
    ],
)
def test_a_mistake_is_named_with_the_next_step(given: tuple[str, ...], message: str) -> None:
    with pytest.raises(HarnessError, match=message) as caught:
        parse(given)
    assert caught.value.hint == "python -P -m serve --help"


def test_a_mistake_ends_without_a_traceback() -> None:
    argv = [sys.executable, "-P", "-m", "serve", "--port", "x"]
    found = subprocess.run(argv, capture_output=True, text=True)
    assert found.returncode == 2
    assert found.stdout == ""
    assert [line.split()[0] for line in found.stderr.splitlines()] == ["argument", "next:"]
