"""What a chat template's source says, without rendering a chat.

Compiles as transformers does, which is what vLLM renders with. Knows nothing of messages,
tokenizers or recipes.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from harness.errors import RecipeError

_GIVEN = frozenset({"messages", "tools", "documents", "add_generation_prompt"})
"""Variables that every renderer passes."""


def compile_template(source: str) -> Any:
    """The template as transformers compiles it. Raises RecipeError when it is not Jinja."""
    import jinja2
    from transformers.utils.chat_template_utils import _compile_jinja_template

    try:
        return _compile_jinja_template(source)
    except jinja2.TemplateSyntaxError as error:
        raise RecipeError(
            f"chat.template: line {error.lineno}: {error.message}",
            hint="the template must be Jinja as transformers renders it",
        ) from None


@lru_cache(maxsize=64)
def variables(source: str) -> frozenset[str]:
    """Names a template reads that neither it nor every renderer sets: special tokens, functions
    and what chat.kwargs may give. Raises as `compile_template`."""
    from jinja2 import meta

    return frozenset(meta.find_undeclared_variables(_tree(source))) - _GIVEN


@lru_cache(maxsize=64)
def takes_parts(source: str) -> bool:
    """Whether the template loops over a message's content, so that vLLM gives it a list of parts.

    Decides as vLLM 0.32 does (`_detect_content_format` in vllm/renderers/hf.py), whose content
    format is then "openai"; False where that gives up. Raises as `compile_template`.
    """
    from jinja2 import nodes

    tree = _tree(source)
    loops = list(tree.find_all(nodes.For))
    try:
        chats = {(name, None) for name in _aliases(tree, "messages")}
        messages = {_name(loop.target) for loop in loops if _reads(loop.iter) in chats}
    except TypeError:
        return False
    contents = {(name, "content") for name in messages}
    if any(_reads(loop.iter) in contents for loop in loops):
        return True
    inside: set[int] = set()
    for macro in tree.find_all(nodes.Macro):
        given = set(_given_content(tree, macro, contents))
        for loop in macro.find_all(nodes.For):
            inside.add(id(loop))
            if isinstance(loop.iter, nodes.Name) and loop.iter.name in given:
                return True
    outside = (loop.iter for loop in loops if id(loop) not in inside)
    return any(isinstance(each, nodes.Name) and each.name == "content" for each in outside)


def _tree(source: str) -> Any:
    return compile_template(source).environment.parse(source)


def _reads(node: Any) -> tuple[str, str | None] | None:
    """(variable, None) or (variable, key) where an expression is that, filtered or sliced."""
    from jinja2 import nodes

    while isinstance(node, nodes.Filter | nodes.Test) or _is_slice(node):
        node = node.node
    if isinstance(node, nodes.Name):
        return (node.name, None) if node.ctx == "load" else None
    if not isinstance(node, nodes.Getitem | nodes.Getattr) or not isinstance(node.node, nodes.Name):
        return None
    if isinstance(node, nodes.Getattr):
        return node.node.name, node.attr
    return (node.node.name, node.arg.value) if isinstance(node.arg, nodes.Const) else None


def _is_slice(node: Any) -> bool:
    from jinja2 import nodes

    return isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Slice)


def _name(target: Any) -> str:
    """Raises TypeError for a target that is not one plain variable."""
    from jinja2 import nodes

    if not isinstance(target, nodes.Name):
        raise TypeError
    return target.name


def _aliases(tree: Any, name: str) -> set[str]:
    """`name` and every variable that is set to it, or to a part of it, somewhere."""
    from jinja2 import nodes

    found, todo = {name}, [name]
    while todo:
        wanted = (todo.pop(), None)
        for each in tree.find_all(nodes.Assign):
            if _reads(each.node) == wanted and (alias := _name(each.target)) not in found:
                found.add(alias)
                todo.append(alias)
    return found


def _given_content(tree: Any, macro: Any, contents: set[tuple[str, str]]) -> Iterator[str]:
    """Parameters of a macro that some call fills with a message's content."""
    from jinja2 import nodes

    names = [each.name for each in macro.args]
    for call in tree.find_all(nodes.Call):
        if isinstance(call.node, nodes.Name) and call.node.name == macro.name:
            placed = zip(names, call.args, strict=False)
            named = ((each.key, each.value) for each in call.kwargs if each.key in names)
            for name, value in (*placed, *named):
                if _reads(value) in contents:
                    yield name
