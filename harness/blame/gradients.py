"""Gradients of an adapter, one per sequence, many sequences to a pass.

LoRA's A and B are linear layers without bias, so the gradient of one sequence is the sum over its
tokens of the outer product of what goes into a layer and what comes back to it. Two hooks a layer
catch both, and one backward pass over the summed losses gives every sequence its own gradient:
none of a batch depends on another. Nothing of the base is differentiated, so it may be quantised.
Knows nothing of files or items.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from harness.blame.sequences import Predicted
from harness.chat.encode import IGNORED
from harness.errors import HarnessError

Tensor = Any


class PerSequence:
    """A model whose adapter is differentiated; adds hooks to it.

    With `recompute` activations are computed twice and not kept, as in training on a GPU.
    """

    def __init__(self, model: Any, *, recompute: bool = False) -> None:
        """Raises HarnessError where something else than a LoRA's A and B is trained."""
        self.model = model
        self.layers = _layers(model)
        self.n_parameters = sum(module.weight.numel() for _, module in self.layers)
        self.n_words: int = model.get_output_embeddings().weight.shape[0]
        """Of the vocabulary."""
        self._inputs: dict[str, Tensor] = {}
        self._outputs: dict[str, Tensor] = {}
        """Gradients of what came out."""
        self._found: dict[str, Tensor] = {}
        self._recompute, self._backward = recompute, False
        if recompute:
            _recompute(model)
        for name, module in self.layers:
            module.register_forward_pre_hook(self._before(name))
            module.register_forward_hook(self._after(name))

    @property
    def device(self) -> Any:
        return self.layers[0][1].weight.device

    def __call__(self, batch: Sequence[Predicted]) -> tuple[Tensor, Tensor]:
        """(sequences, parameters) float32, gradients of each sequence's weighted mean loss over its
        labels, layer after layer by name; and those mean losses, without the weight."""
        import torch

        ids, labels, seen = _padded(batch, self.device)
        weights = torch.tensor([each.weight for each in batch], device=self.device)
        target = labels[:, 1:]
        told = (target != IGNORED).any(0).nonzero().flatten()
        logits = self.model(
            input_ids=ids, attention_mask=seen, use_cache=False, logits_to_keep=told
        ).logits
        losses = _mean_losses(logits, target[:, told])
        self._backward = True
        try:
            (losses * weights).sum().backward()
        finally:
            self._backward = False
        self.model.zero_grad(set_to_none=True)
        found = torch.cat([self._take(name, module, len(batch)) for name, module in self.layers], 1)
        self._inputs.clear()
        return found, losses.detach()

    def _take(self, name: str, module: Any, n: int) -> Tensor:
        """A layer that saw no token, as an expert may, has no gradient."""
        found = self._found.pop(name, None)
        return module.weight.new_zeros(n, module.weight.numel()) if found is None else found

    def _before(self, name: str) -> Callable[..., None]:
        def keep(module: Any, inputs: tuple[Tensor, ...]) -> None:
            if self._backward or not self._recompute:
                self._inputs[name] = inputs[0].detach()
                self._multiply(name)

        return keep

    def _after(self, name: str) -> Callable[..., None]:
        def keep(gradient: Tensor) -> None:
            self._outputs[name] = gradient
            self._multiply(name)

        def listen(module: Any, inputs: Any, output: Tensor) -> None:
            if output.requires_grad and not self._backward:
                output.register_hook(keep)

        return listen

    def _multiply(self, name: str) -> None:
        """Once both are there: of a layer whose inputs are computed again, what comes back may be
        known before them."""
        import torch

        if name not in self._inputs or name not in self._outputs:
            return
        seen, gradient = self._inputs.pop(name), self._outputs.pop(name)
        if gradient.dim() != 3:
            raise HarnessError(
                f"{name}: sees tokens of shape {tuple(gradient.shape)}, not (rows, tokens, width): "
                "whose gradient is whose cannot be told apart (a mixture of experts?)"
            )
        self._found[name] = torch.einsum("bto,bti->boi", gradient.float(), seen.float()).flatten(1)


def _layers(model: Any) -> list[tuple[str, Any]]:
    import torch

    layers = [
        (f"{name}.weight", module)
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and (".lora_A." in name or ".lora_B." in name)
    ]
    trained = {name for name, each in model.named_parameters() if each.requires_grad}
    if others := sorted(trained ^ {name for name, _ in layers}):
        raise HarnessError(
            f"the adapter trains {others[0]}, which is no matrix A or B of a LoRA on a linear "
            "layer; accepted: plain LoRA"
        )
    return layers


def _recompute(model: Any) -> None:
    """Only a model that trains recomputes; nothing is dropped out all the same."""
    import torch

    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    model.train()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.eval()


def _padded(batch: Sequence[Predicted], device: Any) -> tuple[Tensor, Tensor, Tensor]:
    """(ids, labels, attention mask), filled up at the right."""
    import torch

    longest = max(len(each.input_ids) for each in batch)
    ids = torch.zeros(len(batch), longest, dtype=torch.long)
    labels = torch.full((len(batch), longest), IGNORED)
    seen = torch.zeros(len(batch), longest, dtype=torch.long)
    for place, each in enumerate(batch):
        n = len(each.input_ids)
        ids[place, :n] = torch.tensor(each.input_ids)
        labels[place, :n] = torch.tensor(each.labels)
        seen[place, :n] = 1
    return ids.to(device), labels.to(device), seen.to(device)


def _mean_losses(logits: Tensor, target: Tensor) -> Tensor:
    """Logits, and the token that each predicts: only those of places where some label counts, since
    a large vocabulary's are most of what a batch takes."""
    import torch

    losses = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1).float(),
        target.flatten(),
        ignore_index=IGNORED,
        reduction="none",
    )
    return losses.view(target.shape).sum(1) / (target != IGNORED).sum(1)
