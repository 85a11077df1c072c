"""The rules of docs/architecture.md, read from the imports themselves."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FLOORS = [
    {"__main__"},
    {"cli"},
    {"demo", "evaluate", "noise", "sweep"},
    {"pipeline"},
    {"failures", "retention"},
    {"evidence", "against", "blame", "checkup", "diff", "history", "rollout"},
    {"looking", "precision", "question", "scoring"},
    {"serving", "sides", "talk", "fleet"},
    {"account", "outcome", "plan"},
    {"training", "evaluation", "release", "report"},
    {"chat", "recipe", "store", "run", "server", "loopback", "progress", "pocket"},
    {"types", "jsonio", "yamlio"},
    {"errors"},
]
"""From the top; a room imports only rooms of lower floors, and modules within itself."""
SAME_FLOOR = {("chat", "recipe"), ("chat", "store"), ("outcome", "plan"), ("types", "jsonio")}
"""Pairs on one floor that do meet: the chat is rendered as a recipe says; a base has a digest."""
HEAVY = {"torch", "transformers", "trl", "peft", "datasets", "vllm", "openai", "safetensors"}
MAY_BE_HEAVY = "harness/training/process/"
"""The training process; nothing else imports it."""
SERVE_MAY = {"store", "types", "jsonio", "errors", "chat.contract"}


def modules(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def imports(path: Path, *, only_top: bool = False) -> set[str]:
    """Dotted names a module imports; `only_top`: those that run when it is imported."""
    tree = ast.parse(path.read_text())
    nodes = list(ast.walk(tree)) if not only_top else _run_at_import(tree.body)
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def _run_at_import(body: list[ast.stmt]) -> list[ast.stmt]:
    """Statements that run at import: not in functions, not under TYPE_CHECKING."""
    found: list[ast.stmt] = []
    for node in body:
        found.append(node)
        if isinstance(node, ast.If) and ast.unparse(node.test) != "TYPE_CHECKING":
            found += _run_at_import(node.body + node.orelse)
        elif isinstance(node, ast.Try):
            found += _run_at_import(node.body)
    return found


def room(dotted: str) -> str:
    """harness.chat.encode → chat; harness itself → errors (the bottom)."""
    parts = dotted.split(".")
    return parts[1] if len(parts) > 1 else "errors"


def floor(name: str) -> int:
    return next((index for index, names in enumerate(FLOORS) if name in names), len(FLOORS))


@pytest.mark.parametrize("path", modules("harness"), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_down(path: Path) -> None:
    own = path.relative_to(ROOT / "harness").with_suffix("").parts[0]
    for dotted in imports(path):
        if not dotted.startswith("harness."):
            continue
        other = room(dotted)
        if other == own or floor(other) == len(FLOORS):
            continue
        assert floor(own) < floor(other) or (own, other) in SAME_FLOOR, f"{path} imports {dotted}"


def test_every_room_has_a_floor() -> None:
    rooms = {
        path.relative_to(ROOT / "harness").with_suffix("").parts[0] for path in modules("harness")
    }
    assert rooms - {"__init__"} == set().union(*FLOORS)


@pytest.mark.parametrize("path", modules("harness"), ids=lambda path: str(path.relative_to(ROOT)))
def test_heavy_packages_are_imported_late(path: Path) -> None:
    if str(path.relative_to(ROOT)).startswith(MAY_BE_HEAVY):
        return
    top = {dotted.split(".")[0] for dotted in imports(path, only_top=True)}
    assert not top & HEAVY
    assert "serve" not in {dotted.split(".")[0] for dotted in imports(path)}


def test_serve_knows_little_of_harness() -> None:
    for path in modules("serve"):
        for dotted in imports(path):
            if dotted.startswith("harness."):
                inner = dotted.removeprefix("harness.")
                assert any(inner == each or inner.startswith(each + ".") for each in SERVE_MAY), (
                    f"{path} imports {dotted}"
                )


@pytest.mark.parametrize("command", [["-c", "import harness"], ["-m", "harness", "--help"]])
def test_starting_is_light(command: list[str]) -> None:
    found = subprocess.run(
        [sys.executable, "-X", "importtime", *command],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    loaded = {line.rpartition("|")[2].strip().split(".")[0] for line in found.stderr.splitlines()}
    assert not loaded & (HEAVY | {"numpy", "pydantic", "httpx", "rich", "jinja2"})


def test_modules_and_functions_stay_small() -> None:
    for path in modules("harness") + modules("serve"):
        text = path.read_text()
        assert text.count("\n") <= 400, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                body = node.body[1:] if ast.get_docstring(node) else node.body
                length = body[-1].end_lineno - body[0].lineno + 1 if body else 0  # type: ignore[operator]
                assert length <= 60, f"{path}:{node.name}"


def test_only_the_worker_and_the_server_are_asyncs_home() -> None:
    callers = {
        str(path.relative_to(ROOT))
        for path in modules("harness")
        if "asyncio.run(" in path.read_text()
    }
    assert callers == {"harness/pipeline.py", "harness/rollout.py"}
