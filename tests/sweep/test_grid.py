"""Words to points: what is accepted, what is refused and why, and how points are called."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import RecipeError
from harness.recipe import load
from harness.sweep.grid import MAX_POINTS, Point, make_points, parse_grid, value_text
from tests.workbench import write_recipe


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_recipe(tmp_path_factory.mktemp("grid"), n_rows=14, n_items=7)


def points(recipe: Path, *words: str, overrides: tuple[str, ...] = ()) -> list[Point]:
    return make_points(recipe, overrides, parse_grid(words))


@pytest.mark.parametrize(
    "words",
    [
        ["lora.r=4,8", "train.lr=1e-4,3e-4"],
        ["lora.r=4,8 train.lr=1e-4,3e-4"],
        ["  lora.r=4,8\n", "train.lr=1e-4,3e-4 "],
    ],
)
def test_one_word_or_many(recipe: Path, words: list[str]) -> None:
    found = points(recipe, *words)
    assert [each.values for each in found] == [
        {"lora.r": 4, "train.lr": 1e-4},
        {"lora.r": 4, "train.lr": 3e-4},
        {"lora.r": 8, "train.lr": 1e-4},
        {"lora.r": 8, "train.lr": 3e-4},
    ]
    assert [each.name for each in found] == [
        "bot-r4-lr1e-4",
        "bot-r4-lr3e-4",
        "bot-r8-lr1e-4",
        "bot-r8-lr3e-4",
    ]


def test_commas_and_spaces_inside_brackets_and_quotes_are_the_values_own(recipe: Path) -> None:
    grid = "lora.targets=[q_proj, v_proj],all-linear,'o_proj,x'"
    assert parse_grid([grid])[0].texts == ("[q_proj, v_proj]", "all-linear", "'o_proj,x'")
    patterns = "lora.rank_pattern={q_proj: 4, v_proj: 8},{}"
    assert [each.values for each in points(recipe, patterns)] == [
        {"lora.rank_pattern": {"q_proj": 4, "v_proj": 8}},
        {"lora.rank_pattern": {}},
    ]


def test_the_settings_of_a_point_make_its_recipe(recipe: Path) -> None:
    words = "lora.targets=[q_proj,v_proj],all-linear train.extra.adam_beta1=0.8,0.9 data.seed=1,2"
    overrides = ("train.max_steps=7",)
    for point in points(recipe, words, overrides=overrides):
        assert load(recipe, (*overrides, *point.settings)).recipe == point.loaded.recipe


def test_keys_of_the_data_change_slowest(recipe: Path) -> None:
    found = points(recipe, "lora.r=4,8", "data.seed=1,2")
    assert [each.values["data.seed"] for each in found] == [1, 1, 2, 2]


def test_names_tell_points_apart_and_fit(recipe: Path) -> None:
    for words in (
        "train.extra.optim=adamw_torch,ADAMW_TORCH,adamw_torch!",
        "train.lr=0.1234567890123456,0.1234567890123457",
        "lora.rank_pattern={a: 4},{a: 8},{}",
        "lora.targets=[q_proj,k_proj,v_proj,o_proj,up_proj,down_proj,gate_proj],[q_proj]",
        "data.seed=0,1 train.seed=0,1",
        "lora.rslora=true,false lora.layers=[0,1],null",
    ):
        names = [each.name for each in points(recipe, words)]
        assert len(set(names)) == len(names), names
        assert all(load(recipe, (f"name={name}",)) for name in names)


def test_names_say_the_values(recipe: Path) -> None:
    words = "train.extra.adam_beta1=0.9 lora.rslora=true train.schedule=linear data.seed=3"
    [point] = points(recipe, words)
    assert point.name == "bot-seed3-adam_beta1-0.9-rslora-true-schedule-linear"
    [one, _] = points(recipe, "data.seed=0 train.seed=0,1")
    assert one.name == "bot-data.seed0-train.seed0"


@pytest.mark.parametrize(
    ("value", "text"),
    [(1e-4, "1e-4"), (0.05, "0.05"), (32.0, "32"), (1000, "1000"), (2.5e-5, "2.5e-5"),
     (None, "none"), (True, "true"), (["a", 1], "a+1"), (0.0, "0")],
)  # fmt: skip
def test_equal_values_have_one_short_text(value: object, text: str) -> None:
    assert value_text(value) == text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "nothing to sweep"),
        (["lora.r"], "'lora.r': not a key and its values"),
        (["lora.r=4,8", "8"], "'8': not a key and its values"),
        (["lora.r=4,"], "an empty value"),
        (["lora.r=[4"], "not YAML"),
        (["lora.r=4,8", "lora.r=16"], "lora.r: the key is there 2 times"),
        (["lora.rank=4,8"], "unknown key of lora; accepted: alpha"),
        (["lora.alhpa=4,8"], "did you mean 'alpha'?"),
        (["lora.r.x=4"], "unknown key of lora"),
        (["lorra.r=4,8"], "did you mean 'lora'? accepted: data, lora, train"),
        (["gate.margin=0.1,0.2"], "does not change the weights"),
        (["eval.system=a,b"], "does not change the weights"),
        (["train.save_every=1,2"], "does not change the weights"),
        (["chat.template=chatml,alpaca"], "one base and one template"),
        (["name=a,b"], "named after its values"),
        ([f"train.seed={','.join(map(str, range(MAX_POINTS + 1)))}"], "65 points; accepted: at"),
    ],
)  # fmt: skip
def test_refused_words(words: list[str], message: str) -> None:
    with pytest.raises(RecipeError, match="--grid") as caught:
        parse_grid(words)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("lora.r=4,four", "lora.r = 'four'"),
        ("train.lr=1e-4,0.0001", "train.lr=1e-4 and train.lr=0.0001 are the same point"),
        ("train.extra.seed=1,2", "train.extra: 'seed' cannot be passed to TRL: set train.seed"),
    ],
)
def test_refused_values(recipe: Path, word: str, message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        points(recipe, word)
    assert message in str(caught.value)
