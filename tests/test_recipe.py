"""Recipes are strict, and their errors name the place, the value and the next step."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import RecipeError
from harness.recipe import Gate, load, parse_threshold

GOOD = """\
name: bot
base: {model: pocket}
data:
  sources: [{path: train.jsonl}]
eval: {evalset: pocket}
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(text)
    return path


def problem(folder: Path, text: str, *overrides: str) -> str:
    with pytest.raises(RecipeError) as caught:
        load(write(folder, text), overrides)
    return str(caught.value).replace(str(folder) + "/", "")


def test_defaults_are_filled_in(tmp_path: Path) -> None:
    recipe, root, path, _ = load(write(tmp_path, GOOD))
    assert recipe.lora.r == 16
    assert recipe.gate.margin == 0.2
    assert root == tmp_path
    assert path == tmp_path / "recipe.yaml"


def test_paths_start_from_the_recipes_folder(tmp_path: Path) -> None:
    loaded = load(write(tmp_path, GOOD))
    assert loaded.locate(loaded.recipe.data.sources[0].path) == tmp_path / "train.jsonl"


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ("train: {epoch: 3}", "recipe.yaml:6: unknown key 'train.epoch': did you mean 'epochs'?"),
        ("trian: {}", "recipe.yaml:6: unknown key 'trian': did you mean 'train'?"),
        ("train:\n  lr: -1", "recipe.yaml:7: train.lr = -1: Input should be greater than 0"),
        ("train: {lr: fast}", "recipe.yaml:6: train.lr = 'fast': Input should be a valid number"),
        ("lora: {use_dora: true}", "'use_dora' cannot be served: vLLM refuses DoRA adapters"),
        ("lora: {bias: all}", "recipe.yaml:6: lora: 'bias' cannot be served"),
        ("lora: {modules_to_save: [lm_head]}", "'modules_to_save' cannot be served"),
        ("lora: {init_lora_weights: pissa}", "PiSSA"),
        ("lora: {targets: [lm_head]}", "'lm_head' cannot be a target"),
        ("lora: {r: 1024}", "lora.r = 1024: Input should be less than or equal to 512"),
        ("gate: {thresholds: ['mean > 4']}", "'mean > 4' is not a threshold; accepted: 'mean >="),
        ("gate: {thresholds: ['pass_share >= 4']}", "pass_share lies between 0 and 1"),
        ("name: again", "name is set twice (first in line 1)"),
        ("gate: {slices: {min: 3}}", "unknown key 'gate.slices.min': did you mean 'min_n'?"),
        ("x: [", "not YAML"),
        ("train: {lr: .inf}", "recipe.yaml:6: train.lr = '.inf': not a finite number"),
        ("chat: {kwargs: {x: [.nan]}}", "recipe.yaml:6: chat.kwargs.x.0 = '.nan': not a finite"),
        ("chat: {kwargs: {1: a}}", "recipe.yaml:6: chat.kwargs: the key '1' is not accepted"),
        ("train: {lr: 1e999}", "recipe.yaml:6: train.lr = '1e999': not a finite number"),
        ("train: {seed: -1}", "train.seed = -1: Input should be greater than or equal to 0"),
        ("train: {seed: 4294967296}", "train.seed = 4294967296: Input should be less than"),
        ("train: {batch: 65537}", "train.batch = 65537: Input should be less than or equal"),
        ("train: {grad_accum: 0}", "train.grad_accum = 0: Input should be greater than"),
        ("judge: {concurrency: 1000000}", "judge.concurrency = 1000000: Input should be less"),
        ("train: {batch: " + "9" * 4000 + "}", "999…: a number of more than 64 bits"),
        ("train: {lr: " + "9" * 4000 + "}", "999…: a number of more than 64 bits"),
        ("lora: {targets: []}", "lora.targets: no module is named"),
        ("lora: !!python/object:os.system {}", "recipe.yaml:6: lora = a mapping: !!python/object"),
    ],
    ids=range(28),
)
def test_a_mistake_is_named_with_its_place(tmp_path: Path, extra: str, message: str) -> None:
    assert message in problem(tmp_path, GOOD + extra + "\n")


