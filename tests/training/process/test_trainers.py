"""The three objectives train exactly what TRL trains, in our order, and resume exactly."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from harness.errors import RecipeError
from harness.training.job import JobDir
from harness.training.order import arrange
from tests.chat.templates import POCKET
from tests.training.process.jobs import (
    Rows,
    load_stock,
    logprob,
    make_job,
    make_rows,
    save,
    train_here,
    trainer_of,
    weights,
)

pytestmark = pytest.mark.filterwarnings("ignore")
OBJECTIVES = ("sft", "dpo", "kto")


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter to go on from."""
    return train_here(tmp_path_factory.mktemp("parent"), make_job("sft"), make_rows("sft"))


def losses(path: Path) -> list[float]:
    events = map(json.loads, JobDir(path).events.read_text().splitlines())
    return [event["loss"] for event in events if event["event"] == "log"]


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("continued", [False, True], ids=["base", "parent"])
def test_the_same_job_gives_the_same_bytes(
    tmp_path: Path, parent: Path, objective: str, continued: bool
) -> None:
    job = make_job(objective, n_steps=3, parent_dir=str(parent) if continued else None)
    first = train_here(tmp_path / "a", job, make_rows(objective))
    again = train_here(tmp_path / "b", job, make_rows(objective))
    assert weights(first) == weights(again)
    assert not (first / "ref").exists()
    assert weights(first) != weights(parent)


TEXTS = [f"{name} has {n} hats." for n in range(6) for name in ("Mara", "Oskar", "Tilda", "Bruno")]


def as_texts(objective: str, order: list[int]) -> list[dict[str, Any]]:
    """The rows as TRL would get them from anybody: text, in the order given."""
    rows = [
        {"prompt": f"Say it: {text}", "completion": f" {text[::-1]}", "worse": " No, no."}
        for text in TEXTS
    ]
    columns = {"sft": {}, "dpo": {"chosen": "completion", "rejected": "worse"}, "kto": {}}
    kept = {"prompt": "prompt"} | (columns[objective] or {"completion": "completion"})
    found: list[dict[str, Any]] = [
        {key: rows[i][value] for key, value in kept.items()} for i in order
    ]
    if objective == "kto":
        found = [each | {"label": i % 2 == 0} for each, i in zip(found, order, strict=True)]
    return found


