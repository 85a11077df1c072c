"""Evalsets: a folder with items.jsonl, card.yaml and a judge prompt.

Reads, checks and writes them and gives every item its content id. Knows nothing of models or
scores.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.errors import EvalsetError, nearest
from harness.evaluation.items import needs_judge, parse_item, row_of
from harness.jsonio import NotJson, digest, parse_bytes, write_bytes, write_chunks
from harness.recipe import locate
from harness.types import Item
from harness.yamlio import plain_text, read_yaml

SHIPPED_DIR = Path(__file__).parents[1] / "evalsets"
"""Evalsets that come with the package; in the source tree a link to evalsets/ beside it."""

PLACEHOLDERS = ("{prompt}", "{reference}", "{rubric}", "{response}", "{nonce}")
MAX_BYTES = 1 << 28
"""Of items.jsonl, which is held in memory."""

OnError = Callable[[EvalsetError], None]


class Card(BaseModel):
    """card.yaml: what the evalset is for and how it is judged."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1)
    purpose: str
    author: str
    licence: str
    language: str = "en"
    judge: str = "judge.md"
    references: Literal["all", "some"] = "all"
    """`some`: the judge prompt says what to do where {reference} is empty."""
    limits: str | None = None


class Evalset(NamedTuple):
    """Items in file order, with their card and judge prompt."""

    card: Card
    items: tuple[Item, ...]
    judge_prompt: str
    """Empty where there is none because the checks of every item settle it."""
    digest: str
    """SHA-256 over the item ids in order."""

    @property
    def label(self) -> str:
        """name@digest12"""
        return f"{self.card.name}@{self.digest[:12]}"


def find_evalset(name: str, root: Path, key: str | None = "evalset") -> Path:
    """The folder that `name` means: a path from `root`, or a shipped name. Raises EvalsetError
    for neither, naming `eval.<key>` where a recipe said it."""
    for path in (locate(root, name), SHIPPED_DIR / name):
        if _is_evalset(path):
            return path
    shipped = [path.parent.name for path in SHIPPED_DIR.glob("*/items.jsonl")]
    where = f"eval.{key} = {name!r}" if key else repr(name)
    raise EvalsetError(
        f"{where}: no folder with items.jsonl: {nearest(name, shipped)}",
        hint="name a shipped evalset or a folder with items.jsonl and card.yaml",
    )


def _is_evalset(path: Path) -> bool:
    try:
        return (path / "items.jsonl").is_file()
    except (OSError, ValueError):  # a name that is too long, or has a NUL
        return False


def _raise(error: EvalsetError) -> None:
    raise error


def load_evalset(
    evalset_dir: Path, prompt_path: Path | None = None, *, on_error: OnError = _raise
) -> Evalset:
    """Read and check a whole evalset; `prompt_path` replaces its own judge prompt.

    Raises EvalsetError with file:line, what was seen and what is accepted. Where `on_error`
    returns, the items and the judge prompt that it was called for are left out.
    """
    card = _load_card(evalset_dir / "card.yaml")
    path = evalset_dir / "items.jsonl"
    found: dict[str, Item] = {}
    lines: dict[str, int] = {}
    line = 0
    for line, value in _lines(path, on_error):
        try:
            item = parse_item(value, f"{path}:{line}")
            if item.id in found:
                raise EvalsetError(
                    f"{path}:{line}: the same item stands earlier in the file, "
                    f"in line {lines[item.id]}"
                )
        except EvalsetError as error:
            on_error(error)
            continue
        found[item.id], lines[item.id] = item, line
    items = tuple(found.values())
    if not line:
        on_error(EvalsetError(f"{path}: no items", hint="one JSON object an item, each in a line"))
    prompt_path = prompt_path or evalset_dir / card.judge
    judge_prompt = ""
    if not items or any(map(needs_judge, items)) or _exists(prompt_path):
        try:
            judge_prompt = load_judge_prompt(prompt_path)
        except EvalsetError as error:
            on_error(error)
    if "{reference}" in judge_prompt and card.references == "all":
        for item in items:
            if item.reference is None and needs_judge(item):
                on_error(_no_reference(f"{path}:{lines[item.id]}", prompt_path))
    return Evalset(card, items, judge_prompt, digest(list(found)))


def _lines(path: Path, on_error: OnError) -> Iterator[tuple[int, Any]]:
    """(line number from 1, value) of every line that is JSON and not blank."""
    try:
        n_bytes = path.stat().st_size
        if n_bytes > MAX_BYTES:
            raise EvalsetError(f"{path}: {n_bytes:,} bytes; accepted: up to {MAX_BYTES:,}")
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                try:
                    yield number, parse_bytes(line)
                except NotJson as error:
                    hint = "every line must be one JSON object, in UTF-8"
                    on_error(EvalsetError(f"{path}:{number}: not JSON: {error}", hint=hint))
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise EvalsetError(f"{str(path)!r}: cannot be read: {error}") from None


def _no_reference(where: str, prompt_path: Path) -> EvalsetError:
    return EvalsetError(
        f"{where}: no reference, but the judge prompt needs one",
        hint=f"add 'reference', remove {{reference}} from {prompt_path}, or let it say what to do "
        "without one and set 'references: some' in card.yaml",
    )


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name that is too long: reading it says so
        return True


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


def write_evalset(folder: Path, card: Card, items: Iterable[Item], judge_prompt: str = "") -> None:
    """A new evalset, whole or not at all; without a judge prompt where that is empty.

    Raises EvalsetError for a folder that exists.
    """
    require_new(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    staged = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        lines = (json.dumps(row_of(item), ensure_ascii=False) + "\n" for item in items)
        write_chunks(staged / "items.jsonl", (line.encode() for line in lines))
        said = card.model_dump(exclude_defaults=True)
        text = yaml.safe_dump(said, sort_keys=False, allow_unicode=True, width=100)
        write_bytes(staged / "card.yaml", text.encode())
        if judge_prompt:
            write_bytes(staged / card.judge, judge_prompt.encode())
        staged.chmod(0o755)
        staged.rename(folder)
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def require_new(folder: Path) -> None:
    """Raises EvalsetError for a path where something is already."""
    if folder.exists():
        raise EvalsetError(f"{folder}: exists already", hint="name a folder that does not")
