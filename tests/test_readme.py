"""The README's tree is the repository's, and its commands exist."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from harness import __version__
from tests.workbench import ROOT, harness

README = (ROOT / "README.md").read_text()


def drawn() -> set[str]:
    """Paths of the annotated tree: names in its first column, nested by indentation."""
    block = re.search(r"```tree\n(.*?)```", README, re.DOTALL)
    assert block, "README has no tree"
    found: set[str] = set()
    parents: dict[int, str] = {}
    for line in block[1].splitlines():
        depth = len(line) - len(line.lstrip())
        names = re.split(r"\s{2,}", line.strip(), maxsplit=1)[0].split()
        parent = next((parents[d] for d in sorted(parents, reverse=True) if d < depth), "")
        found |= {parent + name for name in names}
        parents = {d: path for d, path in parents.items() if d < depth}
        if names[-1].endswith("/"):
            parents[depth] = parent + names[-1]
    return found


def test_every_drawn_path_exists() -> None:
    assert [path for path in sorted(drawn()) if not (ROOT / path).exists()] == []


def test_every_room_is_drawn() -> None:
    """Folders of packages, and the modules that stand beside them."""
    package = ROOT / "harness"
    rooms = [path.parent for path in package.glob("*/__init__.py")]
    wanted = {f"harness/{path.name}/" for path in rooms if path != package}
    wanted |= {f"harness/{path.name}" for path in package.glob("*.py")}
    assert sorted(wanted - drawn() - {"harness/__init__.py"}) == []


def test_the_commands_it_shows_exist(tmp_path: Path) -> None:
    help_text = harness("--help", home=tmp_path).stdout
    commands = set(re.findall(r"^ +harness ([a-z]+)\b", README, re.MULTILINE))
    assert commands
    for name in commands:
        assert re.search(rf"^\s+{name}\b", help_text, re.MULTILINE), name
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"`make ([a-z]+)`|^make ([a-z]+)", README, re.MULTILINE)):
        assert f"\n{''.join(target)}:" in makefile


def test_no_placeholder_or_dead_link_is_left() -> None:
    documents = [
        ROOT / "README.md",
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "recipes").rglob("*.md"),
    ]
    for path in documents:
        text = path.read_text()
        assert "@@" not in text, path
        for link in re.findall(r"\]\((?!https?:)([^)#]+)", text):
            assert (path.parent / link).exists(), f"{path}: {link}"


def test_the_package_and_its_changelog_agree_on_the_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == __version__
    headings = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == "Unreleased"
    assert all(re.fullmatch(r"\d+\.\d+\.\d+( .*)?", each) for each in headings[1:])
    assert len(headings) == 1 or headings[1].split()[0] == __version__