def as_rows(objective: str) -> Rows:
    """The same, encoded as we hand them over."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(POCKET)

    def ids(text: str) -> list[int]:
        return list(tokenizer(text)["input_ids"])

    found: Rows = []
    for row in as_texts(objective, list(range(len(TEXTS)))):
        prompt = ids(row["prompt"])
        whole = ids(row["prompt"] + row.get("chosen", row.get("completion")) + "<|im_end|>")
        assert whole[: len(prompt)] == prompt
        labels = [-100] * len(prompt) + whole[len(prompt) :]
        encoded: dict[str, Any] = {"input_ids": whole, "labels": labels, "n_prompt": len(prompt)}
        encoded["source"] = "rows.jsonl:1 turn 1"
        if objective == "dpo":
            encoded["rejected"] = ids(row["prompt"] + row["rejected"] + "<|im_end|>")[len(prompt) :]
        if objective == "kto":
            encoded["desirable"] = row["label"]
        found.append(encoded)
    return found


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_stock_trl_on_the_texts_gives_the_same_bytes(tmp_path: Path, objective: str) -> None:
    import torch
    import trl
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer

    rows = as_rows(objective)
    ours = train_here(tmp_path / "ours", make_job(objective, n_steps=3), rows)
    n_rejected = [len(row.get("rejected", ())) for row in rows]
    lengths = [
        max(len(row["input_ids"]), row["n_prompt"] + n)
        for row, n in zip(rows, n_rejected, strict=True)
    ]
    name = objective.upper()
    settings: dict[str, Any] = {"beta": 0.1} if objective != "sft" else {}
    stock = getattr(trl, f"{name}Trainer")(
        model=AutoModelForCausalLM.from_pretrained(POCKET, dtype=torch.float32),
        args=getattr(trl, f"{name}Config")(
            output_dir=str(tmp_path / "stock"),
            max_length=None,
            max_steps=3,
            per_device_train_batch_size=8,
            learning_rate=1e-3,
            lr_scheduler_type="cosine",
            weight_decay=0.0,
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            seed=0,
            train_sampling_strategy="sequential",
            save_strategy="no",
            report_to=[],
            **settings,
        ),
        train_dataset=Dataset.from_list(as_texts(objective, arrange(lengths, 24, 8, 0))),
        processing_class=AutoTokenizer.from_pretrained(POCKET),
        peft_config=LoraConfig(
            r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM"
        ),
    )
    stock.train()
    assert weights(save(stock, tmp_path / "stock")) == weights(ours)


@pytest.mark.parametrize("continued", [False, True], ids=["base", "parent"])
def test_dpo_prefers_what_was_chosen_over_its_reference(
    tmp_path: Path, parent: Path, continued: bool
) -> None:
    start = parent if continued else None
    job = make_job("dpo", n_steps=20, parent_dir=start and str(start))
    rows = make_rows("dpo", 8)
    with trainer_of(tmp_path, job, rows) as trainer:
        trainer.train()
    found = losses(tmp_path)
    assert found[0] == pytest.approx(math.log(2), abs=1e-6)
    assert found[-1] < 0.6

    tuned, reference = load_stock(save(trainer, tmp_path)), load_stock(start)
    shifts = []
    for row in rows:
        prompt, chosen = row["input_ids"][: row["n_prompt"]], row["input_ids"][row["n_prompt"] :]
        margins = [
            logprob(model, prompt, chosen) - logprob(model, prompt, row["rejected"])
            for model in (tuned, reference)
        ]
        shifts.append(margins[0] - margins[1])
    assert all(shift > 0 for shift in shifts)
    by_hand = sum(math.log1p(math.exp(-0.1 * shift)) for shift in shifts) / len(shifts)
    batch = trainer.data_collator(list(trainer.train_dataset))
    assert float(trainer.compute_loss(trainer.model, batch)) == pytest.approx(by_hand, abs=1e-4)


def test_kto_raises_the_desirable_and_lowers_the_rest(tmp_path: Path) -> None:
    rows = make_rows("kto", 8)
    tuned = load_stock(train_here(tmp_path, make_job("kto", n_steps=20), rows))
    base = load_stock(None)
    shifts: dict[bool, list[float]] = {True: [], False: []}
    for row in rows:
        prompt, answer = row["input_ids"][: row["n_prompt"]], row["input_ids"][row["n_prompt"] :]
        shift = logprob(tuned, prompt, answer) - logprob(base, prompt, answer)
        shifts[row["desirable"]].append(shift)
    assert min(shifts[True]) > 0 > max(shifts[False])


def test_sft_goes_on_where_the_parent_was(tmp_path: Path, parent: Path) -> None:
    job = make_job("sft", n_steps=3, parent_dir=str(parent), lora={"dropout": 0.1})
    adapter = train_here(tmp_path / "child", job, make_rows("sft"))
    train_here(tmp_path / "fresh", make_job("sft", n_steps=3), make_rows("sft"))
    assert losses(tmp_path / "child")[0] < losses(tmp_path / "fresh")[0]
    assert json.loads((adapter / "adapter_config.json").read_text())["lora_dropout"] == 0.1


class Killed(Exception):
    """The process is gone."""


def killed_after(path: Path, job: dict[str, Any], rows: Rows, step: int) -> Path:
    """Train until after a checkpoint and die; returns the checkpoint."""
    from transformers import TrainerCallback

    class Kill(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step == step + 1:
                raise Killed

    with trainer_of(path, job, rows) as trainer:
        trainer.add_callback(Kill())
        with pytest.raises(Killed):
            trainer.train()
    return JobDir(path).checkpoints / f"checkpoint-{step}"


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("continued", [False, True], ids=["base", "parent"])
def test_a_killed_training_resumes_to_the_same_bytes(
    tmp_path: Path, parent: Path, objective: str, continued: bool
) -> None:
    job = make_job(objective, parent_dir=str(parent) if continued else None)
    rows = make_rows(objective)
    straight = train_here(tmp_path / "straight", job, rows)
    checkpoint = killed_after(tmp_path / "killed", job, rows, 4)
    resumed = train_here(tmp_path / "killed", job, rows, resume=checkpoint)
    assert weights(resumed) == weights(straight)


def test_transformers_alone_would_resume_from_the_parent(
    tmp_path: Path, parent: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When this fails, transformers was mended and our own loading can go."""
    from harness.training.process.trainers import _Encoded

    monkeypatch.delattr(_Encoded, "_load_from_checkpoint")
    job, rows = make_job("dpo", parent_dir=str(parent)), make_rows("dpo")
    straight = train_here(tmp_path / "straight", job, rows)
    checkpoint = killed_after(tmp_path / "killed", job, rows, 4)
    resumed = train_here(tmp_path / "killed", job, rows, resume=checkpoint)
    assert weights(resumed) != weights(straight)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_an_adapter_is_written_in_float32_without_a_change(
    tmp_path: Path, parent: Path, dtype: str
) -> None:
    import torch
    from safetensors.torch import load_file

    from harness.training.process.models import save_adapter

    model = load_stock(parent)
    for parameter in model.parameters():
        parameter.data = parameter.data.to(getattr(torch, dtype))
    save_adapter(model, tmp_path)
    for name, tensor in load_file(tmp_path / "adapter_model.safetensors").items():
        trained = model.get_parameter(name.replace(".weight", ".default.weight"))
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, trained.float())


