"""Make the pocket tokenizer: byte-level BPE in which every word of the world is one token.

    python recipes/pocket/tokenizer.py OUT

Numbers are single tokens up to 99 and never merge with the space before them, so that the
digit of `score 4` is a token of its own.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from harness.pocket.documents import IM_END, IM_START, make_document
from harness.pocket.oracle import judge_prompt
from harness.pocket.world import TYPES, WORDS, make_task

VOCAB_SIZE = 1536
END_OF_TEXT = "<|endoftext|>"
CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' -}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}"
)


def _corpus(n_documents: int) -> list[str]:
    rng = random.Random(1)
    texts = [make_document(rng)[0] for _ in range(n_documents)]
    texts = [text.replace(IM_START, "").replace(IM_END, "") for text in texts]
    tasks = [make_task(rng, rng.choice(TYPES)) for _ in range(n_documents // 8)]
    texts += [task.instruction for task in tasks]
    texts += [judge_prompt(task.rubric, task.reference, task.reference) for task in tasks]
    # Both forms of every word and every number, often enough to be merged to one token.
    words = [word for kind in WORDS.values() for word in kind]
    forms = "\n".join(words) + " " + " ".join(words) + " " + " ".join(map(str, range(100)))
    return texts + [forms] * (n_documents // 50)


def make_tokenizer(n_documents: int = 20_000) -> PreTrainedTokenizerFast:
    """Train the tokenizer on its own world's text."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"\d{1,2}"), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE,
        special_tokens=[END_OF_TEXT, IM_START, IM_END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(_corpus(n_documents), trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        eos_token=IM_END,
        pad_token=END_OF_TEXT,
        model_max_length=1024,
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


if __name__ == "__main__":
    make_tokenizer().save_pretrained(Path(sys.argv[1]))
