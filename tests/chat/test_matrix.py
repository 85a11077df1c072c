"""Encoder × templates × awkward answers × real tokenizers: exact, or refused with the reason.

The oracle is transformers' own `apply_chat_template` and tokenizer, given messages by hand; nothing
of the encoder takes part in it. Real templates and tokenizers lie in ../shared and in trl.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from harness.chat.builtin import BUILTIN
from harness.chat.encode import IGNORED, Row, encode
from harness.chat.template import ChatTokenizer
from harness.errors import DataError
from harness.types import Message
from tests.chat.templates import POCKET, SHARED, SPECIAL, make_tokenizer

TOKENIZERS = SHARED.parent / "tokenizers"
REAL = {
    "gpt2": "gpt2/tokenizer.json",
    "qwen-like": "torchtune/tiny_bpe_tokenizer.json",
    "bpe": "torchtune/tokenizer.json",
    "gemma-like": "torchtune/tokenizer_gemma_cropped.json",
}
"""gpt2 writes everything. The next two drop the bytes they lack, without a word, and the first of
them writes composed letters. The last has a few letters and bytes, and <unk>."""
MORE_SPECIAL = (
    "<turn|> <|turn> <|return|> <|eot|> <end_of_utterance> <|END_OF_TURN_TOKEN|> <|channel|> "
    "<|message|> <|start|> <｜end▁of▁sentence｜> <|START_OF_TURN_TOKEN|>"
).split()
STOPS = (
    "<|im_end|> <|eot_id|> <|end|> <|endoftext|> <end_of_turn> <|end_of_text|> <|end_of_turn|> "
    "<turn|> <|return|> <|eot|> <end_of_utterance> <|END_OF_TURN_TOKEN|> <｜end▁of▁sentence｜>"
).split()
ANSWERS = {
    "plain": "Hello there.",
    "leading newline": "\nHello",
    "blank lines": "\n\n\nHello\n\n",
    "trailing spaces": "Hello  ",
    "emoji": "Hello 🙂👩‍🚀",
    "cjk": "你好，世界",
    "code": "```python\ndef f(x):\n\treturn x  # twice\n```",
    "special token": "It ends with <|im_end|> there.",
    "empty": "",
    "long": "All work and no play. " * 2000,
}


def directory_of(source: Path, folder: Path) -> Path:
    """A model directory with a real tokenizer and the templates' special tokens in it."""
    text = json.loads(source.read_text())
    known = {each["content"] for each in text["added_tokens"]}
    first = 1 + max([*text["model"]["vocab"].values(), *(a["id"] for a in text["added_tokens"])])
    new = [each for each in (*SPECIAL, *MORE_SPECIAL) if each not in known]
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    text["added_tokens"] += [
        {"id": number, "content": each, "special": True} | flags
        for number, each in enumerate(new, first)
    ]
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>"}
    folder.mkdir(exist_ok=True)
    (folder / "tokenizer.json").write_text(json.dumps(text))
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    (folder / "config.json").write_text('{"model_type": "llama"}')
    return folder


@pytest.fixture(scope="module")
def directories(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("tokenizers")
    small = make_tokenizer(folder / "source", eos="</s>") / "tokenizer.json"
    found = {"small": directory_of(small, folder / "small")}
    if TOKENIZERS.is_dir():
        found |= {n: directory_of(TOKENIZERS / path, folder / n) for n, path in REAL.items()}
    return found


class Oracle:
    """What a server makes of a chat, from transformers alone."""

    def __init__(self, directory: Path, template: str, *, parts: bool) -> None:
        from transformers import PreTrainedTokenizerFast

        self._tokenizer = PreTrainedTokenizerFast.from_pretrained(directory)
        self._template, self._parts = template, parts

    def text(self, turns: list[tuple[str, str]], *, prompt: bool) -> str:
        said = [
            {"role": r, "content": [{"type": "text", "text": t}] if self._parts else t}
            for r, t in turns
        ]
        return str(
            self._tokenizer.apply_chat_template(
                said, chat_template=self._template, add_generation_prompt=prompt, tokenize=False
            )
        )

    def ids(self, text: str) -> tuple[int, ...]:
        return tuple(self._tokenizer(text, add_special_tokens=False)["input_ids"])

    def decode(self, ids: tuple[int, ...]) -> str:
        return str(self._tokenizer.decode(list(ids), clean_up_tokenization_spaces=False))


def require_exact(
    oracle: Oracle, turns: list[tuple[str, str]], rows: list[Row], stops: tuple[int, ...]
) -> None:
    """Every assistant turn is trained once, after its served prompt, and nothing else is."""
    n_trained = 0
    for place in (i for i, (role, _) in enumerate(turns) if role == "assistant"):
        served = oracle.text(turns[:place], prompt=True)
        prompt = oracle.ids(served)
        [row] = [
            each
            for each in rows
            if each.input_ids[: len(prompt)] == prompt and each.labels[len(prompt)] != IGNORED
        ]
        end = next(i for i in range(len(prompt), len(row.labels)) if row.input_ids[i] in stops) + 1
        completion = row.input_ids[len(prompt) : end]
        assert row.labels[len(prompt) : end] == completion
        assert row.labels[len(prompt) - 1] == IGNORED
        assert row.labels[end : end + 1] in ((), (IGNORED,))
        n_trained += len(completion)
        trained = oracle.text(turns[: place + 1], prompt=False)
        spelled = oracle.decode(completion)
        assert trained.startswith(served + spelled)
        if oracle.decode(prompt) == served:  # where the tokenizer can write the template's text
            assert oracle.decode(prompt + completion) == served + spelled
        assert not trained[len(served) + len(spelled) :].strip(" \n") or any(
            oracle.ids(trained[len(served) + len(spelled) :])[0] == each for each in stops
        )
        assert turns[place][1].strip() in spelled
    assert n_trained == sum(len(row.labels) - row.labels.count(IGNORED) for row in rows)


def cells(
    directories: dict[str, Path], template: str, *, parts: bool = False, **options: Any
) -> Iterator[tuple[str, str, str | None]]:
    """(tokenizer, answer, None or why it is refused) for each cell of a template."""
    for tokenizer, directory in directories.items():
        chat = ChatTokenizer(directory, template=template, **options)
        oracle = Oracle(directory, chat.template, parts=parts)
        for name, answer in ANSWERS.items():
            turns = [("user", "Hello"), ("assistant", answer)]
            turns += [("user", "there"), ("assistant", answer)]
            messages = [Message(role=role, content=text) for role, text in turns]  # type: ignore[arg-type]
            try:
                rows = encode(messages, chat, "a.jsonl:1")
            except DataError as error:
                assert str(error).startswith("a.jsonl:1 ")
                yield tokenizer, name, str(error)
            else:
                require_exact(oracle, turns, rows, chat.stop_ids)
                yield tokenizer, name, None
