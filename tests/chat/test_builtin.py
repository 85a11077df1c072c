"""The templates that come with the harness write the public formats, byte by byte."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.chat.builtin import BUILTIN, builtin_path
from harness.chat.jinja import variables
from harness.chat.lint import lint
from harness.chat.template import ChatTokenizer, load_chat, template_path
from harness.errors import DataError, RecipeError
from harness.recipe import Chat
from harness.types import Message
from tests.chat.templates import POCKET, make_tokenizer
from tests.chat.test_kinds import ADD, CALL
from tests.chat.test_template import recipe

CHAT = (
    Message(role="system", content="Be brief."),
    Message(role="user", content="Hi\n"),
    Message(role="assistant", content=" Hello"),
    Message(role="user", content="Bye"),
)
PUBLIC = {
    "chatml": (
        "<s><|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi\n<|im_end|>\n"
        "<|im_start|>assistant\n Hello<|im_end|>\n<|im_start|>user\nBye<|im_end|>\n"
        "<|im_start|>assistant\n"
    ),
    "llama3": (
        "<s><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nHi\n<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n Hello<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nBye<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n"
    ),
    "alpaca": (
        "<s>Be brief.\n\n### Instruction:\nHi\n\n\n### Response:\n Hello</s>\n\n"
        "### Instruction:\nBye\n\n### Response:\n"
    ),
    "mistral": "<s>[INST] Hi\n[/INST]  Hello</s>[INST] Be brief.\n\nBye[/INST]",
}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return make_tokenizer(tmp_path / "base", eos="</s>")


@pytest.mark.parametrize("name", BUILTIN)
def test_the_public_format(directory: Path, name: str) -> None:
    chat = ChatTokenizer(directory, template=name)
    assert chat.render(CHAT, add_generation_prompt=True) == PUBLIC[name]
    ids = chat.prompt_ids(CHAT)
    assert ids.count(chat.special()["bos_token"][1]) == 1
    assert variables(chat.template) <= {"bos_token", "eos_token", "raise_exception"}
    assert lint(chat, has_system=True, has_reasoning=True) == []


@pytest.mark.parametrize("name", BUILTIN)
def test_its_end_token_is_a_stop_token(directory: Path, name: str) -> None:
    chat = ChatTokenizer(directory, template=name)
    stops = {chat.decode([each]) for each in chat.stop_ids}
    assert stops == {"</s>", BUILTIN[name] or "</s>"}


@pytest.mark.parametrize("name", BUILTIN)
def test_what_it_has_no_place_for_is_refused_not_dropped(directory: Path, name: str) -> None:
    chat = ChatTokenizer(directory, template=name)
    for messages, tools in ((CHAT, [ADD]), ((*CHAT, CALL), [])):
        with pytest.raises(DataError, match=f"the {name} template has no place for tool"):
            chat.render(messages, add_generation_prompt=True, tools=tools)


def test_a_base_without_the_end_token_is_told_what_to_use() -> None:
    with pytest.raises(
        RecipeError, match=r"chat\.template = 'llama3': .* no <\|eot_id\|>"
    ) as caught:
        ChatTokenizer(POCKET, template="llama3")
    assert "use alpaca, which ends with <|im_end|>" in str(caught.value.hint)


def test_a_bos_that_starts_a_turn_is_not_doubled(tmp_path: Path) -> None:
    directory = make_tokenizer(tmp_path, eos="<|im_end|>")
    path = directory / "tokenizer_config.json"
    path.write_text(path.read_text().replace('"<s>"', '"<|im_start|>"'))
    text = ChatTokenizer(directory, template="chatml").render(CHAT[1:2], add_generation_prompt=True)
    assert text == "<|im_start|>user\nHi\n<|im_end|>\n<|im_start|>assistant\n"


def test_a_base_without_bos_has_none() -> None:
    text = ChatTokenizer(POCKET, template="chatml").render(CHAT[1:2], add_generation_prompt=True)
    assert text == "<|im_start|>user\nHi\n<|im_end|>\n<|im_start|>assistant\n"


def test_a_name_means_the_builtin_one_wherever_the_recipe_lies(tmp_path: Path) -> None:
    (tmp_path / "chatml").write_text("{{ messages[0].content }}")
    chat = load_chat(recipe(tmp_path, template="chatml"))
    assert chat.template == builtin_path("chatml").read_text()
    assert load_chat(recipe(tmp_path, template="./chatml")).template == "{{ messages[0].content }}"
    assert template_path(Chat(template="chatml"), tmp_path) == builtin_path("chatml")
    assert template_path(Chat(template="./chatml"), tmp_path) == tmp_path / "chatml"
    assert template_path(Chat(), tmp_path) is None


def test_the_recipe_s_flag_allows_special_tokens(tmp_path: Path) -> None:
    assert not load_chat(recipe(tmp_path)).allow_special_tokens
    assert load_chat(recipe(tmp_path, allow_special_tokens=True)).allow_special_tokens
