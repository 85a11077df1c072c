"""What a chat tokenizer accepts, and that it is the one vLLM would use."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from harness.chat.contract import fingerprint
from harness.chat.template import ChatTokenizer, load_chat
from harness.chat.tokenizer import GENERIC_TRUSTED
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
    with pytest.raises(RecipeError, match=r"chat\.template: line 2"):
        ChatTokenizer(POCKET, template="fine\n{% for %}")


def test_a_refusal_keeps_the_template_s_words() -> None:
    chat = ChatTokenizer(POCKET, template="{{ raise_exception('no users') }}")
    with pytest.raises(DataError, match="no users"):
        chat.render(HELLO, add_generation_prompt=True)


LOOP = "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}"


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{{ 1 / 0 }}", "ZeroDivisionError"),
        ("{% for i in range(10 ** 6) %}x{% endfor %}", "OverflowError"),
        (LOOP, "RecursionError"),
        ("{{ [][3] + 1 }}", "has no element 3"),
        ("{{ messages[0].content.nothing.more }}", "has no attribute"),
        ("{{ messages[0].content + 1 }}", "TypeError"),
        ("{{ {}.popitem() }}", "popitem"),
        ("{{ 'a'.index('b') }}", "ValueError"),
        ("{{ ''.encode('nothing') }}", "LookupError"),
        ("{{ '%d' % 'a' }}", "TypeError"),
    ],
)
def test_a_template_that_fails_is_one_line(template: str, reason: str) -> None:
    chat = ChatTokenizer(POCKET, template=template)
    with pytest.raises(
        DataError, match=rf"^the chat template (fails on|refuses) .*{reason}"
    ) as caught:
        chat.render(HELLO, add_generation_prompt=True)
    assert "\n" not in str(caught.value)


def test_an_unknown_filter_is_a_mistake_in_the_recipe() -> None:
    with pytest.raises(RecipeError, match=r"chat\.template: line 1: No filter named 'nothing'"):
        ChatTokenizer(POCKET, template="{{ 1 | nothing }}").render(
            HELLO, add_generation_prompt=True
        )


def test_a_byte_order_mark_would_be_served_and_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.jinja").write_bytes(b"\xef\xbb\xbf" + CHATML.encode())
    with pytest.raises(RecipeError, match="starts with a byte order mark") as caught:
        load_chat(recipe(tmp_path, template="t.jinja"))
    assert "without a byte order mark" in str(caught.value.hint)


@pytest.mark.parametrize("path", ["loop", "x" * 300, "latin", ".", "latin/under"])
def test_a_template_that_cannot_be_read(tmp_path: Path, path: str) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "latin").write_bytes(b"\xe9")
    with pytest.raises(RecipeError, match=r"chat\.template = .* cannot be read"):
        load_chat(recipe(tmp_path, template=path))


@pytest.mark.parametrize(
    "value", ["a", "2", 2.0, True, -1, 2**40, [2, "a"], [[2]], {"a": 2}, [None]]
)
@pytest.mark.parametrize("name", ["generation_config.json", "config.json"])
def test_end_tokens_are_ids(tmp_path: Path, name: str, value: object) -> None:
    directory = make_tokenizer(tmp_path, eos="</s>")
    (directory / name).write_text(json.dumps({"model_type": "llama", "eos_token_id": value}))
    with pytest.raises(RecipeError, match=rf"{name}: eos_token_id = .*accepted: a token id"):
        ChatTokenizer(directory, template=CHATML)


@pytest.mark.parametrize("text", ["[]", "null", "3"])
@pytest.mark.parametrize("name", ["generation_config.json", "tokenizer_config.json"])
def test_configs_that_are_no_objects(tmp_path: Path, name: str, text: str) -> None:
    directory = make_tokenizer(tmp_path, eos="</s>")
    (directory / name).write_text(text)
    with pytest.raises(RecipeError, match=rf"{name} holds a \w+; accepted: a JSON object"):
        ChatTokenizer(directory, template=CHATML)


@pytest.mark.parametrize("text", ["", "{}", "[]", "{", '{"model": 3}'])
def test_a_tokenizer_that_does_not_load_is_one_line(tmp_path: Path, text: str) -> None:
    directory = make_tokenizer(tmp_path, eos="</s>")
    (directory / "tokenizer.json").write_text(text)
    with pytest.raises(RecipeError, match=r"base\.model: the tokenizer in .* does not") as caught:
        ChatTokenizer(directory, template=CHATML)
    assert "\n" not in str(caught.value)


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
    assert not mistrusted & set(GENERIC_TRUSTED)
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


def test_a_base_with_a_template_for_tools_is_refused_with_tools_only(tmp_path: Path) -> None:
    directory = make_tokenizer(tmp_path, eos="<|im_end|>")
    path = directory / "tokenizer_config.json"
    both = [{"name": "default", "template": CHATML}, {"name": "tool_use", "template": "x" + CHATML}]
    path.write_text(json.dumps(json.loads(path.read_text()) | {"chat_template": both}))
    chat = ChatTokenizer(directory)
    assert chat.template == CHATML
    assert chat.render(HELLO, add_generation_prompt=True).startswith("<|im_start|>")
    with pytest.raises(DataError, match="a template of its own for chats with tools"):
        chat.render(HELLO, add_generation_prompt=True, tools=[{"name": "f"}])
    named = ChatTokenizer(directory, template=both[1]["template"])
    assert named.render(HELLO, add_generation_prompt=True, tools=[{"name": "f"}]).startswith("x<")


def test_variables_can_be_added(tmp_path: Path) -> None:
    chat = ChatTokenizer(POCKET, template="{{ a }}{{ b }}{{ eos_token }}", kwargs={"a": 1})
    other = chat.with_kwargs(b=2, eos_token="!")
    assert chat.render(HELLO, add_generation_prompt=True) == "1<|im_end|>"
    assert other.render(HELLO, add_generation_prompt=True) == "12!"


def test_no_chat_is_no_prompt() -> None:
    with pytest.raises(DataError, match="there are no messages"):
        ChatTokenizer(POCKET).prompt_ids(())


def test_a_limit_in_the_tokenizer_file_cuts_nothing(tmp_path: Path) -> None:
    directory = make_tokenizer(tmp_path, eos="</s>")
    path = directory / "tokenizer.json"
    limit = {"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0}
    path.write_text(json.dumps(json.loads(path.read_text()) | {"truncation": limit}))
    chat = ChatTokenizer(directory, template=CHATML)
    assert chat.decode(chat.encode("Hello there, Hello")) == "Hello there, Hello"


def test_a_template_that_is_not_there_is_named_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"'chatlm': there is no file .*; did you mean 'chatml'"):
        load_chat(recipe(tmp_path, template="chatlm"))


def test_a_version_is_rendered_as_it_was_trained() -> None:
    own, alpaca = ChatTokenizer(POCKET), ChatTokenizer(POCKET, template="alpaca", kwargs={"a": 1})
    contract = fingerprint(alpaca)
    again = own.as_trained(contract, alpaca.template)
    messages = [Message(role="user", content="hello")]
    assert again.prompt_ids(messages) == alpaca.prompt_ids(messages) != own.prompt_ids(messages)
    assert fingerprint(again) == contract
    assert fingerprint(own) == fingerprint(ChatTokenizer(POCKET))
