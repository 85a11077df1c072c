"""Real files, not made for us: Alpaca rows and the self-instruct held-out set, on the pocket.

The pocket knows nothing of such a world, so the scores are bad; that the round runs to its end,
counts what it left out and says so is what is tested. Skipped where the files are not at hand.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness import jsonio
from tests.workbench import ROOT, harness, write_recipe

DATA = ROOT.parent / "shared" / "data"
ALPACA = DATA / "train" / "alpaca" / "alpaca_en_demo.json"
SELF_INSTRUCT = DATA / "heldout" / "self_instruct" / "user_oriented_instructions.jsonl"

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.skipif(not DATA.is_dir(), reason="needs ../shared/data beside the checkout"),
]


def write_evalset(folder: Path) -> None:
    items = []
    for _, row in jsonio.read_jsonl(SELF_INSTRUCT):
        [instance] = row["instances"]
        text = "\n\n".join(part for part in (row["instruction"], instance["input"]) if part)
        items.append(
            {
                "messages": [{"role": "user", "content": text}],
                "reference": instance["output"],
                "tags": {"app": row["motivation_app"]},
            }
        )
    jsonio.write_jsonl(folder / "evalset" / "items.jsonl", items)


def test_alpaca_rows_and_self_instruct_items_run_to_the_end(tmp_path: Path) -> None:
    recipe = write_recipe(
        tmp_path,
        data={
            "sources": [{"path": str(ALPACA), "weight": 0.4}],
            "max_length": 512,
            "overflow": "drop",
        },
        train={"max_steps": 8, "batch": 8, "lr": 1e-3},
        eval={"evalset": "evalset", "max_tokens": 32, "chat_sample": 4},
        gate={"baseline": "base", "thresholds": ["mean >= 3"], "slices": {"by": "app"}},
    )
    write_evalset(tmp_path)
    done = harness("round", recipe, "--json", home=tmp_path / "home")
    summary = json.loads(done.stdout)
    assert done.returncode in (1, 4), done.stderr
    assert summary["status"] in ("fail", "untrusted")
    assert summary["counts"]["dropped_rows"] > 0
    assert f"{summary['counts']['dropped_rows']} too long and dropped" in done.stderr
    [overall] = [part for part in summary["slices"] if part["name"] == "overall"]
    candidate = overall["candidate"]
    assert candidate["n_items"] == 252 == candidate["n_scored"] + candidate["n_unscored"]
    assert candidate["mean"] is None or candidate["mean"] < 3
    page = (Path(summary["run_dir"]) / "report.html").read_text()
    assert "dropped" in page
