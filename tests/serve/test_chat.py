"""`harness chat` with a real server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.serve.live import Live
from tests.workbench import harness


@pytest.mark.vllm
def test_an_alias_beside_a_version(live: Live, tmp_path: Path) -> None:
    alpha, beta = live.versions
    live.store.move_alias("talk", alpha, at="now", decision=None, run=None)
    words: list[object] = [
        "--endpoint",
        live.server.base_url,
        "--message",
        "What is a cat?",
        "--max-tokens",
        8,
    ]
    words += ["--temperature", 0, "--json"]
    done = harness("chat", "talk", "--with", beta, *words, home=tmp_path)
    assert done.returncode == 0, done.stderr
    first, second = json.loads(done.stdout)["answers"]
    assert (first["model"], first["version"], second["version"]) == ("talk", alpha, beta)
    assert first["text"] != second["text"]
    assert 1 <= first["n_tokens"] <= 8
    unknown = harness("chat", "tolk", *words, home=tmp_path)
    assert unknown.returncode == 4
    assert "did you mean 'talk'?" in json.loads(unknown.stdout.splitlines()[-1])["error"]
