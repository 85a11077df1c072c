"""Gradients, one per sequence, beside autograd; on the pocket and on another architecture."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, Qwen3Config

from harness.blame.gradients import PerSequence
from harness.blame.passes import rows_gradients
from harness.blame.sequences import Predicted, answered, of_row
from harness.errors import HarnessError
from harness.pocket import BASE_DIR

IGNORED = -100


def pocket() -> Any:
    return AutoModelForCausalLM.from_pretrained(BASE_DIR, dtype=torch.float32)


def tiny_qwen() -> Any:
    """Qwen3 at reduced size: heads that share keys, norms of queries and keys, tied embeddings."""
    config = Qwen3Config(
        vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, head_dim=8, tie_word_embeddings=True,
        max_position_embeddings=128,
    )  # fmt: skip
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config)


def with_lora(base: Any, **keys: Any) -> Any:
    """Both halves filled with numbers, so that both have gradients."""
    config = LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", **keys)
    model = get_peft_model(base, config)
    generator = torch.Generator().manual_seed(1)
    for name, weights in model.named_parameters():
        if "lora_" in name:
            weights.data = 0.05 * torch.randn(weights.shape, generator=generator)
    return model.eval()


def drawn(n: int, seed: int) -> list[Predicted]:
    """Sequences of different lengths."""
    rng = random.Random(seed)
    return [
        answered(
            [rng.randrange(3, 60) for _ in range(rng.randint(2, 9))],
            [rng.randrange(3, 60) for _ in range(rng.randint(1, 7))],
        )
        for _ in range(n)
    ]


def by_autograd(model: Any, one: Predicted) -> torch.Tensor:
    """The gradient of a sequence's own mean loss, alone and without padding."""
    ids = torch.tensor([list(one.input_ids)])
    labels = torch.tensor([list(one.labels)])
    loss = one.weight * model(input_ids=ids, labels=labels).loss
    trained = [each for each in model.parameters() if each.requires_grad]
    return torch.cat([each.flatten() for each in torch.autograd.grad(loss, trained)])


def in_parameters_order(model: Any, gradients: PerSequence, found: torch.Tensor) -> torch.Tensor:
    """Columns in the order of `model.parameters()`."""
    sizes = [module.weight.numel() for _, module in gradients.layers]
    names = (name for name, _ in gradients.layers)
    parts = dict(zip(names, found.split(sizes, 1), strict=True))
    order = [name for name, each in model.named_parameters() if each.requires_grad]
    return torch.cat([parts[name] for name in order], 1)


@pytest.mark.parametrize("base", [pocket, tiny_qwen])
@pytest.mark.parametrize("recompute", [False, True])
def test_each_gradient_is_that_of_its_sequence_alone(base: Any, recompute: bool) -> None:
    model = with_lora(base())
    batch = drawn(5, 2)
    expected = torch.stack([by_autograd(model, each) for each in batch])
    gradients = PerSequence(model, recompute=recompute)
    found, losses = gradients(batch)
    ordered = in_parameters_order(model, gradients, found)
    assert ordered.shape == (5, gradients.n_parameters)
    torch.testing.assert_close(ordered, expected, rtol=2e-4, atol=2e-6)
    alone = torch.stack([gradients([each])[1][0] for each in batch])
    torch.testing.assert_close(losses, alone, rtol=1e-4, atol=1e-5)


def test_dropout_is_off() -> None:
    """Where activations are recomputed the model is in training mode."""
    gradients = PerSequence(with_lora(tiny_qwen(), lora_dropout=0.5), recompute=True)
    batch = drawn(2, 3)
    assert torch.equal(gradients(batch)[0], gradients(batch)[0])


def test_in_half_precision_gradients_are_kept_in_full() -> None:
    model = with_lora(tiny_qwen().to(torch.bfloat16))
    found, losses = PerSequence(model)(drawn(3, 4))
    assert (found.dtype, losses.dtype) == (torch.float32, torch.float32)
    assert found.isfinite().all()
    assert (found.norm(dim=1) > 0).all()


def pair(seed: int) -> dict[str, Any]:
    chosen, other = drawn(2, seed)
    n_prompt = sum(label == IGNORED for label in chosen.labels)
    return {
        "input_ids": list(chosen.input_ids),
        "labels": list(chosen.labels),
        "n_prompt": n_prompt,
        "rejected": [label for label in other.labels if label != IGNORED],
    }


def log_prob(model: Any, ids: list[int], n_prompt: int) -> torch.Tensor:
    logits = model(input_ids=torch.tensor([ids])).logits[0, n_prompt - 1 : -1].log_softmax(-1)
    return logits.gather(-1, torch.tensor(ids[n_prompt:])[:, None]).sum()


def test_a_pair_has_the_gradient_of_dpo_where_model_and_reference_are_one() -> None:
    """−log σ(β·(log p/p_ref of the chosen − of the rejected)), by autograd; ours is that by β/2."""
    model, row, beta = with_lora(tiny_qwen()), pair(5), 0.3
    n_prompt = row["n_prompt"]
    chosen = log_prob(model, row["input_ids"], n_prompt)
    rejected = log_prob(model, row["input_ids"][:n_prompt] + row["rejected"], n_prompt)
    margin = (chosen - chosen.detach()) - (rejected - rejected.detach())
    trained = [each for each in model.parameters() if each.requires_grad]
    loss = -torch.nn.functional.logsigmoid(beta * margin)
    expected = torch.cat([each.flatten() for each in torch.autograd.grad(loss, trained)])
    gradients = PerSequence(model)
    found, losses = rows_gradients(gradients, [row, pair(6)])
    ours = in_parameters_order(model, gradients, found)[0] * beta / 2
    torch.testing.assert_close(ours, expected, rtol=2e-4, atol=2e-6)
    n_chosen = len(row["input_ids"]) - n_prompt
    assert losses[0].item() == pytest.approx(-chosen.item() / n_chosen, rel=1e-4)


def test_an_undesirable_row_pulls_the_other_way() -> None:
    one = {key: value for key, value in pair(7).items() if key != "rejected"}
    [good], [bad] = (of_row({**one, "desirable": opinion}) for opinion in (True, False))
    gradients = PerSequence(with_lora(tiny_qwen()))
    torch.testing.assert_close(gradients([good])[0], -gradients([bad])[0])
    n_trained = sum(label != IGNORED for label in one["labels"])
    torch.testing.assert_close(gradients([good])[0], n_trained * gradients(of_row(one))[0])


@pytest.mark.parametrize("keys", [{"use_dora": True}, {"modules_to_save": ["norm"]}])
def test_more_than_a_plain_lora_is_refused(keys: dict[str, Any]) -> None:
    with pytest.raises(HarnessError, match="accepted: plain LoRA"):
        PerSequence(with_lora(tiny_qwen(), **keys))
