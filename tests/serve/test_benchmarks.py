"""The serving room's benchmarks start: they use these tests' own tools."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.workbench import ROOT


@pytest.mark.parametrize("name", ["flip", "serving"])
def test_a_benchmark_explains_itself(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{name}", "--help"],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert f"-m benchmarks.{name}" in done.stdout
