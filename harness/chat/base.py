"""Where a base model's files are, and which model they are.

A base is `pocket`, a directory or a hub id. What is no loadable model is refused here by name.
Knows nothing of weights beyond their file names; never opens a pickle.
"""

from __future__ import annotations

from pathlib import Path

from harness.errors import RecipeError
from harness.jsonio import file_digest
from harness.recipe import Base
from harness.types import BaseInfo

POCKET = "pocket"
TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "tekken.json", "vocab.json")
"""Any one of these makes a tokenizer."""
_WANTED = ["*.json", "*.jinja", "*.safetensors", "*.model", "merges.txt", "vocab.txt"]
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")


def base_dir(base: Base, root: Path = Path()) -> Path:
    """The directory with the base's config, tokenizer and safetensors.

    `root` is the folder a relative directory starts from. A hub id is downloaded to the hub's
    cache unless HF_HUB_OFFLINE is set. Raises RecipeError when there is no usable model.
    """
    if base.model == POCKET:
        found = Path(__file__).parents[1] / "pocket" / "assets" / "base"
    elif (local := root / Path(base.model).expanduser()).is_dir():
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
    config = file_digest(directory / "config.json")
    return BaseInfo(model=base.model, revision=base.revision, config=config, dtype=base.dtype)


def _is_path(model: str) -> bool:
    return model.startswith((".", "/", "~")) or model.count("/") != 1


def _download(base: Base) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    try:
        path = snapshot_download(base.model, revision=base.revision, allow_patterns=_WANTED)
    except (OSError, ValueError, HFValidationError) as error:
        reason = str(error).strip().splitlines()[0]
        raise RecipeError(
            f"base.model = {base.model!r}, base.revision = {base.revision!r}: "
            f"not on this machine and not downloadable: {reason}",
            hint="check the id and the network (HF_HUB_OFFLINE forbids downloads), "
            "or give a model directory",
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
        return
    hint = "give the directory of a complete model, as save_pretrained writes it"
    if any(next(directory.glob(pattern), None) for pattern in _PICKLES):
        hint = "pickled weights can run code and are refused; save the model as safetensors"
    raise RecipeError(
        f"base.model = {base.model!r}: {directory} is not a model: it lacks {', '.join(missing)}",
        hint=hint,
    )
