"""The README's tree is the repository's. Its commands and links: tests/docs."""

from __future__ import annotations

import re
import struct
import tomllib
from pathlib import Path

from harness import __version__
from tests.workbench import ROOT

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


def test_the_targets_it_shows_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"`make ([a-z]+)`|^ +make ([a-z]+)", README, re.MULTILINE)):
        assert f"\n{''.join(target)}:" in makefile


def test_pictures_are_there_and_of_a_size_to_be_read_and_loaded() -> None:
    """Two pixels to each CSS pixel of a wide column, and at most 400 kB (docs/screenshots.py)."""
    shown = re.findall(r"!\[([^\]]+)\]\(([^)]+\.png)\)", README)
    assert {Path(path).name for _, path in shown} >= {"report.png", "items.png", "index.png"}
    for described, path in shown:
        data = (ROOT / path).read_bytes()
        width, height = struct.unpack(">II", data[16:24])
        assert data[:8] == b"\x89PNG\r\n\x1a\n", path
        assert 1000 <= width <= 2200, path
        assert 500 <= height <= 3000, path
        assert len(data) <= 400_000, path
        assert len(described.split()) >= 10, "say what is to be seen"


def test_the_package_and_its_changelog_agree_on_the_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == __version__
    headings = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == "Unreleased"
    assert all(re.fullmatch(r"\d+\.\d+\.\d+( .*)?", each) for each in headings[1:])
    assert len(headings) == 1 or headings[1].split()[0] == __version__
