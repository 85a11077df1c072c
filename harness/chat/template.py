"""One rendering of chats for training, serving and evaluation.

Renders with the template that transformers compiles and encodes without added special tokens,
which is what vLLM does with a chat request. Knows nothing of labels or of servers.
"""

from __future__ import annotations

import copy
import inspect
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from harness.chat.base import base_dir
from harness.chat.builtin import BUILTIN, builtin_path, builtin_source
from harness.chat.jinja import compile_template, takes_parts
from harness.chat.tokenizer import Tokenizer, configured_stops
from harness.chat.wire import request_tools, template_messages
from harness.errors import DataError, RecipeError, nearest
from harness.recipe import Chat, LoadedRecipe, locate
from harness.types import ChatContract, Message

BYTE_ORDER_MARK = "\ufeff"
_MARK = "Zq7thoughts"


class ChatTokenizer:
    """A base's tokenizer together with one chat template, its variables and its stop tokens.

    `template` is the Jinja source, `kwargs` the variables given to it, `stop_ids` the sorted ids
    at which a completion ends: the tokenizer's and the generation config's end tokens, `stop`, and
    the end token of a built-in template.
    """

    def __init__(
        self,
        directory: Path,
        *,
        template: str | None = None,
        kwargs: Mapping[str, Any] | None = None,
        stop: Sequence[str] = (),
        allow_special_tokens: bool = False,
    ) -> None:
        """`template` None means the base's own; else a name in `BUILTIN`, or Jinja source.
        `allow_special_tokens`: train on messages that spell one. Raises RecipeError for a
        tokenizer that does not load, a template that is missing or not Jinja, a reserved
        variable, a stop text that is not one token, or a built-in template whose end token the
        tokenizer lacks."""
        self._tokenizer = Tokenizer(directory)
        self.template, self._tool_template = self._find_template(template)
        self._compiled = compile_template(self.template)
        self._takes_parts = takes_parts(self.template)
        self.kwargs = dict(kwargs or {})
        self.allow_special_tokens = allow_special_tokens
        self._refuse_reserved()
        self.stop_ids = self._find_stops(directory, stop, template)

    def with_kwargs(self, **kwargs: Any) -> ChatTokenizer:
        """The same with these variables given to the template as well."""
        return self._changed(kwargs=self.kwargs | kwargs)

    def as_trained(self, contract: ChatContract, template: str) -> ChatTokenizer:
        """The same tokenizer with what a version was trained with; `template` is its source."""
        other = self._changed(kwargs=dict(contract.kwargs), stop_ids=contract.stop_ids)
        if template == self.template:
            return other
        return other._changed(
            template=template,
            _tool_template=False,
            _compiled=compile_template(template),
            _takes_parts=takes_parts(template),
        )

    def _changed(self, **different: Any) -> ChatTokenizer:
        other = copy.copy(self)
        for name in ("reads_reasoning", "special_texts", "_variables"):
            other.__dict__.pop(name, None)
        other.__dict__.update(different)
        return other

    def render(
        self,
        messages: Sequence[Message],
        *,
        add_generation_prompt: bool,
        tools: Sequence[Mapping[str, Any]] = (),
    ) -> str:
        """The chat as text. Raises DataError with the template's own words when it refuses the
        chat, and for no messages or tools that a server refuses."""
        import jinja2

        if not messages:
            raise DataError("there are no messages, and a server answers none")
        if tools and self._tool_template:
            raise DataError(
                "the base has a template of its own for chats with tools, which one server cannot "
                "serve beside the other",
                hint="save the one that is meant to a file and name it in chat.template",
            )
        try:
            return str(
                self._compiled.render(
                    messages=template_messages(messages, parts=self._takes_parts),
                    tools=request_tools(tools) if tools else None,
                    documents=None,
                    add_generation_prompt=add_generation_prompt,
                    **self._variables,
                )
            )
        except DataError:
            raise
        except jinja2.TemplateError as error:
            raise DataError(f"the chat template refuses this chat: {error}") from None
        except Exception as error:  # a template is a program and can fail in every way
            raise DataError(
                f"the chat template fails on this chat: {type(error).__name__}: {error}",
                hint="correct chat.template, or the chat",
            ) from None

    def encode(self, text: str) -> tuple[int, ...]:
        """Token ids of `text` as it stands; special tokens written in it count as such."""
        return self._tokenizer.encode(text)

    def encode_all(self, texts: Sequence[str]) -> list[tuple[int, ...]]:
        """`encode` of each text; one call is faster than several."""
        return self._tokenizer.encode_all(texts)

    def prompt_ids(
        self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] = ()
    ) -> tuple[int, ...]:
        """The token ids a server feeds the model for this chat. Raises as `render`."""
        return self.encode(self.render(messages, add_generation_prompt=True, tools=tools))

    def decode(self, ids: Iterable[int]) -> str:
        """The text of token ids, special tokens included."""
        return self._tokenizer.decode(ids)

    def backend(self) -> dict[str, Any]:
        """The tokenizer's whole definition, as tokenizer.json would hold it."""
        return self._tokenizer.definition()

    def special(self) -> dict[str, tuple[str, int]]:
        """Name of each special token → its text and id."""
        return self._tokenizer.special()

    @property
    def special_ids(self) -> tuple[int, ...]:
        """Ids of the named special tokens; vLLM lets constrained output end at any of them."""
        return tuple(sorted({number for _, number in self.special().values()}))

    @cached_property
    def special_texts(self) -> re.Pattern[str] | None:
        """Matches where text spells a special token or a stop token of the tokenizer."""
        return self._tokenizer.special_texts(self.stop_ids)

    @cached_property
    def reads_reasoning(self) -> bool:
        """Whether the template shows a message's `reasoning`, with these variables. False for a
        template that refuses even a plain chat."""
        answer = Message(role="assistant", content="4", reasoning=_MARK)
        try:
            asked = (Message(role="user", content="2 + 2?"), answer)
            return _MARK in self.render(asked, add_generation_prompt=False)
        except DataError:
            return False

    @cached_property
    def _variables(self) -> dict[str, Any]:
        return {**self._tokenizer.variables, **self.kwargs}

    def _find_template(self, template: str | None) -> tuple[str, bool]:
        """The source, and whether a server would take another one for chats with tools."""
        if template in BUILTIN:
            return builtin_source(template), False
        if template is not None:
            return template, False
        loaded = self._tokenizer.loaded
        try:
            source = str(loaded.get_chat_template())
        except ValueError:
            raise RecipeError(
                "chat.template: the base's tokenizer has no chat template",
                hint=f"set chat.template to a Jinja file, or to one of {', '.join(BUILTIN)}",
            ) from None
        own = loaded.chat_template
        return source, isinstance(own, dict) and own.get("tool_use", source) != source

    def _refuse_reserved(self) -> None:
        reserved = inspect.signature(self._tokenizer.loaded.apply_chat_template).parameters
        for name in sorted(self.kwargs.keys() & (reserved.keys() | {"messages"})):
            raise RecipeError(
                f"chat.kwargs.{name}: this name is reserved by the renderer",
                hint="give only variables that the chat template reads",
            )

    def _find_stops(
        self, directory: Path, stop: Sequence[str], template: str | None
    ) -> tuple[int, ...]:
        found = configured_stops(directory)
        own = self._tokenizer.loaded.eos_token_id
        found |= set() if own is None else {int(own)}
        found |= {self._one_token(text) for text in stop}
        if template in BUILTIN:
            found |= self._end_of(template)
        if not found:
            raise RecipeError(
                f"chat.stop: {directory} names no end token, so an answer would never end",
                hint="add the template's end token to chat.stop",
            )
        return tuple(sorted(found))

    def _one_token(self, text: str) -> int:
        ids = self.encode(text)
        if len(ids) != 1:
            raise RecipeError(
                f"chat.stop: {text!r} is {len(ids)} tokens for this tokenizer; "
                "accepted: text of exactly one token"
            )
        return ids[0]

    def _end_of(self, name: str) -> set[int]:
        """The end token of a built-in template. Raises RecipeError where the base has none."""
        own = self._tokenizer.named.get("eos_token")
        wanted = BUILTIN[name] or own
        ids = self.encode(wanted) if wanted else ()
        if len(ids) == 1:
            return set(ids)
        raise RecipeError(
            f"chat.template = {name!r}: this base's tokenizer has no {wanted or 'eos_token'} "
            "token, with which every answer ends in this format, and a new token cannot be served",
            hint=f"use alpaca, which ends with {own}, or a file" if own else "use a file",
        )


