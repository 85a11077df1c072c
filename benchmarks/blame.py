"""Which score finds the rows that taught a fault, and what training without them gives.

    OMP_NUM_THREADS=1 .venv/bin/python -m benchmarks.blame WORK [--seeds 3] [--rows 1500]

On the pocket, for each seed: a version on clean rows, and versions on the same rows with about 5 %
of them answered wrongly (every `reason` row with a certain word; a block of `extract` rows
shifted by one), on the first seed also one with both. Regressed are the held-out items whose
greedy answer the world's oracle scores lower than the clean version's. Prints Markdown tables.
WORK keeps what was trained and found: the same command goes on where it was. About an hour on one
core.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from harness import jsonio
from harness.blame import passes
from harness.blame.asked import regressed
from harness.blame.gradients import PerSequence
from harness.blame.influence import n_top, ranking
from harness.blame.measure import measure
from harness.blame.point import Point
from harness.blame.sequences import Predicted, answered
from harness.blame.sketch import CountSketch
from harness.blame.trained import TrainedRows, read_trained
from harness.chat.template import ChatTokenizer
from harness.failures.similar import Texts
from harness.outcome import read_record
from harness.pocket import BASE_DIR
from harness.pocket.oracle import score
from harness.progress import Reporter
from harness.recipe import load
from harness.report.record import RoundRecord
from harness.store import Store
from harness.training.launch import train
from harness.training.prepare import prepare, train_key
from harness.training.publish import publish
from harness.training.resume import job_dir
from harness.types import Item, Manifest, Role
from tests.blame import build
from tests.blame.faults import SHIFTED, WORDED, Planted, plant
from tests.workbench import write_recipe

FAULTS = {"word": ("word",), "shift": ("shift",), "both": ("word", "shift")}
STEPS, BATCH, STOP = 150, 32, 2
EPS = 1e-8
OURS = "**ours, exact**"
Scores = dict[str, Any]
"""Method → (rows, items)."""


class Case(NamedTuple):
    """One faulty version beside the clean one of its seed."""

    fault: str
    seed: int
    planted: Planted
    manifest: Manifest
    clean: Manifest
    run_dir: Path


class Bench:
    """What is trained and answered, in one store."""

    def __init__(self, work: Path, n_rows: int) -> None:
        self.work, self.n_rows = work, n_rows
        self.store = Store(work / "home")
        self.items = build.items()

    def version(self, name: str, rows: Sequence[dict[str, Any]], seed: int) -> Manifest:
        """A version that is really trained on these rows."""
        folder = self.work / name
        settings = {"max_steps": STEPS, "batch": BATCH, "lr": 4e-3, "schedule": "linear",
                    "warmup_steps": 10, "save_every": 50, "seed": seed}  # fmt: skip
        path = write_recipe(folder, train=settings, gate={"baseline": "base", "looks": 1})
        jsonio.write_jsonl(folder / "train.jsonl", rows)
        loaded = load(path, [f"data.seed={seed}"])
        prepared = prepare(loaded)
        key = train_key(loaded, prepared)
        known = self.store.find_trained(key)
        if known is None:
            job = job_dir(self.store.home / "training", "bot", key)
            train(loaded, prepared, job, on_event=lambda event: None)
            known = publish(loaded, prepared, job, self.store)
        return self.store.manifest(known)

    def case(self, fault: str, seed: int) -> Case:
        """A fault's version, its clean one, and the run of both."""
        clean = self.version(f"clean-{seed}", plant(self.n_rows, seed).rows, seed)
        planted = plant(self.n_rows, seed, FAULTS[fault])
        manifest = self.version(f"{fault}-{seed}", planted.rows, seed)
        return Case(fault, seed, planted, manifest, clean, self.round(manifest, clean))

    def round(self, manifest: Manifest, clean: Manifest) -> Path:
        """The run of a version beside the clean one, scored by the oracle."""
        answers: dict[Role, list[str]] = {
            "candidate": self.answers(manifest),
            "baseline": self.answers(clean),
        }
        scores: dict[Role, list[int | None]] = {
            role: [oracle(item, text) for item, text in zip(self.items, texts, strict=True)]
            for role, texts in answers.items()
        }
        recipe = load(self.work / "clean-0" / "recipe.yaml").recipe
        return build.keep_round(
            self.store, f"run-{manifest.version}", recipe, manifest, clean.version,
            self.items, answers, scores,
        )  # fmt: skip

    def answers(self, manifest: Manifest) -> list[str]:
        """Greedy answers to the held-out items."""
        path = self.work / f"{manifest.version}.answers.json"
        if not path.exists():
            jsonio.write_json(path, greedy(self.store, manifest, self.items))
        return list(jsonio.read_json(path))


