"""One rendering of chats for training, serving and evaluation.

Renders through the tokenizer's own `apply_chat_template` and encodes without added special
tokens, which is what vLLM does with a chat request. Knows nothing of labels or of servers.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.chat.base import base_dir, read_config
from harness.errors import DataError, RecipeError
from harness.recipe import LoadedRecipe
from harness.types import Message

GENERIC_TRUSTED = ("llama", "qwen3")
"""Model types whose own word that their tokenizer is a generic one AutoTokenizer believes."""


BYTE_ORDER_MARK = "\ufeff"


class ChatTokenizer:
    """A base's tokenizer together with one chat template, its variables and its stop tokens.

    `template` is the Jinja source, `kwargs` the variables given to it, `stop_ids` the sorted ids
    at which a completion ends: the tokenizer's and the generation config's end tokens and `stop`.
    """

    def __init__(
        self,
        directory: Path,
        *,
        template: str | None = None,
        kwargs: Mapping[str, Any] | None = None,
        stop: Sequence[str] = (),
    ) -> None:
        """`template` None means the base's own. Raises RecipeError for a tokenizer that does not
        load, a missing template, a reserved variable or a stop text that is not one token."""
        self._tokenizer = _load_tokenizer(directory)
        self.template = template if template is not None else _own_template(self._tokenizer)
        self.kwargs = dict(kwargs or {})
        self._refuse_reserved()
        self.stop_ids = self._find_stops(directory, stop)

    def render(self, messages: Sequence[Message], *, add_generation_prompt: bool) -> str:
        """The chat as text. Raises DataError with the template's own words when it refuses the
        chat, RecipeError when the template is not Jinja."""
        import jinja2

        try:
            text = self._tokenizer.apply_chat_template(
                [{"role": each.role, "content": each.content} for each in messages],
                chat_template=self.template,
                tokenize=False,
                add_generation_prompt=add_generation_prompt,
                **self.kwargs,
            )
        except jinja2.TemplateSyntaxError as error:
            raise RecipeError(
                f"chat.template: line {error.lineno}: {error.message}",
                hint="the template must be Jinja as transformers renders it",
            ) from None
        except jinja2.TemplateError as error:
            raise DataError(f"the chat template refuses this chat: {error}") from None
        except Exception as error:  # a template is a program and can fail in every way
            raise DataError(
                f"the chat template fails on this chat: {type(error).__name__}: {error}",
                hint="correct chat.template, or the chat",
            ) from None
        return str(text)

    def encode(self, text: str) -> tuple[int, ...]:
        """Token ids of `text` as it stands; special tokens written in it count as such."""
        return tuple(self._tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])

    def prompt_ids(self, messages: Sequence[Message]) -> tuple[int, ...]:
        """The token ids a server feeds the model for this chat. Raises as `render`."""
        return self.encode(self.render(messages, add_generation_prompt=True))

    def decode(self, ids: Iterable[int]) -> str:
        """The text of token ids, special tokens included."""
        return str(self._tokenizer.decode(list(ids), clean_up_tokenization_spaces=False))

    def backend(self) -> dict[str, Any]:
        """The tokenizer's whole definition, as tokenizer.json would hold it."""
        return dict(json.loads(self._tokenizer.backend_tokenizer.to_str()))

    def special(self) -> dict[str, tuple[str, int]]:
        """Name of each special token → its text and id."""
        named = self._tokenizer.special_tokens_map.items()
        texts = {name: text for name, text in named if isinstance(text, str)}
        ids = self._tokenizer.convert_tokens_to_ids
        return {name: (text, int(ids(text))) for name, text in sorted(texts.items())}

    @property
    def special_ids(self) -> tuple[int, ...]:
        """Ids of the named special tokens; vLLM lets constrained output end at any of them."""
        return tuple(sorted({number for _, number in self.special().values()}))

    def _refuse_reserved(self) -> None:
        reserved = set(inspect.signature(self._tokenizer.apply_chat_template).parameters)
        for name in sorted(self.kwargs.keys() & (reserved | {"messages"})):
            raise RecipeError(
                f"chat.kwargs.{name}: this name is reserved by the renderer",
                hint="give only variables that the chat template reads",
            )

    def _find_stops(self, directory: Path, stop: Sequence[str]) -> tuple[int, ...]:
        found = _configured_stops(directory)
        if self._tokenizer.eos_token_id is not None:
            found.add(int(self._tokenizer.eos_token_id))
        for text in stop:
            ids = self.encode(text)
            if len(ids) != 1:
                raise RecipeError(
                    f"chat.stop: {text!r} is {len(ids)} tokens for this tokenizer; "
                    "accepted: text of exactly one token"
                )
            found.add(ids[0])
        if not found:
            raise RecipeError(
                f"chat.stop: {directory} names no end token, so an answer would never end",
                hint="add the template's end token to chat.stop",
            )
        return tuple(sorted(found))


def load_chat(loaded: LoadedRecipe, directory: Path | None = None) -> ChatTokenizer:
    """The chat tokenizer a recipe asks for; `directory` is its base's, if already known.

    Raises RecipeError when the template file cannot be read, or as `ChatTokenizer`.
    """
    chat = loaded.recipe.chat
    directory = directory or base_dir(loaded.recipe.base, loaded.root)
    template = None
    if chat.template is not None:
        path = loaded.locate(chat.template)
        try:
            template = path.read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise RecipeError(
                f"chat.template = {chat.template!r}: {path} cannot be read: {error}",
                hint="give a Jinja file in UTF-8, or leave chat.template out for the base's own",
            ) from None
        if template.startswith(BYTE_ORDER_MARK):
            raise RecipeError(
                f"chat.template = {chat.template!r}: {path} starts with a byte order mark, which "
                "the server would put before every prompt",
                hint="save it without a byte order mark (UTF-8, not UTF-8 with BOM)",
            )
    return ChatTokenizer(directory, template=template, kwargs=chat.kwargs, stop=chat.stop)


def _load_tokenizer(directory: Path) -> Any:
    """As vLLM does, with AutoTokenizer; where that would take the generic class, directly with
    that class, which spares importing torch."""
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


def _is_generic(directory: Path) -> bool:
    config = read_config(directory, "tokenizer_config.json")
    return (
        (directory / "tokenizer.json").is_file()
        and config.get("tokenizer_class") in ("PreTrainedTokenizerFast", "TokenizersBackend")
        and "auto_map" not in config
        and read_config(directory, "config.json").get("model_type") in GENERIC_TRUSTED
    )


def _own_template(tokenizer: Any) -> str:
    try:
        return str(tokenizer.get_chat_template())
    except ValueError:
        raise RecipeError(
            "chat.template: the base's tokenizer has no chat template",
            hint="set chat.template to a Jinja file",
        ) from None


def _configured_stops(directory: Path) -> set[int]:
    """End tokens of generation_config.json, or of config.json where that file is absent, which
    is where vLLM looks."""
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
