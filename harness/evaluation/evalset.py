"""Evalsets: a folder with items.jsonl, card.yaml and a judge prompt.

Reads and checks them and gives every item its content id. Knows nothing of models or scores.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError

from harness.errors import EvalsetError, nearest
from harness.jsonio import digest, read_jsonl
from harness.recipe import locate
from harness.types import Item, Message
from harness.yamlio import plain_text, read_yaml

SHIPPED_DIR = Path(__file__).parents[2] / "evalsets"
"""Evalsets that come with the source tree; elsewhere an evalset is a path."""

PLACEHOLDERS = ("{prompt}", "{reference}", "{rubric}", "{response}")


class Card(BaseModel):
    """card.yaml: what the evalset is for and how it is judged."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    purpose: str
    author: str
    licence: str
    language: str = "en"
    judge: str = "judge.md"
    limits: str | None = None


class Evalset(NamedTuple):
    """Items in file order, with their card and judge prompt."""

    card: Card
    items: tuple[Item, ...]
    judge_prompt: str
    digest: str
    """SHA-256 over the item ids in order."""

    @property
    def label(self) -> str:
        """name@digest12"""
        return f"{self.card.name}@{self.digest[:12]}"


def find_evalset(name: str, root: Path, key: str = "evalset") -> Path:
    """The folder that a recipe's `eval.<key>` means: a path, or a shipped name. Raises
    EvalsetError for neither."""
    for path in (locate(root, name), SHIPPED_DIR / name):
        if _is_evalset(path):
            return path
    shipped = [path.parent.name for path in SHIPPED_DIR.glob("*/items.jsonl")]
    raise EvalsetError(
        f"eval.{key} = {name!r}: no folder with items.jsonl: {nearest(name, shipped)}",
        hint="name a shipped evalset or a folder with items.jsonl and card.yaml",
    )


def _is_evalset(path: Path) -> bool:
    try:
        return (path / "items.jsonl").is_file()
    except OSError:  # a name that is too long
        return False


def load_evalset(evalset_dir: Path, prompt_path: Path | None = None) -> Evalset:
    """Read and check a whole evalset; `prompt_path` replaces its own judge prompt.

    Raises EvalsetError with file:line, what was seen and what is accepted.
    """
    card = _load_card(evalset_dir / "card.yaml")
    path = evalset_dir / "items.jsonl"
    prompt_path = prompt_path or evalset_dir / card.judge
    judge_prompt = load_judge_prompt(prompt_path)
    items: dict[str, Item] = {}
    for line, value in read_jsonl(path):
        item = _parse_item(value, f"{path}:{line}")
        if item.id in items:
            raise EvalsetError(f"{path}:{line}: the same item stands earlier in the file")
        if item.reference is None and "{reference}" in judge_prompt:
            raise EvalsetError(
                f"{path}:{line}: no reference, but the judge prompt needs one",
                hint=f"add 'reference', or remove {{reference}} from {prompt_path}",
            )
        items[item.id] = item
    if not items:
        raise EvalsetError(f"{path}: no items", hint="one JSON object with 'messages' a line")
    return Evalset(card, tuple(items.values()), judge_prompt, digest(list(items)))


def load_judge_prompt(path: Path) -> str:
    """A judge prompt; it must show the judge the response. Raises EvalsetError."""
    try:
        text = path.read_text(encoding="utf-8-sig").strip()
    except FileNotFoundError:
        raise EvalsetError(
            f"{path}: no such judge prompt",
            hint=f"write one; it may use {', '.join(PLACEHOLDERS)} and ends by asking for a line "
            "'score N'",
        ) from None
    except UnicodeDecodeError as error:
        raise EvalsetError(f"{path}: not a judge prompt in UTF-8: {error}") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise EvalsetError(f"{str(path)!r}: the judge prompt cannot be read: {error}") from None
    reason = plain_text(text)
    if reason:
        raise EvalsetError(f"{path}: {reason} in a judge prompt")
    if "{response}" not in text:
        raise EvalsetError(
            f"{path}: the judge prompt lacks {{response}}; "
            f"accepted placeholders: {', '.join(PLACEHOLDERS)}"
        )
    return text


def _load_card(path: Path) -> Card:
    try:
        return Card.model_validate(read_yaml(path, EvalsetError).value)
    except FileNotFoundError:
        raise EvalsetError(
            f"{path}: missing", hint="a card says name, purpose, author and licence"
        ) from None
    except ValidationError as error:
        problem = error.errors()[0]
        key = ".".join(map(str, problem["loc"]))
        raise EvalsetError(
            f"{path}: {key + ': ' if key else ''}{problem['msg']}; "
            f"accepted keys: {', '.join(Card.model_fields)}"
        ) from None


def _parse_item(value: Any, where: str) -> Item:
    if not isinstance(value, dict):
        raise EvalsetError(f"{where}: an item is a JSON object, not {type(value).__name__}")
    try:
        item = Item.model_validate({**value, "id": ""})
    except ValidationError as error:
        problem = error.errors()[0]
        key = ".".join(map(str, problem["loc"]))
        accepted = ", ".join(name for name in Item.model_fields if name != "id")
        raise EvalsetError(f"{where}: {key}: {problem['msg']}; accepted keys: {accepted}") from None
    if not item.messages or item.messages[-1].role != "user":
        raise EvalsetError(f"{where}: messages must end with the user's")
    if not (item.reference or "").strip():
        item = item.model_copy(update={"reference": None})
    return item.model_copy(update={"id": digest(item.dump())[:12]})


def messages_of(item: Item, system: str | None) -> tuple[Message, ...]:
    """What a target is asked: the item's messages after the target's system prompt."""
    head = (Message(role="system", content=system),) if system else ()
    return (*head, *item.messages)