def load_chat(loaded: LoadedRecipe, directory: Path | None = None) -> ChatTokenizer:
    """The chat tokenizer a recipe asks for; `directory` is its base's, if already known.

    `chat.template: chatml` (or another in `BUILTIN`) is the built-in one, also where a file of that
    name lies beside the recipe; `./chatml` is the file. Raises RecipeError when the template file
    cannot be read, or as `ChatTokenizer`.
    """
    chat = loaded.recipe.chat
    template, path = chat.template, template_path(chat, loaded.root)
    if template is not None and template not in BUILTIN and path is not None:
        template = _read_template(template, path)
    return ChatTokenizer(
        directory or base_dir(loaded.recipe.base, loaded.root),
        template=template,
        kwargs=chat.kwargs,
        stop=chat.stop,
        allow_special_tokens=chat.allow_special_tokens,
    )


def template_path(chat: Chat, root: Path) -> Path | None:
    """The Jinja file a server must be started with (--chat-template); None: the base's own.
    `root` is the folder a relative path starts from."""
    if chat.template is None:
        return None
    return builtin_path(chat.template) if chat.template in BUILTIN else locate(root, chat.template)


def _read_template(name: str, path: Path) -> str:
    try:
        template = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise RecipeError(
            f"chat.template = {name!r}: there is no file {path}; {nearest(name, BUILTIN)}",
            hint="give a Jinja file in UTF-8, or leave chat.template out for the base's own",
        ) from None
    except (OSError, ValueError) as error:
        raise RecipeError(
            f"chat.template = {name!r}: {path} cannot be read: {error}",
            hint=f"give a Jinja file in UTF-8, one of {', '.join(BUILTIN)}, or leave chat.template "
            "out for the base's own",
        ) from None
    if template.startswith(BYTE_ORDER_MARK):
        raise RecipeError(
            f"chat.template = {name!r}: {path} starts with a byte order mark, which "
            "the server would put before every prompt",
            hint="save it without a byte order mark (UTF-8, not UTF-8 with BOM)",
        )
    return template
