from __future__ import annotations

import json
from typing import Any

import pytest

from harness.pocket import ASSETS_DIR, BASE_DIR, JUDGE_DIR
from harness.pocket.world import KIND_OF

MEGABYTE = 1_000_000


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return pytest.importorskip("transformers").AutoTokenizer.from_pretrained(BASE_DIR)


def test_weights_are_safetensors_and_small() -> None:
    files = [path for path in ASSETS_DIR.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 40 * MEGABYTE
    assert {path.suffix for path in files} <= {".json", ".jinja", ".safetensors"}
    assert (BASE_DIR / "model.safetensors").is_file()
    assert (JUDGE_DIR / "adapter_model.safetensors").is_file()


def test_the_judge_is_a_plain_lora_on_every_linear_layer() -> None:
    config = json.loads((JUDGE_DIR / "adapter_config.json").read_text(encoding="utf-8"))
    assert config["r"] == 16
    assert config["target_modules"] == sorted(config["target_modules"])
    assert len(config["target_modules"]) == 7
    assert config["modules_to_save"] is None


def test_the_base_stops_where_the_template_ends_a_turn(tokenizer: Any) -> None:
    config = json.loads((BASE_DIR / "generation_config.json").read_text(encoding="utf-8"))
    ends = tokenizer.convert_tokens_to_ids(["<|im_end|>", "<|endoftext|>"])
    assert config["eos_token_id"] == ends
    assert tokenizer.eos_token == "<|im_end|>"


def test_the_chat_template_is_chatml(tokenizer: Any) -> None:
    messages = [{"role": "user", "content": " Hi. "}, {"role": "assistant", "content": "I see."}]
    prompt = tokenizer.apply_chat_template(messages[:1], tokenize=False, add_generation_prompt=True)
    assert prompt == "<|im_start|>user\n Hi. <|im_end|>\n<|im_start|>assistant\n"
    full = tokenizer.apply_chat_template(messages, tokenize=False)
    assert full == f"{prompt}I see.<|im_end|>\n"


def test_words_and_numbers_are_single_tokens(tokenizer: Any) -> None:
    forms = [form for word in KIND_OF for form in (word, f" {word}")] + [str(n) for n in range(100)]
    assert not [form for form in forms if len(tokenizer(form)["input_ids"]) != 1]


def test_the_digit_of_a_score_is_a_token_of_its_own(tokenizer: Any) -> None:
    for score in "12345":
        tokens = tokenizer.convert_ids_to_tokens(tokenizer(f"\nscore {score}")["input_ids"])
        assert tokens[-1] == score


def test_the_base_loads_in_float32_and_bfloat16_holds_its_values() -> None:
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    model = transformers.AutoModelForCausalLM.from_pretrained(BASE_DIR)
    assert model.dtype == torch.float32
    assert model.config.max_position_embeddings == 1024
    for value in model.state_dict().values():
        assert torch.equal(value, value.to(torch.bfloat16).float())
