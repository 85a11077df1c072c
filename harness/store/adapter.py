"""Whether an adapter can be served: everything vLLM 0.32 would choke on or swallow is refused.

Looked at are the folder, the config, every number of the weights, and the names and shapes beside
the base's. Knows nothing of a running server (its largest rank, its modules), and not which base
the weights were trained on: two of the same shape differ by the digests in the manifest alone.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

from harness.errors import StoreError
from harness.store.loraconfig import CONFIG, LoraConfig, read_config
from harness.store.matrices import Matrices, Matrix, base_matrices, tail
from harness.store.published import MANIFEST, read_manifest, require_own_files
from harness.store.tensors import Tensor, read_tensors

WEIGHTS = "adapter_model.safetensors"
LARGEST = 65504.0
"""float16's largest number: no trained weight comes near, and one beyond is not finite in every
dtype that serves."""
_FLOATS = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
_NAME = re.compile(
    r"base_model\.model\.(?P<module>\w+(?:\.\w+)*)\.lora_"
    r"(?:(?P<side>[AB])\.weight|embedding_(?P<embedding>[AB]))",
    re.ASCII,
)
_EMBEDDING = re.compile(r"wte|wpe|(?!embed_out).*embed.*")
_TOWER = re.compile(r"(?:^|[._])(?:vision|visual|audio|multi_modal_projector)[._]")
_OTHER_BASE = "it belongs to another base, or its names were changed"


class AdapterFacts(NamedTuple):
    """What a server must know of an adapter before it loads it."""

    rank: int
    """The largest LoRA rank, as vLLM counts it."""
    modules: frozenset[str]
    """Last parts of the names of the modules it changes."""


class _Half(NamedTuple):
    """One of a module's two matrices."""

    shape: tuple[int, ...]
    peak: float
    """The largest absolute number in it."""
    embedding: bool
    """Whether it is of an embedding, which PEFT names and shapes otherwise."""


def check_adapter(adapter_dir: Path, base_dir: Path) -> AdapterFacts:
    """Raises StoreError, naming file, key or tensor, for an adapter that vLLM would refuse, load
    wrongly or load in part on the base in `base_dir`. A base without safetensors files is not
    compared, and of a quantised matrix the shape is not known."""
    try:
        return _check(adapter_dir, base_dir)
    except OSError as error:
        raise StoreError(f"{adapter_dir} cannot be read: {error}") from None


def _check(adapter_dir: Path, base_dir: Path) -> AdapterFacts:
    require_own_files(adapter_dir)
    config = read_config(adapter_dir / CONFIG)
    _require_its_base(adapter_dir, config)
    modules = _modules(adapter_dir / WEIGHTS)
    matrices = Matrices(base_matrices(base_dir))
    seen: dict[tuple[str, str], str] = {}
    for module, sides in modules.items():
        _check_rank(module, sides, config)
        if matrices:
            matrix = _check_shape(module, sides, config, matrices)
            if (other := seen.setdefault((matrix.module, tail(module)), module)) != module:
                raise _refusal(module, f"{other} is the same matrix of the base")
        if not config.changes(module):
            raise _refusal(module, f"is changed, but target_modules in {CONFIG} leaves it out")
    if not any(sides["B"].peak for sides in modules.values()):
        raise StoreError(
            f"{WEIGHTS}: every lora_B is zero, so the adapter does nothing",
            hint="train longer or with a higher learning rate",
        )
    return AdapterFacts(config.largest, frozenset(each.rpartition(".")[2] for each in modules))


def _require_its_base(adapter_dir: Path, config: LoraConfig) -> None:
    """The config's name of the base is a label that training may find in another place; once
    published it is the manifest's, beside the digests that decide."""
    if not (adapter_dir / MANIFEST).exists() or config.base is None:
        return
    base = read_manifest(adapter_dir).base.model
    if config.base != base:
        raise StoreError(
            f"{CONFIG}: base_model_name_or_path = {config.base!r:.80}; accepted: {base!r}, the "
            f"base that {MANIFEST} names",
            hint="publish it as trained on the base it names",
        )