@pytest.mark.parametrize(
    ("gate", "message"),
    [
        ("thresholds: ['share(score<=5) <= 0.1']", "accepted in share(score<=N): 1, 2, 3 or 4"),
        ("thresholds: ['share(score<=2) >= 0.1']", "is not a threshold; accepted: 'mean >= 4.0'"),
        ("thresholds: ['share(score<=2) <= 1.5']", "share lies between 0 and 1"),
        ("thresholds: ['share <= 0.1']", "'share(score<=2) <= 0.02'"),
        ("thresholds: ['mean >= 4 point each slice']", "is not a threshold; accepted:"),
        ("on_inconclusive: alow", "gate.on_inconclusive = 'alow': did you mean 'allow'?"),
        ("attempts: 3", "gate.attempts = 3: accepted: strict, warn"),
        ("cluster: true", "gate.cluster: True is no tag's name; accepted: a tag's name, null"),
        ("cluster: ''", "gate.cluster: '' is no tag's name"),
        (
            "alpha: 1e-300",
            "gate.alpha = 1e-300: Input should be greater than or equal to 0.000000001",
        ),
        ("alpha: 0.4999999999999999", "gate.alpha = 0.4999999999999999: Input should be less than"),
        ("looks: 0", "gate.looks = 0: Input should be greater than or equal to 1"),
        (
            "attempts: stict",
            "gate.attempts = 'stict': did you mean 'strict'? accepted: strict, warn",
        ),
        ("superority: true", "unknown key 'gate.superority': did you mean 'superiority'?"),
    ],
)
def test_a_mistake_in_the_gate_is_named(tmp_path: Path, gate: str, message: str) -> None:
    assert message in problem(tmp_path, f"{GOOD}gate:\n  {gate}\n")


@pytest.mark.parametrize(
    ("gate", "message"),
    [
        (
            "slices: {by: null, critical: [refund]}",
            "gate.slices.critical = ['refund']: there are no slices; accepted: a tag in",
        ),
        ("slices: {critical: [a, b, a]}", "critical = ['a', 'b', 'a']: 'a' is there 2 times"),
        (
            "slices: {by: null}\n  thresholds: ['mean >= 4 each slice']",
            "recipe.yaml:8: gate.thresholds.0 = 'mean >= 4 each slice': there are no slices",
        ),
        (
            "thresholds: ['min >= 2', 'mean >= 4', 'mean >= 4.5']",
            "gate.thresholds.2 = 'mean >= 4.5': 'mean >= 4' is of the same number; accepted: the",
        ),
        (
            "thresholds: ['share(score<=2) <= 0.1', 'share(score <= 2) <= 0.2']",
            "gate.thresholds.1 = 'share(score <= 2) <= 0.2'",
        ),
        (
            "thresholds: ['mean >= 5']",
            "no number of prompts brings the confidence bound there; accepted: a threshold short",
        ),
        ("thresholds: ['pass_share >= 1.0']", "gate.thresholds.0 = 'pass_share >= 1.0': no number"),
        ("thresholds: ['share(score<=1) <= 0']", "no number of prompts"),
        (
            "superiority: true\n  on_inconclusive: allow",
            "recipe.yaml:8: gate.on_inconclusive = 'allow': gate.superiority asks for a candidate",
        ),
        ("cluster: type", "gate.cluster = 'type': that is gate.slices.by"),
        (
            "calibration: labels.jsonl\n  cluster: document",
            "gate.calibration = 'labels.jsonl': labels in clusters ('document') are not corrected",
        ),
    ],
)
def test_keys_that_contradict_each_other_are_refused(
    tmp_path: Path, gate: str, message: str
) -> None:
    assert message in problem(tmp_path, f"{GOOD}gate:\n  {gate}\n")


