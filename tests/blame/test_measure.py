"""Rows beside the items that regressed, through a real model with adapters of random numbers."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

from harness.blame import measure as measuring
from harness.blame import passes
from harness.blame.asked import NothingRegressed, chosen, encoded, regressed
from harness.blame.gradients import PerSequence
from harness.blame.influence import Influence
from harness.blame.kept import Kept
from harness.blame.measure import measure
from harness.blame.point import Point
from harness.blame.sequences import Predicted, answered, of_row
from harness.blame.trained import read_trained
from harness.chat.template import ChatTokenizer
from harness.errors import ContractError, EnvironmentFault, HarnessError, StoreError
from harness.jsonio import digest, write_json
from harness.outcome import read_record
from harness.pocket import BASE_DIR
from harness.progress import Reporter
from harness.store import Store
from harness.training.job import JobDir
from harness.types import Message
from tests.blame import build
from tests.blame.conftest import N_ROWS, Home
from tests.blame.faults import answer, plant, question

STOP = 2


def found(run_dir: Path, store: Store) -> Influence:
    with Reporter(quiet=True) as reporter:
        return measure(run_dir, store, reporter)


@pytest.fixture
def home(made: Home, tmp_path: Path) -> Home:
    """A copy whose measurements nobody else sees."""
    shutil.copytree(made.store.home, tmp_path / "store")
    store = Store(tmp_path / "store")
    return made._replace(store=store, run_dir=store.home / "runs" / "run")


@pytest.fixture(scope="module")
def measured(made: Home) -> Influence:
    return found(made.run_dir, made.store)


def test_the_columns_are_the_items_that_regressed_worst_first(
    made: Home, measured: Influence
) -> None:
    """Scores 2, 5, 1, 5, none, 3, 2 against 5 everywhere and 2 at the end."""
    assert measured.items == tuple(made.items[n].id for n in (2, 0, 5))
    assert measured.products.shape == (N_ROWS, 3)
    assert measured.exact
    assert measured.point == made.baseline.version


def completed(chat: ChatTokenizer, messages: Sequence[Message], text: str) -> Predicted:
    return answered(chat.prompt_ids(messages), (*chat.encode(text), STOP))


def test_the_products_are_those_of_the_definition(made: Home, measured: Influence) -> None:
    """g_row · g_item / √(mean g²) at the baseline, from the texts, sequence by sequence."""
    gradients, chat = at_baseline(made), ChatTokenizer(BASE_DIR)
    rows = [
        completed(chat, [Message(role="user", content=question(row))], answer(row))
        for row in plant(N_ROWS, 1).rows
    ]
    wrong = [
        completed(chat, each.item.messages, each.generation.text)
        for each in regressed(read_record(made.run_dir))
    ]
    g, q = (torch.cat([gradients([each])[0] for each in part]) for part in (rows, wrong))
    expected = g @ (q / (g.square().mean(0).sqrt() + 1e-9)).T
    np.testing.assert_allclose(measured.products, expected.numpy(), rtol=1e-2, atol=1e-3)
    losses = [gradients([each])[1].item() for each in rows[:5]]
    np.testing.assert_allclose(measured.losses[:5], losses, rtol=1e-3)


def at_baseline(made: Home) -> PerSequence:
    version = made.baseline.version
    job = read_trained(made.store, made.candidate).job.read() or {}
    return PerSequence(passes.load(job, Point(version, made.store.version_dir(version), ""))[0])


def test_rows_are_told_in_words(made: Home, measured: Influence) -> None:
    rows = plant(N_ROWS, 1).rows
    assert [row.source for row in measured.rows][:2] == [
        "train.jsonl:1 turn 1",
        "train.jsonl:2 turn 1",
    ]
    assert [row.prompt for row in measured.rows] == [question(row) for row in rows]
    assert [row.answer for row in measured.rows] == [answer(row) for row in rows]
    assert measured.rows[-1].place == N_ROWS - 1


def test_a_second_question_needs_no_model(
    made: Home, measured: Influence, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measuring, "Passes", None)
    again = found(made.run_dir, made.store)
    np.testing.assert_array_equal(again.products, measured.products)
    assert (again.items, again.exact) == (measured.items, measured.exact)


class _Killed(BaseException):
    """As a signal ends the process."""


def test_a_killed_measurement_goes_on_to_the_same_bytes(
    home: Home, measured: Influence, monkeypatch: pytest.MonkeyPatch
) -> None:
    append = Kept.append
    n_seen: list[int] = []

    def dies(self: Kept, numbers: np.ndarray) -> None:
        if len(n_seen) == 2:
            raise _Killed
        n_seen.append(len(numbers))
        append(self, numbers)

    kept_dir = next((home.store.home / "blame").iterdir())
    shutil.rmtree(kept_dir)
    monkeypatch.setattr(Kept, "append", dies)
    with pytest.raises(_Killed):
        found(home.run_dir, home.store)
    with (kept_dir / "products.part").open("ab") as file:
        file.write(b"half")
    monkeypatch.setattr(Kept, "append", append)
    monkeypatch.setattr(passes.Passes, "_mean_squares", None)  # those are kept
    lines = io.StringIO()
    with Reporter(Console(file=lines, width=200)) as reporter:
        again = measure(home.run_dir, home.store, reporter)
    assert again.products.tobytes() == measured.products.tobytes()
    assert again.losses.tobytes() == measured.losses.tobytes()
    assert f"{N_ROWS} rows beside 3 items, exact" in lines.getvalue()


def test_what_does_not_fit_is_projected(
    home: Home, measured: Influence, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many bytes as a single row's gradients: a batch is a row."""
    shutil.rmtree(home.store.home / "blame")
    monkeypatch.setattr(passes, "MOST_BYTES", 10**6)
    short = found(home.run_dir, home.store)
    assert not short.exact
    alike = np.corrcoef(short.products.ravel(), measured.products.ravel())[0, 1]
    assert alike > 0.9
    both = [np.argsort(np.argsort(each.scores(each.items))) for each in (short, measured)]
    assert np.corrcoef(both[0], both[1])[0, 1] > 0.9
    assert not np.array_equal(short.products, measured.products)


