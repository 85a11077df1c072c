"""The evidence of a training: log-probabilities of probe rows with the adapter and without.

Part of the training process; what a server must reproduce.
"""

from __future__ import annotations

from typing import Any

import torch


def evidence(model: Any, rows: list[Any], probes: list[Any]) -> list[dict[str, list[float]]]:
    """For each probe, the log-probabilities of its completion with the adapter and without."""
    model.eval()
    found = []
    for index, n_prompt, n_completion in probes:
        ids = rows[index]["input_ids"][: n_prompt + n_completion]
        tuned = _logprobs(model, ids, n_prompt)
        with model.disable_adapter():
            found.append({"logprobs": tuned, "base_logprobs": _logprobs(model, ids, n_prompt)})
    return found


@torch.no_grad()  # type: ignore[untyped-decorator]
def _logprobs(model: Any, ids: list[int], n_prompt: int) -> list[float]:
    """Natural-log probability of every id after the prompt, given all before it."""
    inputs = torch.tensor([ids], device=model.device)
    logits = model(input_ids=inputs).logits[0, n_prompt - 1 : -1].float()
    chosen = inputs[0, n_prompt:, None]
    return [float(each) for each in logits.log_softmax(-1).gather(-1, chosen)[:, 0]]
