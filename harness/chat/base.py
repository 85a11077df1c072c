"""Where a base model's files are, and which model they are.

A base is `pocket`, a directory or a hub id. What is no loadable model is refused here by name.
Of the weights it reads the names and shapes alone; never opens a pickle.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.errors import RecipeError, StoreError
from harness.jsonio import file_digest, read_json
from harness.recipe import Base, locate
from harness.store import base_digest
from harness.store.tensors import read_folder
from harness.types import BaseInfo

POCKET = "pocket"
MIN_CONTEXT = 16
DEFAULT_CONTEXT = 8192
"""Long enough for most; a server must keep room for one request of the full length."""
TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "tekken.json", "vocab.json")
"""Any one of these makes a tokenizer."""
_WANTED = ["*.json", "*.jinja", "*.safetensors", "*.model", "merges.txt", "vocab.txt"]
_DOUBLES = ["consolidated*.safetensors"]
"""Mistral's hubs hold all weights twice; with the second copy vLLM takes another tokenizer."""
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")


def base_dir(base: Base, root: Path = Path()) -> Path:
    """The directory with the base's config, tokenizer and safetensors.

    `root` is the folder a relative directory starts from. A hub id is downloaded to the hub's
    cache unless HF_HUB_OFFLINE is set. Raises RecipeError when there is no usable model.
    """
    if base.model == POCKET:
        found = Path(__file__).parents[1] / "pocket" / "assets" / "base"
    elif _is_dir(local := locate(root, base.model)):
        found = local
    elif _is_path(base.model):
        raise RecipeError(
            f"base.model = {base.model!r}: no such directory {local}",
            hint="give an existing model directory, a hub id such as Qwen/Qwen3-0.6B, or pocket",
        )
    else:
        found = _download(base)
    _check(base, found)
    return found


def base_info(base: Base, directory: Path) -> BaseInfo:
    """Which model `directory` holds, for the manifest."""
    return BaseInfo(
        model=base.model,
        revision=base.revision or _snapshot(directory),
        config=file_digest(directory / "config.json"),
        weights=base_digest(directory),
        dtype=base.dtype,
    )


def _snapshot(directory: Path) -> str | None:
    """The commit of a directory in the hub's cache (…/snapshots/<commit>)."""
    return directory.name if directory.parent.name == "snapshots" else None


def max_context(base: Base, directory: Path) -> int:
    """Tokens of prompt and answer together, for training and for serving.

    Raises RecipeError when the recipe asks for more than the base attends to.
    """
    config = read_config(directory, "config.json")
    text = config.get("text_config") or config
    longest = text.get("max_position_embeddings") if isinstance(text, dict) else None
    if type(longest) is not int or not MIN_CONTEXT <= longest <= 2**31:
        raise RecipeError(
            f"base.model: {directory / 'config.json'}: max_position_embeddings = {longest!r:.60}, "
            f"so how long its context is cannot be known; accepted: {MIN_CONTEXT} or more",
            hint="take config.json from where the model was published",
        )
    if base.max_context is None:
        return min(longest, DEFAULT_CONTEXT)
    if base.max_context > longest:
        raise RecipeError(
            f"base.max_context = {base.max_context}: the base attends to {longest} tokens at most",
            hint=f"set base.max_context to {longest} or less",
        )
    return base.max_context


def read_config(directory: Path, name: str) -> dict[str, Any]:
    """The JSON object in one of a base's files; empty where the file is absent. Raises RecipeError
    for any other value."""
    path = directory / name
    if not path.is_file():
        return {}
    config = read_json(path)
    if not isinstance(config, dict):
        raise RecipeError(
            f"base.model: {path} holds a {type(config).__name__}; accepted: a JSON object",
            hint=f"take {name} from where the model was published",
        )
    return config


def tensor_shapes(directory: Path) -> dict[str, tuple[int, ...]]:
    """Name → shape of every tensor, from the headers of the safetensors files. Raises RecipeError
    for a file that is damaged or cut short."""
    try:
        return {name: tensor.shape for name, tensor in read_folder(directory).items()}
    except StoreError as error:
        raise RecipeError(
            f"base.model: {directory}: {error}", hint="download or save the model again"
        ) from None


def _is_dir(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # a name that is too long
        return False


def _is_path(model: str) -> bool:
    return model.startswith((".", "/", "~")) or model.count("/") != 1


def _download(base: Base) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    try:
        path = snapshot_download(
            base.model, revision=base.revision, allow_patterns=_WANTED, ignore_patterns=_DOUBLES
        )
    except (OSError, ValueError, HFValidationError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise RecipeError(
            f"base.model = {base.model!r}, base.revision = {base.revision!r}: "
            f"not on this machine and not downloadable: {reason}",
            hint="check the id and the network (HF_HUB_OFFLINE forbids downloads), accept a gated "
            "model's licence on its page and run hf auth login, or give a model directory",
        ) from None
    return Path(path)


def _check(base: Base, directory: Path) -> None:
    missing = []
    if not (directory / "config.json").is_file():
        missing.append("config.json")
    if not any((directory / name).is_file() for name in TOKENIZER_FILES):
        missing.append(f"a tokenizer ({' or '.join(TOKENIZER_FILES)})")
    if not any(directory.glob("*.safetensors")):
        missing.append("weights (*.safetensors)")
    if not missing:
        read_config(directory, "config.json")
        tensor_shapes(directory)
        return
    hint = "give the directory of a complete model, as save_pretrained writes it"
    if any(next(directory.glob(pattern), None) for pattern in _PICKLES):
        hint = "pickled weights can run code and are refused; save the model as safetensors"
    raise RecipeError(
        f"base.model = {base.model!r}: {directory} is not a model: it lacks {', '.join(missing)}",
        hint=hint,
    )
