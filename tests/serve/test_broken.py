"""Broken adapters that lie in the store all the same, against the real server."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from harness.store import PUBLISHED
from tests.serve.adapters import publish_adapter
from tests.serve.live import Live
from tests.store.build import (
    Q_A,
    Q_B,
    Break,
    configured,
    number,
    pickled,
    renamed,
    shaped,
    without,
)

BROKEN: dict[str, tuple[Break, str]] = {
    "nan": (number(Q_A, float("nan")), f"{Q_A}: has values that are not finite"),
    "shape": (shaped(Q_A, 8, 64), "changes a matrix of shape (128, 64); accepted: (128, 128)"),
    "rank": (configured(r=4), "are not a LoRA of rank 4"),
    "beyond": (renamed("layers.5.", "layers.50."), "no matrix layers.50."),
    "ia3": (configured(peft_type="IA3"), "peft_type = 'IA3'; accepted: \"LORA\""),
    "half": (without("0.self_attn.q_proj.lora_A"), "has only lora_B"),
    "future": (configured(use_quantum=True), "'use_quantum' = True"),
    "dora": (configured(use_dora=True), "use_dora = True"),
    "big": (shaped(Q_B, 128, 9), "are not a LoRA of rank 8"),
    "named": (configured(base_model_name_or_path="other"), "'other'; accepted: 'pocket'"),
}


def ask(client: httpx.Client, model: str) -> httpx.Response:
    body = {"model": model, "prompt": "What is a cat?", "max_tokens": 8, "temperature": 0}
    return client.post("/v1/completions", json=body)


@pytest.mark.vllm
def test_broken_versions_are_refused_with_their_words_and_nobody_else_notices(
    live: Live, tmp_path: Path
) -> None:
    with live.client() as client:
        others = ("pocket", *live.versions)
        before = [ask(client, model).json()["choices"][0]["text"] for model in others]
        for name, (spoil, words) in BROKEN.items():
            folder = tmp_path / name
            folder.mkdir()
            for file, data in live.files[0].items():
                (folder / file).write_bytes(data)
            spoil(folder)
            files = {file: (folder / file).read_bytes() for file in PUBLISHED[:2]}
            answer = ask(client, publish_adapter(live.store, name, live.base_dir, files))
            assert answer.status_code == 409, answer.text
            assert words in answer.json()["error"]["message"]
        beside = publish_adapter(live.store, "beside", live.base_dir, live.files[0])
        folder = live.store.version_dir(beside)
        pickled(folder)
        assert "pickled weights can run code" in ask(client, beside).text
        after = [ask(client, model) for model in others]
        assert [each.json()["choices"][0]["text"] for each in after] == before
