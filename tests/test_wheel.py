"""What a wheel holds: every file that the package reads at run time, shipped evalsets included."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.workbench import ROOT

BUILD = "import sys; from setuptools.build_meta import build_wheel; build_wheel(sys.argv[1])"


@pytest.mark.skipif(find_spec("setuptools") is None, reason="setuptools builds the wheel")
def test_a_wheel_has_every_file_of_the_package(tmp_path: Path) -> None:
    source = tmp_path / "source"
    ignored = shutil.ignore_patterns("__pycache__", "*.pyc")
    for name in ("harness", "serve", "evalsets"):
        shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=ignored)
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, source / name)
    done = subprocess.run(
        [sys.executable, "-c", BUILD, str(tmp_path)],
        cwd=source,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    [wheel] = tmp_path.glob("*.whl")
    held = set(zipfile.ZipFile(wheel).namelist())
    wanted = {
        str(path.relative_to(ROOT))
        for path in [*(ROOT / "harness").rglob("*"), *(ROOT / "harness/evalsets").rglob("*")]
        if path.is_file() and path.suffix != ".pyc"
    }
    assert sorted(wanted - held) == []
    assert "harness/evalsets/pocket/items.jsonl" in held