@pytest.mark.parametrize("baseline", ["pocket", "base-with-a-prompt"])
def test_without_an_adapter_as_baseline_gradients_are_taken_at_the_base(
    home: Home, baseline: str
) -> None:
    at_base = found(home.again("other", baseline), home.store)
    assert at_base.point == "base"
    assert f"the baseline {baseline!r} is no adapter of this base" in at_base.why_there
    place = Point("base", home.store.version_dir(home.candidate.version), "")
    job = read_trained(home.store, home.candidate).job.read() or {}
    gradients = PerSequence(passes.load(job, place)[0])
    row = of_row(at_base.rows.line(0))  # type: ignore[attr-defined]
    base = passes.load(job, place)[0].get_base_model()
    found_there = gradients(row)[0]
    ids = torch.tensor([row[0].input_ids])
    labels = torch.tensor([row[0].labels])
    with torch.no_grad():
        loss = base(input_ids=ids, labels=labels).loss.item()
    assert at_base.losses[0] == pytest.approx(loss, rel=1e-4)
    assert found_there.norm() > 0


def test_a_conversation_is_rendered_as_it_was_asked(home: Home) -> None:
    """With a system prompt, and with the model's own earlier answer before the follow-up."""
    items = [each.model_copy(update={"follow_ups": ("And then?",)}) for each in home.items]
    system = home.recipe.eval.model_copy(update={"system": "Be brief."})
    other = home._replace(items=items, recipe=home.recipe.model_copy(update={"eval": system}))
    run_dir = other.again("turns", home.baseline.version, earlier=("First.",), system="Be brief.")
    record = read_record(run_dir)
    chat = ChatTokenizer(BASE_DIR)
    wrong = regressed(record)[0]
    one = encoded(wrong, record, home.candidate, chat)
    n_prompt = sum(label == -100 for label in one.labels)
    asked = chat.decode(one.input_ids[:n_prompt])
    assert asked.index("Be brief.") < asked.index("First.") < asked.index("And then?")
    assert chat.decode(one.labels[n_prompt:]) == f"{wrong.generation.text}<|im_end|>"
    cut = wrong.generation.model_copy(update={"state": "truncated"})
    short = encoded(wrong._replace(generation=cut), record, home.candidate, chat)
    assert short.input_ids == one.input_ids[:-1]
    more = wrong.generation.model_copy(update={"n_prompt_tokens": n_prompt + 1})
    with pytest.raises(ContractError, match=f"its prompt has {n_prompt} tokens"):
        encoded(wrong._replace(generation=more), record, home.candidate, chat)


def test_where_nothing_regressed_there_is_nothing_to_blame(home: Home) -> None:
    run_dir = home.run("fine", home.baseline.version, [5] * 7)
    with pytest.raises(NothingRegressed, match="there is no regression to blame rows for"):
        found(run_dir, home.store)


def test_only_what_regressed_can_be_asked_about(made: Home) -> None:
    record = read_record(made.run_dir)
    worst, _, better, fine, unscored = (made.items[n] for n in (2, 0, 6, 1, 4))
    assert chosen(record, [worst.id, worst.id], None) == (worst.id,)
    assert chosen(record, [], worst.tags["type"]) == (worst.id,)
    with pytest.raises(HarnessError, match="it did not regress: 5, the baseline's 5"):
        chosen(record, [fine.id], None)
    with pytest.raises(HarnessError, match="it was not judged on both sides"):
        chosen(record, [unscored.id], None)
    with pytest.raises(HarnessError, match=f"did you mean '{worst.id}'"):
        chosen(record, [worst.id[:-1] + "x"], None)
    with pytest.raises(HarnessError, match="did you mean 'reason'"):
        chosen(record, [], "resaon")
    with pytest.raises(NothingRegressed, match="no item of slice"):
        chosen(record, [], fine.tags["type"])
    with pytest.raises(HarnessError, match="not in --slice"):
        chosen(record, [made.items[0].id], worst.tags["type"])
    assert better.id not in chosen(record, [], None)


