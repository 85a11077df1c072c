"""A folder in which the commands of the pages are run as a reader would type them.

What a page calls RUN, VERSION, prod or recipes/mine.yaml is put there from what the demo left; a
server that is up already takes the place of the one that a page starts at port 8000.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from harness import jsonio
from harness.pocket.oracle import score
from tests.docs.pages import Block, Page
from tests.workbench import ROOT

_PRELUDE = "set -eo pipefail\n"
_ASKS_WHY = re.compile(r"^harness (?:failures|blame) ", re.MULTILINE)
"""In blocks with such commands RUN is the round that failed, whose rows are measured once."""
_TABLE = (
    "Frage,Antwort,Art\nWann ist offen?,Ab acht.,Zeit\nWo seid ihr?,Am Markt.,Ort\n\n,Nein.,Ort\n"
)


class Left(NamedTuple):
    """What the demo left: its store and files, a server over it, and three runs: one that became
    prod, one that was blocked, and an equal one that passed and was not promoted."""

    home: Path
    files: Path
    url: str
    first: dict[str, Any]
    blocked: dict[str, Any]
    third: dict[str, Any]


class Sandbox:
    """A folder with `harness` in its path. Raises AssertionError where a command of a page does
    not end as the page says."""

    def __init__(self, folder: Path, left: Left) -> None:
        self.folder, self.left = folder, left
        folder.mkdir(parents=True)
        program = folder / ".bin" / "harness"
        program.parent.mkdir()
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m harness "$@"\n')
        program.chmod(0o755)
        (folder / ".harness").symlink_to(left.home)
        (folder / "evalsets").symlink_to(ROOT / "evalsets")
        self._write_recipes()
        self._write_files()

    def read(self, page: Page) -> int:
        """Run every block of the page in order; how many commands that were."""
        shown = [block for block in page.blocks if block.is_commands and block.runnable]
        for block in shown:
            self._run(block)
        return sum(len(block.runnable) for block in shown)

    def _names(self, script: str) -> dict[str, str]:
        """What the words of a block stand for here."""
        run = self.left.blocked if _ASKS_WHY.search(script) else self.left.third
        return {
            "http://127.0.0.1:8000": self.left.url,
            "bot@0123456789ab": self.left.third["candidate"],
            "bot@ba9876543210": self.left.first["candidate"],
            "RECIPE": "recipes/mine.yaml",
            "EVALSET": "pocket",
            "OTHER": "main",
            "0123456789ab": regressed(Path(run["run_dir"])),
            "RUN": Path(run["run_dir"]).name,
            "VERSION": run["candidate"],
        }

    def _run(self, block: Block) -> None:
        script = "\n".join(block.runnable)
        for said, meant in self._names(script).items():
            script = re.sub(rf"(?<!\w){re.escape(said)}(?!\w)", meant, script)
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-c", _PRELUDE + script],
            capture_output=True,
            text=True,
            timeout=200,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            env=os.environ | self._environment(),
            check=False,
        )
        wanted = block.mark.code if block.mark and block.mark.code is not None else 0
        told = f"{block.place}\n{script}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        assert done.returncode == wanted, f"exit {done.returncode}, not {wanted}: {told}"
        self._compare(block, done.stdout, told)

    def _compare(self, block: Block, printed: str, told: str) -> None:
        """What a console block shows as printed is printed, in that order; `…` leaves out."""
        if block.language != "console":
            return
        rest = [line.rstrip() for line in printed.splitlines()]
        for line in block.output:
            assert line.rstrip() in rest, f"not printed: {line!r}\n{told}"
            rest = rest[rest.index(line.rstrip()) + 1 :]

    def _environment(self) -> dict[str, str]:
        paths = [str(self.folder / ".bin"), str(Path(sys.executable).parent), os.environ["PATH"]]
        return {
            "PATH": os.pathsep.join(paths),
            "PYTHONPATH": str(ROOT),
            "HARNESS_HOME": str(self.left.home),
            "COLUMNS": "200",
            "OMP_NUM_THREADS": "1",
        }

    def _write_recipes(self) -> None:
        """`recipes/mine.yaml` and its other name: the demo's, on half of its items, which is
        enough here, by the server that is up."""
        evalset, items = self.folder / "half", self.left.files / "evalset" / "items.jsonl"
        shutil.copytree(items.parent, evalset)
        half = [item for _, item in jsonio.read_jsonl(items)][::2]
        jsonio.write_jsonl(evalset / "items.jsonl", half)
        recipe = yaml.safe_load((self.left.files / "round1.yaml").read_text())
        for source in recipe["data"]["sources"]:
            source["path"] = str(self.left.files / source["path"])
        recipe["eval"]["evalset"] = str(evalset)
        recipe["compute"] = {"endpoint": self.left.url}
        text = yaml.safe_dump(recipe, sort_keys=False)
        for name in ("recipes/mine.yaml", "recipe.yaml"):
            jsonio.write_bytes(self.folder / name, text.encode())

    def _write_files(self) -> None:
        """Files that pages take for granted: runs as artefacts, labels of people, a table."""
        for name, run in (("run", self.left.third), ("main", self.left.first)):
            shutil.copytree(run["run_dir"], self.folder / name)
        labels = "".join(
            json.dumps(each) + "\n" for each in people(Path(self.left.third["run_dir"]))
        )
        for folder in (self.folder, Path(self.left.third["run_dir"])):
            (folder / "labels.jsonl").write_text(labels)
        (self.folder / "faq.csv").write_text(_TABLE)
        (self.folder / "items.jsonl").write_text('{"instruction": "2 + 2?", "reference": "4"}\n')


def regressed(run_dir: Path) -> str:
    """An item that the candidate answered worse than the baseline."""
    verdicts = json.loads((run_dir / "report.json").read_text())["verdicts"]
    sides: dict[str, dict[str, int]] = {"candidate": {}, "baseline": {}}
    for each in verdicts:
        if each["role"] in sides:
            sides[each["role"]][each["item_id"]] = each["score"]
    before = sides["baseline"]
    return next(item for item, score in sides["candidate"].items() if score < before[item])


def people(run_dir: Path) -> list[dict[str, Any]]:
    """Labels as people who know the little world would give them: its oracle's."""
    record = json.loads((run_dir / "report.json").read_text())
    items = {item["id"]: item for item in record["items"]}
    sides = {side: record["decision"][side] for side in ("candidate", "baseline")}
    found = []
    for answer in record["generations"]:
        if answer["role"] in sides:
            item = items[answer["item_id"]]
            exact = score(item["tags"]["type"], item["rubric"], item["reference"], answer["text"])
            label = {"item": item["id"], "role": answer["role"], "human": exact, "rater": "ana"}
            found.append(label | sides)
    return found
