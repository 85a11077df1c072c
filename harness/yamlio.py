"""YAML of plain values: text, numbers, truth values, null, lists and mappings with text keys.

Everything else a YAML file can hold (objects, dates, binary, numbers that are not finite, control
characters, values that contain themselves) is refused with its line. Knows nothing of what the
values mean.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from harness.errors import HarnessError

MAX_DEPTH = 32
MAX_KEYS = 10_000
"""More than any recipe needs; reached only by aliases that multiply."""
_PLAIN = "text, numbers, true, false, null, lists and mappings"
_TAG = "tag:yaml.org,2002:"
_ACCEPTED = {_TAG + name for name in ("str", "int", "float", "bool", "null", "map", "seq")}
_MERGE = _TAG + "merge"
_SHOWN = 60


class _Loader(yaml.SafeLoader):
    """Takes 1e-4 and 1.5e3 for numbers, as YAML 1.2 does; in YAML 1.1 they are text."""


_Loader.add_implicit_resolver(
    _TAG + "float",
    re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+\Z"),
    list("-+.0123456789"),
)


class Yaml(NamedTuple):
    """A value and where it is written."""

    value: Any
    lines: dict[str, int]
    """Key path (`train.lr`, `data.sources.0.path`) → line from 1."""


def read_yaml(path: Path, kind: type[HarnessError]) -> Yaml:
    """The YAML in a UTF-8 file. Raises FileNotFoundError, and `kind` for all else, naming
    file:line, key path, value and what is accepted."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise
    except UnicodeDecodeError as error:
        raise kind(f"{path}: not text in UTF-8: {error}") from None
    except (OSError, ValueError) as error:
        raise kind(f"{path}: cannot be read: {error}") from None
    return parse_yaml(text, str(path), kind)


def parse_yaml(text: str, where: str, kind: type[HarnessError], *, numbered: bool = True) -> Yaml:
    """One YAML document; `where` names it in errors, with the line when `numbered`. Raises as
    `read_yaml`."""
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return Yaml(None, {})
        lines: dict[str, int] = {}
        _Check(loader, where, kind, numbered, lines).visit(node, "", 0)
        value = loader.construct_document(node)
        return Yaml(json.loads(json.dumps(value)), lines)  # so that aliases share nothing
    except yaml.YAMLError as error:
        line = _line(error, text) if numbered else ""
        raise kind(f"{where}{line}: not YAML: {_reason(error)}") from None
    except RecursionError:
        raise _too_deep(where, kind) from None


def plain_text(text: str) -> str | None:
    """Why a text cannot be a path, a name or a prompt; None when it can."""
    for character in text:
        if character not in "\t\n\r" and unicodedata.category(character) in ("Cc", "Cs"):
            return f"the character {character!r} is not accepted"
    return None


class _Check(NamedTuple):
    """A walk over the nodes of one document that fills `lines`."""

    loader: yaml.SafeLoader
    where: str
    kind: type[HarnessError]
    numbered: bool
    lines: dict[str, int]

    def visit(self, node: yaml.Node, name: str, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise _too_deep(self._place(node), self.kind)
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                path = self._key(key, name)
                self._note(path, key)
                self.visit(value, path, depth + 1)
        elif isinstance(node, yaml.SequenceNode):
            for index, value in enumerate(node.value):
                path = f"{name}.{index}" if name else str(index)
                self._note(path, value)
                self.visit(value, path, depth + 1)
        reason = self._refusal(node)
        if reason:
            shown = f"{name} = " if name else ""
            raise self.kind(f"{self._place(node)}: {shown}{_show(node)}: {reason}")

    def _key(self, node: yaml.Node, name: str) -> str:
        plain = isinstance(node, yaml.ScalarNode) and node.tag in (_MERGE, _TAG + "str")
        if not plain or plain_text(node.value):
            raise self.kind(
                f"{self._place(node)}: {name + ': ' if name else ''}the key {_show(node)} is not "
                "accepted; accepted: plain text",
                hint="put the key in quotes if it is meant as text",
            )
        return f"{name}.{node.value}" if name else str(node.value)

    def _note(self, path: str, node: yaml.Node) -> None:
        """A key written twice is an error, not a silent loss."""
        if path in self.lines:
            raise self.kind(
                f"{self._place(node)}: {path} is set twice (first in line {self.lines[path]})"
            )
        if len(self.lines) >= MAX_KEYS:
            raise self.kind(f"{self.where}: more than {MAX_KEYS} values, aliases counted")
        self.lines[path] = node.start_mark.line + 1

    def _refusal(self, node: yaml.Node) -> str | None:
        if node.tag not in _ACCEPTED:
            return f"{_tag(node)} is not accepted; accepted: {_PLAIN}; text goes in quotes"
        if not isinstance(node, yaml.ScalarNode):
            return None
        try:
            value = self.loader.construct_object(node)
        except (ValueError, LookupError):
            return f"cannot be read as {_tag(node)}"
        if isinstance(value, float) and not math.isfinite(value):
            return "not a finite number"
        if isinstance(value, int) and value.bit_length() > 64:
            return "a number of more than 64 bits"
        return plain_text(value) if isinstance(value, str) else None

    def _place(self, node: yaml.Node) -> str:
        return f"{self.where}:{node.start_mark.line + 1}" if self.numbered else self.where


def _too_deep(where: str, kind: type[HarnessError]) -> HarnessError:
    return kind(f"{where}: nested more than {MAX_DEPTH} deep, or an alias that contains itself")


def _tag(node: yaml.Node) -> str:
    return f"!!{node.tag.removeprefix(_TAG)}" if node.tag.startswith(_TAG) else str(node.tag)


def _show(node: yaml.Node) -> str:
    if not isinstance(node, yaml.ScalarNode):
        return "a list" if isinstance(node, yaml.SequenceNode) else "a mapping"
    text = repr(node.value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _line(error: yaml.YAMLError, text: str) -> str:
    if isinstance(error, yaml.reader.ReaderError):
        return f":{text.count(chr(10), 0, error.position) + 1}"
    mark = getattr(error, "problem_mark", None)
    return f":{mark.line + 1}" if mark else ""


def _reason(error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.reader.ReaderError):
        return f"the character #x{error.character:02x} is not accepted"
    return getattr(error, "problem", None) or str(error).splitlines()[0]