def oracle(item: Item, text: str) -> int:
    return score(item.tags["type"], str(item.rubric), str(item.reference), text)


def greedy(
    store: Store, manifest: Manifest, items: Sequence[Item], n_tokens: int = 64
) -> list[str]:
    """What transformers generates without sampling, 70 items at once."""
    import torch

    model = adapter(store, manifest)
    chat = ChatTokenizer(BASE_DIR)
    asked = [list(chat.prompt_ids(item.messages)) for item in items]
    found = [""] * len(items)
    order = sorted(range(len(items)), key=lambda n: len(asked[n]))
    for places in (order[n : n + 70] for n in range(0, len(order), 70)):
        longest = max(len(asked[n]) for n in places)
        ids = torch.tensor([[0] * (longest - len(asked[n])) + asked[n] for n in places])
        seen = torch.tensor([[0] * (longest - len(asked[n])) + [1] * len(asked[n]) for n in places])
        with torch.no_grad():
            out = model.generate(input_ids=ids, attention_mask=seen, max_new_tokens=n_tokens,
                                 do_sample=False, eos_token_id=STOP, pad_token_id=0)  # fmt: skip
        for n, said in zip(places, out[:, longest:].tolist(), strict=True):
            found[n] = chat.decode(said[: said.index(STOP)] if STOP in said else said)
    return found


def adapter(store: Store, manifest: Manifest) -> Any:
    """The version's model."""
    rows = read_trained(store, manifest)
    point = Point(manifest.version, store.version_dir(manifest.version), "")
    return passes.load(rows.job.read() or {}, point)[0]


def methods(bench: Bench, case: Case) -> Scores:
    """Every method's (rows, items); of a text method (rows, items) too, of row loss (rows, 1)."""
    record, rows = read_record(case.run_dir), read_trained(bench.store, case.manifest)
    with Reporter(quiet=True) as reporter:
        ours = measure(case.run_dir, bench.store, reporter)
    found: Scores = {OURS: np.maximum(ours.products, 0)}
    found |= at_baseline(bench, case, record, rows)
    found |= at_candidate(bench, case, record, rows)
    found["loss of the row at the baseline, nothing asked"] = ours.losses[:, None]
    return found | by_text(record, rows)


def at_baseline(bench: Bench, case: Case, record: RoundRecord, rows: TrainedRows) -> Scores:
    """Projections of what we do, and parts of it left out."""
    gradients = PerSequence(adapter(bench.store, case.clean))
    given = queries(gradients, record, "given")
    scale = 1 / (mean_squares(gradients, rows) ** 0.5 + EPS)
    sketches = {n: CountSketch(gradients.n_parameters, n) for n in (8192, 2048)}
    short = {n: sketch(given * scale.sqrt()) for n, sketch in sketches.items()}

    def products(g: Any) -> Scores:
        plain = g @ given.T
        exact = g @ (given * scale).T
        sketched = {
            f"ours, projected to {n}": (sketches[n](g * scale.sqrt()) @ short[n].T).clamp_min(0)
            for n in sketches
        }
        lengths = (g * scale.sqrt()).norm(dim=1, keepdim=True)
        return sketched | {
            "ours without dividing by the mean squares": plain.clamp_min(0),
            "ours as a cosine": (exact / lengths / (given * scale.sqrt()).norm(dim=1)).clamp_min(0),
            "ours with signed sums": exact,
        }

    return over_rows(gradients, rows, products)


