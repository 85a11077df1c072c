"""A base's tokenizer as vLLM loads it, reduced to exact text ⇄ token ids.

Works on the tokenizer's Rust backend, which transformers itself calls, without what transformers
does around it for every call. Knows nothing of templates or messages.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from harness.chat.base import read_config
from harness.errors import RecipeError

GENERIC_TRUSTED = ("llama", "qwen3")
"""Model types whose own word that their tokenizer is a generic one AutoTokenizer believes."""
THOUGHT_TAGS = ("<think>", "</think>")
"""Tokens that belong in an answer's text, whether or not a tokenizer calls them special."""


class Tokenizer:
    """Text to token ids and back.

    `variables` is what a template is given of it (bos_token …), `named` those that are one text,
    `loaded` what transformers made of the directory.
    """

    def __init__(self, directory: Path) -> None:
        """Raises RecipeError for a tokenizer that does not load or has no Rust backend."""
        self.loaded = load_tokenizer(directory)
        backend = getattr(self.loaded, "backend_tokenizer", None)
        if backend is None:
            raise RecipeError(
                f"base.model: the tokenizer in {directory} is a {type(self.loaded).__name__}, "
                "which has no tokenizer.json form",
                hint="convert it: a tokenizer.json must lie beside the model",
            )
        self._backend = backend
        self._backend.no_truncation()
        self._backend.no_padding()
        self._backend.encode_special_tokens = self.loaded.split_special_tokens
        self.variables: dict[str, Any] = dict(self.loaded.special_tokens_map)
        self.named = {name: text for name, text in self.variables.items() if isinstance(text, str)}

    def encode(self, text: str) -> tuple[int, ...]:
        """Token ids of `text` as it stands; special tokens written in it count as such."""
        return self.encode_all([text])[0]

    def encode_all(self, texts: Sequence[str]) -> list[tuple[int, ...]]:
        """The same for each text; one call is faster than several."""
        found = self._backend.encode_batch_fast(texts, add_special_tokens=False)
        return [tuple(each.ids) for each in found]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of token ids, special tokens included."""
        return str(self._backend.decode(list(ids), skip_special_tokens=False))

    def definition(self) -> dict[str, Any]:
        """The tokenizer as tokenizer.json would hold it."""
        return dict(json.loads(self._backend.to_str()))

    def special(self) -> dict[str, tuple[str, int]]:
        """Name of each special token → its text and id."""
        ids = self.loaded.convert_tokens_to_ids
        return {name: (text, int(ids(text))) for name, text in sorted(self.named.items())}

    def special_texts(self, also: Iterable[int]) -> re.Pattern[str] | None:
        """Matches where text spells a special token or one of the added tokens in `also`; None
        where there is none. Tags of thoughts do not count."""
        added = self._backend.get_added_tokens_decoder()
        texts = {each.content for number, each in added.items() if each.special or number in also}
        texts = (texts | set(self.named.values())) - {*THOUGHT_TAGS, ""}
        longest_first = sorted(texts, key=lambda text: (-len(text), text))
        return re.compile("|".join(map(re.escape, longest_first))) if texts else None


def load_tokenizer(directory: Path) -> Any:
    """As vLLM does, with AutoTokenizer; where that would take the generic class, directly with
    that class, which spares importing torch. Raises RecipeError."""
    if _is_generic(directory):
        from transformers import PreTrainedTokenizerFast as Loader
    else:
        from transformers import AutoTokenizer as Loader
    try:
        return Loader.from_pretrained(directory)
    except Exception as error:  # the tokenizers library raises bare exceptions
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise RecipeError(
            f"base.model: the tokenizer in {directory} does not load: {reason}",
            hint="give a model directory with a complete tokenizer",
        ) from None


def configured_stops(directory: Path) -> set[int]:
    """End tokens of generation_config.json, or of config.json where that file is absent, which
    is where vLLM looks. Raises RecipeError for what are no token ids."""
    generation = directory / "generation_config.json"
    name = generation.name if generation.is_file() else "config.json"
    value = read_config(directory, name).get("eos_token_id")
    ids = value if isinstance(value, list) else [] if value is None else [value]
    if not all(type(each) is int and 0 <= each < 2**31 for each in ids):
        raise RecipeError(
            f"base.model: {directory / name}: eos_token_id = {value!r:.60}; "
            "accepted: a token id, a list of them, or null",
            hint=f"take {name} from where the model was published",
        )
    return set(ids)


def _is_generic(directory: Path) -> bool:
    config = read_config(directory, "tokenizer_config.json")
    return (
        (directory / "tokenizer.json").is_file()
        and config.get("tokenizer_class") in ("PreTrainedTokenizerFast", "TokenizersBackend")
        and "auto_map" not in config
        and read_config(directory, "config.json").get("model_type") in GENERIC_TRUSTED
    )
