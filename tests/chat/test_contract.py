"""Two contracts are equal exactly when the served tokens are."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from harness.chat.contract import PROBE_CHATS, drift, fingerprint
from harness.chat.template import ChatTokenizer
from harness.types import ChatContract
from tests.chat.templates import CHATML, POCKET, make_tokenizer


def names(expected: ChatContract, seen: ChatContract) -> list[str]:
    return [line.partition(":")[0] for line in drift(expected, seen)]


def test_the_same_chat_has_the_same_contract() -> None:
    first, second = fingerprint(ChatTokenizer(POCKET)), fingerprint(ChatTokenizer(POCKET))
    assert first == second
    assert drift(first, second) == []


def test_an_edited_template_drifts() -> None:
    chat = ChatTokenizer(POCKET)
    edited = ChatTokenizer(POCKET, template=chat.template.replace("assistant", "Assistant"))
    assert names(fingerprint(chat), fingerprint(edited)) == [
        "token ids of the probe chats",
        "chat template",
    ]


def test_a_template_that_renders_alike_drifts_in_name_only() -> None:
    chat = ChatTokenizer(POCKET)
    same = ChatTokenizer(POCKET, template="{#- a comment -#}" + chat.template)
    assert names(fingerprint(chat), fingerprint(same)) == ["chat template"]


def test_variables_and_stops_are_part_of_it(tmp_path: Path) -> None:
    directory = make_tokenizer(tmp_path, eos="</s>")
    plain = fingerprint(ChatTokenizer(directory, template=CHATML))
    other = ChatTokenizer(directory, template=CHATML, kwargs={"x": 1}, stop=["<|im_end|>"])
    assert names(plain, fingerprint(other)) == ["template variables", "stop tokens"]


def test_another_tokenizer_drifts(tmp_path: Path) -> None:
    plain = make_tokenizer(tmp_path / "a", eos="</s>")
    other = make_tokenizer(tmp_path / "b", eos="<|im_end|>")
    assert names(
        fingerprint(ChatTokenizer(plain, template=CHATML)),
        fingerprint(ChatTokenizer(other, template=CHATML)),
    ) == ["special tokens", "stop tokens"]


def test_another_vocabulary_drifts_in_the_tokenizer(tmp_path: Path) -> None:
    plain = make_tokenizer(tmp_path / "a", eos="</s>")
    other = make_tokenizer(tmp_path / "b", eos="</s>")
    path = other / "tokenizer.json"
    definition = json.loads(path.read_text())
    del definition["model"]["merges"][-40:]
    path.write_text(json.dumps(definition))
    contracts = [fingerprint(ChatTokenizer(each, template=CHATML)) for each in (plain, other)]
    assert names(*contracts)[-1] == "tokenizer"
    assert set(names(*contracts)) <= {"token ids of the probe chats", "tokenizer"}


def test_another_normaliser_drifts_though_the_probes_do_not(tmp_path: Path) -> None:
    plain = make_tokenizer(tmp_path / "a", eos="</s>")
    other = make_tokenizer(tmp_path / "b", eos="</s>")
    path = other / "tokenizer.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"normalizer": {"type": "NFC"}}))
    contracts = [fingerprint(ChatTokenizer(each, template=CHATML)) for each in (plain, other)]
    assert names(*contracts) == ["tokenizer"]


def test_a_special_token_taken_away_drifts(tmp_path: Path) -> None:
    plain = make_tokenizer(tmp_path / "a", eos="</s>")
    other = make_tokenizer(tmp_path / "b", eos="</s>")
    path = other / "tokenizer_config.json"
    config = json.loads(path.read_text())
    del config["bos_token"]
    path.write_text(json.dumps(config))
    contracts = [fingerprint(ChatTokenizer(each, template="alpaca")) for each in (plain, other)]
    assert names(*contracts) == ["token ids of the probe chats", "special tokens"]


def test_a_pinned_switch_drifts_by_what_it_changes(tmp_path: Path) -> None:
    template = CHATML + "{{ '<think>' if enable_thinking }}"
    directory = make_tokenizer(tmp_path, eos="</s>")
    contracts = [
        fingerprint(ChatTokenizer(directory, template=template, kwargs={"enable_thinking": on}))
        for on in (True, False)
    ]
    assert names(*contracts) == ["token ids of the probe chats", "template variables"]


def test_the_judge_s_contract_still_holds() -> None:
    """Adapters published before must be servable after."""
    manifests = POCKET.parent.glob("*/manifest.json")
    stored = [json.loads(path.read_text())["contract"] for path in manifests]
    assert stored
    for each in stored:
        assert drift(ChatContract.model_validate(each), fingerprint(ChatTokenizer(POCKET))) == []


def test_truncation_settings_do_not_count(tmp_path: Path) -> None:
    directory = make_tokenizer(tmp_path, eos="</s>")
    before = fingerprint(ChatTokenizer(directory, template=CHATML))
    path = directory / "tokenizer.json"
    settings = '{"direction": "Right", "max_length": 8, "strategy": "LongestFirst", "stride": 0}'
    text = path.read_text()
    assert '"truncation": null' in text
    path.write_text(text.replace('"truncation": null', f'"truncation": {settings}'))
    assert fingerprint(ChatTokenizer(directory, template=CHATML)) == before


def test_a_refused_probe_counts_as_its_refusal() -> None:
    template = (
        "{%- if messages[0].role == 'system' -%}{{- raise_exception(reason) -}}{%- endif -%}"
        + ChatTokenizer(POCKET).template
    )
    contracts = [
        fingerprint(ChatTokenizer(POCKET, template=template, kwargs={"reason": reason}))
        for reason in ("no system messages", "system is unknown")
    ]
    assert "token ids of the probe chats" in names(*contracts)


def test_probe_chats_differ_in_kind() -> None:
    roles = [tuple(each.role for each in chat) for chat in PROBE_CHATS]
    assert len(PROBE_CHATS) == 4
    assert ("system", "user") in roles
    assert ("user", "assistant", "user") in roles


def test_the_contract_needs_no_tokenizer_library() -> None:
    code = (
        "import sys, harness.chat.contract; "
        "sys.exit(bool({'transformers', 'torch', 'tokenizers'} & sys.modules.keys()))"
    )
    root = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0