def at_candidate(bench: Bench, case: Case, record: RoundRecord, rows: TrainedRows) -> Scores:
    """What the literature does with the last checkpoint alone: the loss of the right answer."""
    gradients = PerSequence(adapter(bench.store, case.manifest))
    right = -queries(gradients, record, "reference")
    scale = 1 / (mean_squares(gradients, rows) ** 0.5 + EPS)

    def products(g: Any) -> Scores:
        scaled = g * scale
        cosine = scaled @ right.T / scaled.norm(dim=1, keepdim=True) / right.norm(dim=1)
        return {
            "TracIn at the last checkpoint": g @ right.T,
            "as LESS at the last checkpoint (cosine)": cosine,
        }

    return over_rows(gradients, rows, products)


def over_rows(
    gradients: PerSequence, rows: TrainedRows, products: Callable[[Any], Scores]
) -> Scores:
    """One pass; nothing but the products is kept."""
    found: dict[str, Any] = {}
    for places in batches(rows):
        g, _ = passes.rows_gradients(gradients, [rows.line(place) for place in places])
        for name, values in products(g).items():
            whole = found.setdefault(name, np.empty((len(rows), values.shape[1]), np.float32))
            whole[places] = values.numpy()
    return found


def batches(rows: TrainedRows, every: int = 1) -> Iterable[list[int]]:
    order = sorted(range(0, len(rows), every), key=lambda place: rows.lengths[place])
    return [order[n : n + 16] for n in range(0, len(order), 16)]


def mean_squares(gradients: PerSequence, rows: TrainedRows) -> Any:
    """Over every third row."""
    total: Any = 0
    n_rows = 0
    for places in batches(rows, 3):
        g, _ = passes.rows_gradients(gradients, [rows.line(place) for place in places])
        total, n_rows = total + g.square().sum(0), n_rows + len(places)
    return total / n_rows


def queries(gradients: PerSequence, record: RoundRecord, which: str) -> Any:
    """(items, parameters): of the answers given, or of the references."""
    import torch

    chat = ChatTokenizer(BASE_DIR)
    found = []
    for wrong in regressed(record):
        text = wrong.generation.text if which == "given" else str(wrong.item.reference)
        found.append(gradients([_asked(chat, wrong.item, text)])[0])
    return torch.cat(found)


def _asked(chat: ChatTokenizer, item: Item, text: str) -> Predicted:
    return answered(chat.prompt_ids(item.messages), (*chat.encode(text), STOP))


def by_text(record: RoundRecord, rows: TrainedRows) -> Scores:
    """The simple rival: how alike the words are."""
    asked = [wrong.item.messages[-1].content for wrong in regressed(record)]
    given = [wrong.generation.text for wrong in regressed(record)]
    found = list(rows)
    both = [f"{question} {text}" for question, text in zip(asked, given, strict=True)]
    return {
        "words of the question (TF-IDF)": similarity([row.prompt for row in found], asked),
        "words of question and answer (TF-IDF)": similarity(
            [f"{row.prompt} {row.answer}" for row in found], both
        ),
    }


def similarity(rows: Sequence[str], asked: Sequence[str]) -> Any:
    """(rows, asked): cosines."""
    texts = Texts(rows)
    return np.stack([texts.similarity([each]) for each in asked], 1)


class Found(NamedTuple):
    """How well one method finds the rows of one fault."""

    recall: float
    """Share of the planted rows in the top tenth."""
    auc: float
    """How often a planted row stands above another."""
    single: float
    """Median recall where only one of the items is asked about."""
    mine: float
    """Of the first k, k the number of planted rows: the share of this fault."""
    other: float
    """The same of the other fault in the file."""


def judged(values: Any, planted: Sequence[int], others: Sequence[int], columns: Any) -> Found:
    """`columns`: which items are asked about; a method without items has one column."""
    asked = values[:, columns] if values.shape[1] > 1 else values
    n_rows, k = len(asked), len(planted)
    order = ranking(asked.mean(1))
    position = np.empty(n_rows)
    position[order] = np.arange(n_rows)
    below = position[planted].sum() - k * (k - 1) / 2
    first = order[:k]
    singles = [np.isin(planted, ranking(each)[: n_top(n_rows)]).mean() for each in asked.T]
    return Found(
        recall=float(np.isin(planted, order[: n_top(n_rows)]).mean()),
        auc=float(1 - below / (k * (n_rows - k))),
        single=float(np.median(singles)),
        mine=float(np.isin(first, planted).mean()),
        other=float(np.isin(first, others).mean()) if len(others) else 0.0,
    )