@pytest.mark.parametrize(
    "gate",
    [
        "thresholds: ['mean >= 5 point', 'pass_share >= 1 point', 'share(score<=1) <= 0 point']",
        "thresholds: ['mean >= 4', 'mean >= 4.2 point', 'mean >= 3 each slice', 'min >= 5']",
        "thresholds: ['share(score<=1) <= 0.01', 'share(score<=2) <= 0.05']",
        "superiority: true\n  slices: {critical: [a]}",
        "calibration: labels.jsonl\n  cluster: false",
    ],
)
def test_what_can_be_meant_together_is_accepted(tmp_path: Path, gate: str) -> None:
    load(write(tmp_path, f"{GOOD}gate:\n  {gate}\n"))


def test_labels_of_one_answer_do_not_go_with_several_samples(tmp_path: Path) -> None:
    overrides = ["gate.calibration=labels.jsonl", "eval.samples=3", "eval.temperature=0.7"]
    found = problem(tmp_path, GOOD, *overrides)
    assert "gate.calibration = 'labels.jsonl': people's labels are of one answer" in found
    assert "eval.samples = 3" in found


def test_several_contradictions_are_counted_and_the_next_step_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD + "gate: {cluster: type, slices: {critical: [a, a]}}\n")
    with pytest.raises(RecipeError, match=r"\(and 1 more\)$") as caught:
        load(path)
    assert caught.value.hint == f"edit {path}, then: harness check {path}"


def test_a_record_with_a_contradiction_can_still_be_read() -> None:
    assert Gate.model_validate({"slices": {"critical": ["a", "a"]}}).slices.critical == ("a", "a")


def test_an_unknown_key_inside_a_list_offers_the_nearest(tmp_path: Path) -> None:
    text = GOOD.replace("path: train.jsonl", "path: train.jsonl, wieght: 2")
    found = problem(tmp_path, text)
    assert "unknown key 'data.sources.0.wieght': did you mean 'weight'?" in found


@pytest.mark.parametrize("name", ["terse", "model", "7"])
def test_an_unknown_key_below_a_name_of_the_users_offers_the_nearest(
    tmp_path: Path, name: str
) -> None:
    text = GOOD.replace("eval: {", f"eval: {{targets: {{'{name}': {{model: base, sytem: x}}}}, ")
    found = problem(tmp_path, text)
    assert f"unknown key 'eval.targets.{name}.sytem': did you mean 'system'?" in found


def test_missing_keys_and_files_are_named(tmp_path: Path) -> None:
    assert "required key 'base' is missing" in problem(tmp_path, "name: x\n")
    assert "a recipe is a mapping" in problem(tmp_path, "")
    with pytest.raises(RecipeError, match="no such recipe file"):
        load(tmp_path / "none.yaml")


def test_overrides_are_yaml_values(tmp_path: Path) -> None:
    recipe, *_ = load(write(tmp_path, GOOD), ["train.lr=1e-3", "gate.slices.critical=[code]"])
    assert recipe.train.lr == 1e-3
    assert recipe.gate.slices.critical == ("code",)
    assert "accepted: key.path=value" in problem(tmp_path, GOOD, "train.lr")
    assert "'name' is not a section" in problem(tmp_path, GOOD, "name.x=1")


