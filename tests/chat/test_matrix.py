"""Encoder × templates × awkward answers × real tokenizers: exact, or refused with the reason.

The oracle is transformers' own `apply_chat_template` and tokenizer, given messages by hand; nothing
of the encoder takes part in it. Real templates and tokenizers lie in ../shared and in trl.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from harness.chat.builtin import BUILTIN
from harness.chat.encode import IGNORED, Row, encode
from harness.chat.template import ChatTokenizer
from harness.errors import DataError
from harness.types import Message
from tests.chat.templates import SHARED, SPECIAL, make_tokenizer, real_template

TOKENIZERS = SHARED.parent / "tokenizers"
REAL = {
    "gpt2": "gpt2/tokenizer.json",
    "bpe": "torchtune/tokenizer.json",
    "qwen-like": "torchtune/tiny_bpe_tokenizer.json",
    "gemma-like": "torchtune/tokenizer_gemma_cropped.json",
}
"""The first two have all 256 bytes; the third drops those it lacks, without a word; the last has a
few letters and bytes, and <unk>."""
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
    "long": "All work and no play. " * 400,
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

    def __init__(
        self, directory: Path, template: str, kwargs: dict[str, Any], *, parts: bool
    ) -> None:
        from transformers import PreTrainedTokenizerFast

        self._tokenizer = PreTrainedTokenizerFast.from_pretrained(directory)
        self._template, self._kwargs, self._parts = template, kwargs, parts

    def text(self, turns: list[tuple[str, str]], *, prompt: bool) -> str:
        said = [
            {"role": r, "content": [{"type": "text", "text": t}] if self._parts else t}
            for r, t in turns
        ]
        return str(
            self._tokenizer.apply_chat_template(
                said,
                chat_template=self._template,
                add_generation_prompt=prompt,
                tokenize=False,
                **self._kwargs,
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
        rest = trained[len(served) + len(spelled) :]
        assert set(oracle.ids(rest.strip())) <= set(stops)
        assert turns[place][1].strip() in spelled
    assert n_trained == sum(len(row.labels) - row.labels.count(IGNORED) for row in rows)


def cells(
    directories: dict[str, Path], template: str, *, parts: bool = False, **options: Any
) -> Iterator[tuple[str, str, str | None]]:
    """(tokenizer, answer, None or why it is refused) for each cell of a template."""
    for tokenizer, directory in directories.items():
        chat = ChatTokenizer(directory, template=template, **options)
        oracle = Oracle(directory, chat.template, chat.kwargs, parts=parts)
        for name, answer in ANSWERS.items():
            turns = [("user", "Hello"), ("assistant", answer)]
            turns += [("user", "there"), ("assistant", answer)]
            messages = [Message(role=role, content=text) for role, text in turns]  # type: ignore[arg-type]
            try:
                rows = encode(messages, chat, "a.jsonl:1")
            except DataError as error:
                yield tokenizer, name, str(error).removeprefix("a.jsonl:1 ")
            else:
                require_exact(oracle, turns, rows, chat.stop_ids)
                yield tokenizer, name, None


UNWRITABLE = {"qwen-like": {"emoji", "cjk", "code"}, "gemma-like": {*ANSWERS} - {"empty"}}
"""Answers with letters that a tokenizer does not have."""
SPECIAL_TEXT, LOST = (
    "spells the special token '<|im_end|>'",
    "the tokenizer cannot write the answer",
)
NO_STOP, NO_PREFIX = "without a stop token", "the served prompt is not how the trained chat"
ALL_REFUSED = {
    **dict.fromkeys(
        ("amberchat", "chatqa", "falcon-instruct", "solar-instruct", "glm4moe"), NO_STOP
    ),
    **dict.fromkeys(
        ("deepseek_r1_distill", "deepseekv3", "nemotron_3_5_lightning", "nemotron_3_nano",
         "nemotron_3_super", "nemotron_3_ultra"),
        NO_PREFIX,
    ),
}  # fmt: skip
"""Templates with which no answer can be trained as it is served (the last four: until
enable_thinking is pinned)."""
PARTS = (
    "diffusion_gemma gemma3 gemma4 gemma4_v2 gemma4_v3 gemma4_v4 gemma4_v5 glm4moe idefics3 "
    "lfm2_2_5 lfm2_2_5_v2 lfm2_2_5_vl llava_next muse_glimmer qwen2_5_vl qwen3_5_nothink "
    "qwen3_5_think qwen3_6 qwen3_8 qwen3_vl smolvlm"
).split()
"""Those that vLLM 0.32 gives contents as parts to, by its own word."""


def require_expected(
    directories: dict[str, Path], found: Iterator[tuple[str, str, str | None]], name: str = ""
) -> None:
    """Each cell is exact or refused, as it should be and for the reason that holds."""
    all_refused = ALL_REFUSED.get(name.removesuffix("_training"), "")
    n_cells = 0
    for tokenizer, answer, reason in found:
        n_cells += 1
        expected = all_refused
        if answer == "special token":
            expected = SPECIAL_TEXT
        elif not all_refused and (
            answer in UNWRITABLE.get(tokenizer, ())
            # An empty answer still has the tags of thoughts that this template writes.
            or (tokenizer == "gemma-like" and name in ("qwen3", "qwen3_training"))
        ):
            expected = LOST
        assert expected in (reason or "") if expected else reason is None, (
            f"{answer} on {tokenizer}: expected {expected or 'exact'}, is {reason or 'exact'}"
        )
    assert n_cells == len(directories) * len(ANSWERS)


@pytest.mark.parametrize("name", BUILTIN)
def test_builtin_templates(directories: dict[str, Path], name: str) -> None:
    require_expected(directories, cells(directories, name))


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared templates are not here")
@pytest.mark.parametrize("path", sorted(SHARED.rglob("*.jinja")), ids=lambda path: path.stem)
def test_shared_templates(directories: dict[str, Path], path: Path) -> None:
    found = cells(directories, real_template(path), stop=STOPS)
    require_expected(directories, found, path.stem)


TRL = sorted((Path(find_spec("trl").origin).parent / "chat_templates").glob("*.jinja"))  # type: ignore[arg-type, union-attr]


@pytest.mark.parametrize("path", TRL, ids=lambda path: path.stem)
def test_trl_s_templates(directories: dict[str, Path], path: Path) -> None:
    one = {"small": directories["small"]}
    parts = path.stem.removesuffix("_training") in PARTS
    found = cells(one, path.read_text(), parts=parts, stop=STOPS)
    require_expected(one, found, path.stem)


@pytest.mark.parametrize(
    "path", [each for each in TRL if each.stem.startswith("nemotron")], ids=lambda path: path.stem
)
def test_pinning_the_switch_makes_them_exact(directories: dict[str, Path], path: Path) -> None:
    one = {"small": directories["small"]}
    pinned = {"enable_thinking": False}
    require_expected(one, cells(one, path.read_text(), stop=STOPS, kwargs=pinned))