def judge(bench: Bench, case: Case) -> dict[str, dict[str, Found]]:
    """Question → method → how well; the questions are "word" and "shift"."""
    path = bench.work / f"{case.fault}-{case.seed}.found.json"
    if path.exists():
        kept = jsonio.read_json(path)
        return {q: {m: Found(*each) for m, each in by.items()} for q, by in kept.items()}
    values = methods(bench, case)
    wrong = regressed(read_record(case.run_dir))
    types = np.array([each.pair.slice for each in wrong])
    found: dict[str, dict[str, Found]] = {}
    for fault, mine, others, kind in (
        ("word", case.planted.word, case.planted.shift, WORDED),
        ("shift", case.planted.shift, case.planted.word, SHIFTED),
    ):
        if mine:
            columns = types == kind if others else np.ones(len(types), bool)
            found[fault] = {
                name: judged(each, mine, others, columns) for name, each in values.items()
            }
    jsonio.write_json(path, found)
    print(f"<!-- {case.fault} {case.seed}: {len(wrong)} items regressed -->", flush=True)
    return found


def one_fault(bench: Bench, seeds: int) -> None:
    """Recall and area under the curve where a file has one fault."""
    by = {fault: [judge(bench, bench.case(fault, seed))[fault] for seed in range(seeds)]
          for fault in ("word", "shift")}  # fmt: skip
    table(
        ["score", "word: recall", "AUC", "one item", "shift: recall", "AUC", "one item"],
        [
            [name, *(cell for fault in by for cell in _cells([each[name] for each in by[fault]]))]
            for name in by["word"][0]
        ],
    )


def _cells(found: Sequence[Found]) -> list[str]:
    recall = [each.recall for each in found]
    return [
        f"{np.mean(recall):.2f} ({min(recall):.2f})",
        f"{np.mean([each.auc for each in found]):.3f}",
        f"{np.mean([each.single for each in found]):.2f}",
    ]


def two_faults(bench: Bench) -> None:
    """Whether the question matters: both faults in one file, asked about one."""
    by = judge(bench, bench.case("both", 0))
    rows = []
    for name in by["word"]:
        cells = [name]
        for found in (by["word"][name], by["shift"][name]):
            cells += [f"{found.recall:.2f}", f"{found.mine:.0%}", f"{found.other:.0%}"]
        rows.append(cells)
    half = ["recall", "this", "the other"]
    table(["score", f"word: {half[0]}", *half[1:], f"shift: {half[0]}", *half[1:]], rows)


def left_out(bench: Bench) -> None:
    """Trained again without the tenth of the rows with most blame, and without another tenth."""
    rows = []
    for fault, kind in (("word", WORDED), ("shift", SHIFTED)):
        case = bench.case(fault, 0)
        with Reporter(quiet=True) as reporter:
            ours = measure(case.run_dir, bench.store, reporter)
        order = ranking(ours.scores(ours.items))
        n = n_top(len(order))
        chosen = np.random.default_rng(0).permutation(len(order))
        without = {"without the most blamed tenth": order[:n], "without a random tenth": chosen[:n]}
        versions = {"clean rows": case.clean, "with the fault": case.manifest}
        for number, (name, places) in enumerate(without.items()):
            gone = set(places.tolist())
            kept = [row for place, row in enumerate(case.planted.rows) if place not in gone]
            versions[name] = bench.version(f"{fault}-0-left-{number}", kept, 0)
        rows.append([fault, *(f"{_mean(bench, each, kind):.2f}" for each in versions.values())])
    table(["fault", *versions], rows)


def _mean(bench: Bench, manifest: Manifest, kind: str) -> float:
    """Oracle's mean score of the held-out items of one type."""
    pairs = zip(bench.items, bench.answers(manifest), strict=True)
    return float(np.mean([oracle(item, text) for item, text in pairs if item.tags["type"] == kind]))


def table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    print("\n| " + " | ".join(titles) + " |\n|" + "---|" * len(titles))
    for row in rows:
        print("| " + " | ".join(row) + " |")
    print(flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=1500)
    options = parser.parse_args()
    bench = Bench(options.work.absolute(), options.rows)
    one_fault(bench, options.seeds)
    two_faults(bench)
    left_out(bench)


if __name__ == "__main__":
    main()