@pytest.mark.parametrize(
    ("override", "place"),
    [
        ("gate.lookz=3", "--set gate.lookz: unknown key 'gate.lookz': did you mean 'looks'?"),
        ("gate.looks=x", "--set gate.looks: gate.looks = 'x': "),
        ("gate={looks: 0}", "--set gate: gate.looks = 0: "),
        ("gate.on_inconclusive=allow", "--set gate.on_inconclusive: gate.on_inconclusive ="),
        ("gate.margin=0.1", "recipe.yaml:7: gate.looks = 0: "),
    ],
)
def test_a_mistake_is_where_it_was_made(tmp_path: Path, override: str, place: str) -> None:
    gate = "gate:\n  looks: 0\n" if "margin" in override else "gate:\n  superiority: true\n"
    assert problem(tmp_path, GOOD + gate, override).startswith(place)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("name=2024-13-45", "--set 'name=2024-13-45': '2024-13-45': !!timestamp is not accepted"),
        ("train.lr=.inf", "--set 'train.lr=.inf': '.inf': not a finite number"),
        ("chat.kwargs.x=.nan", "not a finite number"),
        ("chat.kwargs={a: {2: 3}}", "a: the key '2' is not accepted"),
        ("train.seed=-1", "train.seed = -1: Input should be greater than or equal to 0"),
        ("data.seed=4294967296", "data.seed = 4294967296: Input should be less than or equal"),
        ("eval.seed=-1", "eval.seed = -1: Input should be greater"),
        ("train.seed=" + "9" * 5000, "cannot be read as !!int"),
        ("name=" + "[" * 3000, "nested more than 32 deep"),
        ("name=&a [*a]", "nested more than 32 deep, or an alias that contains itself"),
        ("name=[", "--set 'name=[': not YAML"),
        ('eval.system="\0"', "not YAML: the character #x00 is not accepted"),
        ("eval.system=\udcff", "not YAML: the character #xdcff is not accepted"),
    ],
    ids=range(13),
)
def test_a_mistake_in_an_override_is_one_line(tmp_path: Path, override: str, message: str) -> None:
    found = problem(tmp_path, GOOD, override)
    assert message in found
    assert len(found) < 300


def test_a_recipe_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    (tmp_path / "loop.yaml").symlink_to(tmp_path / "loop.yaml")
    for name in ("loop.yaml", "x" * 300, "recipe.yaml/under", ""):
        with pytest.raises(RecipeError, match="cannot be read"):
            load(path.parent / name)


def test_an_unknown_home_folder_is_named(tmp_path: Path) -> None:
    loaded = load(write(tmp_path, GOOD))
    assert loaded.locate("~/x") == Path.home() / "x"
    with pytest.raises(RecipeError, match="'~nobody-here/x' in the recipe: there is no such home"):
        loaded.locate("~nobody-here/x")


def test_the_digest_ignores_only_where_it_runs(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    plain = load(path).recipe.digest()
    assert load(path, ["compute.threads=2"]).recipe.digest() == plain
    assert load(path, ["train.seed=1"]).recipe.digest() != plain


def test_thresholds_are_parsed() -> None:
    threshold = parse_threshold("mean >= 4.0 each slice point")
    assert (threshold.metric, threshold.value) == ("mean", 4.0)
    assert threshold.each_slice
    assert threshold.point
    assert parse_threshold("min >= 2").point
    assert not parse_threshold("pass_share >= 0.9").point
    low = parse_threshold(" share( score <= 2 ) <= 0.02 each slice")
    assert (low.metric, low.score, low.value) == ("share", 2, 0.02)
    assert (low.is_ceiling, low.each_slice, low.point) == (True, True, False)


def test_a_list_is_asked_for_as_a_list(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("name: a\ndata: {sources: x}\neval: {evalset: pocket}\nbase: {model: pocket}\n")
    with pytest.raises(RecipeError, match=r"data\.sources = 'x': accepted: a list"):
        load(path)


def test_arguments_for_vllm_are_found_under_their_old_key(tmp_path: Path) -> None:
    path = tmp_path / "old.yaml"
    path.write_text(
        "name: old\nbase: {model: pocket}\ndata: {sources: [{path: x}]}\neval: {evalset: pocket}\n"
        "compute: {threads: 1, server_args: [--seed, '1']}\n"
    )
    recipe = load(path).recipe
    assert recipe.serve.engine_args == ("--seed", "1")
    assert recipe.compute.threads == 1
