"""What a chat tokenizer accepts, and that it is the one vLLM would use."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from harness.chat import template as template_module
from harness.chat.template import ChatTokenizer, load_chat
from harness.errors import DataError, RecipeError
from harness.recipe import LoadedRecipe, Recipe
from harness.types import Message
from tests.chat.templates import ALPACA, CHATML, POCKET, make_tokenizer

HELLO = (Message(role="user", content="Hello"),)


def recipe(root: Path, **chat: object) -> LoadedRecipe:
    values = {
        "name": "test",
        "base": {"model": str(POCKET)},
        "chat": chat,
        "data": {"sources": [{"path": "rows.jsonl"}]},
        "eval": {"evalset": "pocket"},
    }
    return LoadedRecipe(Recipe.model_validate(values), root, root / "recipe.yaml")


def test_the_base_has_its_own_template() -> None:
    chat = ChatTokenizer(POCKET)
    text = chat.render(HELLO, add_generation_prompt=True)
    assert text == "<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n"
    assert chat.decode(chat.prompt_ids(HELLO)) == text
    assert [chat.decode([each]) for each in chat.stop_ids] == [
        "<|endoftext|>",
        "<|im_end|>",
    ]


def test_a_template_file_is_found_beside_the_recipe(tmp_path: Path) -> None:
    (tmp_path / "alpaca.jinja").write_text(ALPACA.replace("bos_token", "''"))
    chat = load_chat(recipe(tmp_path, template="alpaca.jinja"))
    text = chat.render(HELLO, add_generation_prompt=True)
    assert text == "### Instruction:\nHello\n\n### Response:\n"


def test_variables_reach_the_template(tmp_path: Path) -> None:
    (tmp_path / "t.jinja").write_text("{{ mood }} {{ messages[0].content }}")
    chat = load_chat(recipe(tmp_path, template="t.jinja", kwargs={"mood": "calm"}))
    assert chat.render(HELLO, add_generation_prompt=True) == "calm Hello"


@pytest.mark.parametrize(
    ("chat", "expected"),
    [
        ({"template": "missing.jinja"}, "chat.template = 'missing.jinja'"),
        ({"kwargs": {"add_generation_prompt": False}}, "chat.kwargs.add_generation_prompt"),
        ({"stop": ["two tokens here"]}, "chat.stop: 'two tokens here' is"),
    ],
)
def test_unusable_choices(tmp_path: Path, chat: dict[str, object], expected: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load_chat(recipe(tmp_path, **chat))
    assert expected in str(caught.value)


def test_a_base_without_template(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"chat\.template: the base's tokenizer has no"):
        ChatTokenizer(make_tokenizer(tmp_path, eos="</s>"))


def test_a_template_that_is_not_jinja_names_the_line() -> None:
    chat = ChatTokenizer(POCKET, template="fine\n{% for %}")
    with pytest.raises(RecipeError, match=r"chat\.template: line 2"):
        chat.render(HELLO, add_generation_prompt=True)


def test_a_refusal_keeps_the_template_s_words() -> None:
    chat = ChatTokenizer(POCKET, template="{{ raise_exception('no users') }}")
    with pytest.raises(DataError, match="no users"):
        chat.render(HELLO, add_generation_prompt=True)


def test_stop_ids_come_from_the_generation_config_and_the_recipe(tmp_path: Path) -> None:
    directory = make_tokenizer(tmp_path, eos="</s>", eos_token_id=7)
    assert len(ChatTokenizer(directory, template=CHATML).stop_ids) == 2
    (directory / "generation_config.json").write_text(json.dumps({"eos_token_id": [3, 5]}))
    chat = ChatTokenizer(directory, template=CHATML, stop=["<|im_end|>"])
    expected = {3, 5, *chat.encode("</s>"), *chat.encode("<|im_end|>")}
    assert set(chat.stop_ids) == expected


def test_the_spared_import_changes_nothing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from transformers import AutoTokenizer
        from transformers.models.auto import tokenization_auto

        auto = AutoTokenizer.from_pretrained(POCKET)
    mistrusted = tokenization_auto.MODELS_WITH_INCORRECT_HUB_TOKENIZER_CLASS
    assert not mistrusted & set(template_module.GENERIC_TRUSTED)
    chat = ChatTokenizer(POCKET)
    assert json.loads(auto.backend_tokenizer.to_str()) == chat.backend()
    text = chat.render(HELLO, add_generation_prompt=True)
    assert tuple(auto(text, add_special_tokens=False)["input_ids"]) == chat.encode(text)


def test_rendering_needs_no_torch() -> None:
    code = (
        "import sys; from pathlib import Path; from harness.chat.template import ChatTokenizer; "
        f"ChatTokenizer(Path({str(POCKET)!r})); sys.exit('torch' in sys.modules)"
    )
    root = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0
