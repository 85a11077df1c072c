"""One idea of "the same text" for duplicates, overlap and held-out groups.

Case, Unicode form, white space, typographic quotes and invisible characters never matter.
Punctuation matters for whole examples ("2+2" is not "2-2") but not at the ends of a prompt, and
not between words. Knows nothing of files, tokens or models.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata

from harness.training.reading.example import Example
from harness.types import Message

_TYPED = str.maketrans(
    {
        **dict.fromkeys("‘’‚′", "'"),
        **dict.fromkeys("“”„″", '"'),
        **dict.fromkeys("‐‑–—−", "-"),
        **dict.fromkeys(
            chr(code)
            for first, last in (
                (0xAD, 0xAD), (0x34F, 0x34F), (0x61C, 0x61C), (0x115F, 0x1160), (0x17B4, 0x17B5),
                (0x180B, 0x180F), (0x200B, 0x200F), (0x202A, 0x202E), (0x2060, 0x206F),
                (0x3164, 0x3164), (0xFE00, 0xFE0F), (0xFEFF, 0xFEFF), (0xFFA0, 0xFFA0),
                (0xFFF0, 0xFFF8), (0x1BCA0, 0x1BCA3), (0x1D173, 0x1D17A), (0xE0000, 0xE0FFF),
            )
            for code in range(first, last + 1)
        ),
    }
)  # fmt: skip
"""Characters that word processors put in place of typed ones; the invisible ones go: Unicode's
Default_Ignorable_Code_Point (DerivedCoreProperties.txt)."""
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"  # Thai, Lao, Burmese, Khmer
    "\u3040-\u30ff\u31f0-\u31ff"  # kana
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f"  # Han
)
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+")
_ENDS = " .,;:!?'\"*_`-…。，、；：！？「」『』（）()"


def normalise(text: str) -> str:
    """NFKC, case folded, typographic quotes and dashes made plain, white space collapsed."""
    if text.isascii():
        return " ".join(text.lower().split())
    plain = unicodedata.normalize("NFKC", text.translate(_TYPED)).casefold()
    return " ".join(plain.split())


def words(text: str) -> list[str]:
    """Words of the normalised text, without punctuation; a character of a script written without
    spaces (Han, kana, Thai …) is a word."""
    return _WORD.findall(normalise(text))


def same_prompt(text: str) -> str:
    """What is equal for two prompts that ask the same: normalised, without outer punctuation."""
    normal = normalise(text)
    return normal.strip(_ENDS) or normal


def prompt_of(example: Example) -> str:
    """What a held-out prompt is compared with: what the users say before the last answer.

    The system's text is left out, since it is often the same everywhere; it stands in only where
    no user says anything.
    """
    before = example.messages[:-1]
    asked = [each.content for each in before if each.role == "user"]
    return "\n\n".join(asked or [each.content for each in before])


def fingerprint(example: Example) -> bytes:
    """16 bytes that are equal for examples with the same normalised text: every turn, thought,
    call and tool, the worse answer and the opinion."""
    rejected = None if example.rejected is None else _turn(example.rejected)
    value = [[_turn(each) for each in example.messages], rejected, example.desirable, example.tools]
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def prompt_group(example: Example) -> bytes:
    """8 bytes that are equal for examples with the same prompt; a split keeps a group whole."""
    return hashlib.blake2b(same_prompt(prompt_of(example)).encode(), digest_size=8).digest()


def _turn(message: Message) -> list[object]:
    calls = [[each.name, each.arguments] for each in message.tool_calls]
    return [message.role, normalise(message.content), normalise(message.reasoning or ""), calls]