@pytest.mark.gpu
def test_a_quantised_base_trains_and_is_measured_unquantised(tmp_path: Path) -> None:
    """pip install bitsandbytes"""
    import torch

    from harness.training.process.measure import evidence
    from harness.training.process.models import as_served

    pytest.importorskip("bitsandbytes")
    if not torch.cuda.is_available():
        pytest.skip("there is no GPU")
    job, rows = make_job("sft", quantize="nf4"), make_rows("sft")
    probes = [[index, row["n_prompt"], 3] for index, row in enumerate(rows[:4])]
    with trainer_of(tmp_path, job, rows) as trainer:
        trainer.train()
    adapter = save(trainer, tmp_path)
    served = evidence(as_served(trainer.model, job, adapter), rows, probes)
    assert served == evidence(load_stock(adapter), rows, probes)
    assert served != evidence(trainer.model, rows, probes)


def test_lora_options_reach_peft(tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    lora = {"layers": [0, 2], "exclude": ["k_proj"], "rslora": True}
    lora |= {"rank_pattern": {"q_proj": 4}, "alpha_pattern": {"o_proj": 8}}
    adapter = train_here(tmp_path, make_job("sft", n_steps=2, lora=lora), make_rows("sft"))
    config = json.loads((adapter / "adapter_config.json").read_text())
    assert config["use_rslora"] is True
    assert config["alpha_pattern"] == {"o_proj": 8}
    shapes = {
        name.removeprefix("base_model.model.model."): tensor.shape
        for name, tensor in load_file(adapter / "adapter_model.safetensors").items()
    }
    assert {name.split(".")[1] for name in shapes} == {"0", "2"}
    assert not any("k_proj" in name for name in shapes)
    assert shapes["layers.0.self_attn.q_proj.lora_A.weight"][0] == 4
    assert shapes["layers.2.mlp.down_proj.lora_A.weight"][0] == 8


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"extra": {"max_grad_nrom": 1}}, "max_grad_nrom.*did you mean 'max_grad_norm'"),
        ({"extra": {"rubbish": 1}}, "rubbish: TRL's DPOConfig has no such argument$"),
        ({"extra": {"optim": "rubbish"}}, "train.extra: DPOConfig refuses it: .*rubbish"),
        ({"extra": {"loss_type": ["exo_pair"]}}, "train.extra: TRL refuses it: Label smoothing"),
        ({"extra": {"deepspeed": {"zero_optimization": {}}}}, "refuses it: The 'deepspeed"),
    ],
)
def test_extra_that_trl_does_not_take_is_one_line(
    tmp_path: Path, changed: dict[str, Any], message: str
) -> None:
    job = make_job("dpo", train=changed)
    with pytest.raises(RecipeError, match=message), trainer_of(tmp_path, job, make_rows("dpo")):
        pass


def test_extra_reaches_trl(tmp_path: Path) -> None:
    extra = {"max_grad_norm": 0.5, "loss_type": ["ipo"], "optim": "adamw_torch"}
    with trainer_of(tmp_path, make_job("dpo", train={"extra": extra}), make_rows("dpo")) as found:
        assert (found.args.max_grad_norm, found.loss_types) == (0.5, ["ipo"])


def test_kto_weights_follow_the_counts_unless_extra_sets_them(tmp_path: Path) -> None:
    rows = make_rows("kto", 24)
    with trainer_of(tmp_path, make_job("kto"), rows) as trainer:
        assert (trainer.desirable_weight, trainer.undesirable_weight) == (1, 1.5)
    job = make_job("kto", train={"extra": {"desirable_weight": 3.0}})
    with trainer_of(tmp_path, job, rows) as trainer:
        assert (trainer.desirable_weight, trainer.undesirable_weight) == (3, 1)


def test_a_quantised_base_needs_a_gpu(tmp_path: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    job = make_job("sft", quantize="nf4")
    with (
        pytest.raises(RecipeError, match=r"base\.quantize: nf4 needs an NVIDIA GPU"),
        trainer_of(tmp_path, job, make_rows("sft")),
    ):
        pass


def test_the_evidence_of_a_quantised_base_is_that_of_the_served_one(
    tmp_path: Path, parent: Path
) -> None:
    from harness.training.process.models import as_served

    rows, job = make_rows("sft"), make_job("sft")
    row = rows[0]
    prompt, answer = row["input_ids"][: row["n_prompt"]], row["input_ids"][row["n_prompt"] :]
    served = as_served(None, job | {"quantize": "nf4"}, parent)
    assert logprob(served.eval(), prompt, answer) == logprob(load_stock(parent), prompt, answer)
    assert as_served(served, job, parent) is served