def _modules(path: Path) -> dict[str, dict[str, _Half]]:
    """Module → side → half. Raises StoreError."""
    if not path.exists():
        raise StoreError(f"{WEIGHTS} is missing", hint="save the adapter as safetensors")
    found: dict[str, dict[str, _Half]] = {}
    for name, tensor, data in read_tensors(path):
        match = _NAME.fullmatch(name)
        if not match:
            raise _refusal(
                f"{name!r:.120}",
                "is not a LoRA tensor; accepted: base_model.model.<module>.lora_A.weight and so on",
                "save the adapter with PEFT, with save_embedding_layers=False",
            )
        module = match["module"]
        is_embedding = match["embedding"] is not None
        if is_embedding and not _EMBEDDING.fullmatch(module.rpartition(".")[2]):
            raise _refusal(name, "lora_embedding is for embeddings; accepted here: lora_A.weight")
        half = _Half(tensor.shape, _peak(name, tensor, data), is_embedding)
        found.setdefault(module, {})[match["side"] or match["embedding"]] = half
    for module, sides in found.items():
        if len(sides) != 2:
            raise _refusal(module, f"has only lora_{''.join(sides)}; accepted: lora_A and lora_B")
    if not found:
        raise StoreError(f"{WEIGHTS}: there are no LoRA tensors", hint="save the adapter again")
    return found


def _peak(name: str, tensor: Tensor, data: bytes) -> float:
    """The largest absolute number. Raises StoreError for what is no matrix of finite numbers."""
    import numpy as np

    if tensor.dtype not in _FLOATS:
        raise _refusal(name, f"has dtype {tensor.dtype!r:.20}; accepted: {', '.join(_FLOATS)}")
    if len(tensor.shape) != 2 or 0 in tensor.shape:
        raise _refusal(name, f"has shape {tensor.shape}; accepted: two axes, none of them empty")
    values: Any = np.frombuffer(data, _FLOATS[tensor.dtype])
    if tensor.dtype == "BF16":  # the upper half of a float32
        values = (values.astype("<u4") << 16).view("<f4")
    peak = float(np.maximum(values.max(), -values.min()))
    if not peak <= LARGEST:
        n_bad = int((~(np.abs(values) <= LARGEST)).sum())
        raise _refusal(
            name,
            f"has values that are not finite or beyond {LARGEST:.0f}: {n_bad} of {values.size}",
            "training diverged: lower its learning rate, then train again",
        )
    return peak


def _check_rank(module: str, sides: dict[str, _Half], config: LoraConfig) -> None:
    """Config and tensors agree on the rank, and the scaled matrix stays finite."""
    a, b = sides["A"], sides["B"]
    rank = config.rank(module)
    if not a.shape[0] == b.shape[1] == rank or a.embedding != b.embedding:
        raise _refusal(
            module, f"shapes {a.shape} and {b.shape} are not a LoRA of rank {rank}, as {CONFIG} has"
        )
    if not b.peak * config.scale(module) <= LARGEST:
        raise _refusal(
            module,
            f"lora_B of up to {b.peak:.3g} times {config.scale(module):.3g} (lora_alpha and r in "
            f"{CONFIG}) is beyond {LARGEST:.0f}",
        )


def _check_shape(
    module: str, sides: dict[str, _Half], config: LoraConfig, matrices: Matrices
) -> Matrix:
    """The base's matrix that `module` changes. Raises StoreError where there is none like it."""
    a, b = sides["A"], sides["B"]
    found = matrices.find(module)
    if not found:
        raise _refusal(
            module, f"the base has no matrix {tail(module)}; {matrices.offer(module)}", _OTHER_BASE
        )
    shape = (a.shape[1], b.shape[0]) if a.embedding else (b.shape[0], a.shape[1])
    for matrix in found:
        turned = config.transposed and matrix.shape == shape[::-1]
        if matrix.shape is None or matrix.shape == shape or turned:
            break
    else:
        raise _refusal(
            module,
            f"changes a matrix of shape {shape}; accepted: {found[0].shape}, the base's",
            _OTHER_BASE,
        )
    if _TOWER.search(matrix.module) and b.peak:
        raise _refusal(module, "changes the part that sees or hears, where vLLM ignores adapters")
    return matrix


def _refusal(
    where: str, what: str, hint: str = "train it again, or save it with PEFT"
) -> StoreError:
    return StoreError(f"{WEIGHTS}: {where}: {what}", hint=hint)