def gone(home: Home) -> Iterator[Path]:
    return (home.store.home / "training").glob("bot-*")


def test_what_is_missing_is_named(home: Home) -> None:
    shutil.rmtree(home.store.home / "blame")
    for job in gone(home):
        rows = job / "rows.jsonl"
        rows.write_text(rows.read_text().replace("train.jsonl:1 ", "train.jsonl:9 "))
    with pytest.raises(HarnessError, match=r"rows\.jsonl: gone, or not as bot@"):
        found(home.run_dir, home.store)
    for job in gone(home):
        shutil.rmtree(job)
    with pytest.raises(HarnessError, match=r"its training's directory in .* is gone"):
        found(home.run_dir, home.store)
    shutil.rmtree(home.store.version_dir(home.baseline.version))
    with pytest.raises(StoreError, match="no version"):
        found(home.run_dir, home.store)


def test_a_base_that_is_gone_is_named(home: Home) -> None:
    for job in map(JobDir, gone(home)):
        settings = (job.read() or {}) | {"base_dir": "/nowhere"}
        write_json(job.job, settings | {"seal": digest(settings)})
    with pytest.raises(HarnessError, match="its base 'pocket' is not in '/nowhere'"):
        found(home.run_dir, home.store)


@pytest.mark.parametrize("broken", ["GPU", "machine", "numbers"])
def test_what_a_machine_cannot_do_is_said(
    home: Home, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    shutil.rmtree(home.store.home / "blame", ignore_errors=True)

    def fails(*_: object) -> tuple[torch.Tensor, torch.Tensor]:
        if broken == "GPU":
            raise torch.OutOfMemoryError("tried to allocate 2 GiB")
        if broken == "machine":
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried …")
        return torch.full((1, 9), torch.nan), torch.ones(1)

    monkeypatch.setattr(passes, "rows_gradients", fails)
    with pytest.raises(EnvironmentFault, match=r"too little memory: (tried|Default)|not finite"):
        found(home.run_dir, home.store)
    assert not list(home.store.home.rglob("scale.npy"))


def test_both_answers_of_a_pair_are_in_the_same_batch(made: Home, tmp_path: Path) -> None:
    """So a batch holds half as many, each as long as two."""
    asked, store = [{"role": "user", "content": "Two words?"}], Store(tmp_path / "home")
    pairs = [{"prompt": asked, "chosen": "Yes.", "rejected": "No, " * n} for n in range(1, 9)]
    rows = read_trained(store, build.version(store, tmp_path, pairs, 0, train={"objective": "dpo"}))
    assert rows.has_pairs
    line = rows.line(7)
    assert rows.lengths[7] == 2 * (line["n_prompt"] + len(line["rejected"]))
    assert not read_trained(made.store, made.candidate).has_pairs


def test_an_answer_whose_gradient_is_no_number_is_said(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Answers are measured one by one, rows many at a time."""
    shutil.rmtree(home.store.home / "blame", ignore_errors=True)
    call = PerSequence.__call__

    def overflows(
        self: PerSequence, batch: Sequence[Predicted]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        found, losses = call(self, batch)
        return (found.fill_(torch.inf) if len(batch) == 1 else found), losses

    monkeypatch.setattr(PerSequence, "__call__", overflows)
    with pytest.raises(EnvironmentFault, match="the wrong answer to an item: its gradient"):
        found(home.run_dir, home.store)
    assert not list(home.store.home.rglob("products.*"))


def test_a_damaged_measurement_is_made_again(
    home: Home, measured: Influence, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a larger vocabulary batches would be smaller, and the numbers the same."""
    [path] = (home.store.home / "blame").glob("*/about.json")
    path.write_bytes(b"{")
    n_seen: list[int] = []
    own = passes.rows_gradients

    def counted(
        gradients: PerSequence, rows: Sequence[dict[str, Any]]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        n_seen.append(len(rows))
        return own(gradients, rows)

    monkeypatch.setattr(passes, "rows_gradients", counted)
    monkeypatch.setattr(passes, "_MOST_LOGITS", 1536 * 256)
    again = found(home.run_dir, home.store)
    assert 1 < max(n_seen) < 16
    np.testing.assert_allclose(again.products, measured.products, rtol=1e-2, atol=1e-3)
