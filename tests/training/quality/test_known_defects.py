"""Real files with known defects: every known row is found, no look-alike is flagged. Skipped where
the files are not at hand."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.workbench import ROOT

TRAIN = ROOT.parent / "shared" / "data" / "train"


@pytest.mark.skipif(not TRAIN.is_dir(), reason="needs ../shared/data beside the checkout")
def test_every_known_row_is_found() -> None:
    script = ROOT / "benchmarks" / "data_defects.py"
    done = subprocess.run(
        [sys.executable, script, TRAIN], capture_output=True, text=True, check=True, cwd=ROOT
    )
    after = done.stdout.partition("| file | defect |")[2].splitlines()[2:]
    rows = [line.split("|")[2:4] for line in after[: after.index("")]]
    assert len(rows) == 17
    for name, counted in rows:
        n, _, known = counted.strip().partition("/")
        assert n == ("0" if "look-alikes" in name else known), name
