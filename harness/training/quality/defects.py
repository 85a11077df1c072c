"""The table of lints: what each kind of defect looks like.

Each check is a pure function of an example and says what shows the defect, never what the answer
should be. The patterns were measured on real files; docs/data.md has the rates.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

from harness.training.quality.normalise import words
from harness.training.reading.chats import is_placeholder
from harness.training.reading.example import Example
from harness.types import Message

_SHORT = 80
"""Characters: no placeholder is longer, and this much of an end shows how a text ends."""


class Turn(NamedTuple):
    """One answer to learn, and what it answers."""

    prompt: str
    """The last user turn before it; empty where there is none."""
    answer: str
    rest: bool
    """The answer has thoughts or tool calls besides its text."""


Check = Callable[[Example, Sequence[Turn]], str | None]
"""Gives the text that shows the defect, or None."""


class Lint(NamedTuple):
    """One kind of defect."""

    id: str
    sentence: str
    severity: Literal["defect", "hint"]
    """A defect is wrong to train on; a hint is worth a look."""
    drops: bool
    """Whether an example with it is left out of a cleaned file."""
    check: Check


def turns_of(example: Example) -> list[Turn]:
    """Every answer that is given as a good one."""
    if example.desirable is False:
        return []
    prompt, turns = "", []
    for place, message in enumerate(example.messages):
        if message.role == "user":
            prompt = message.content
        elif message.role == "assistant" and place not in example.untrained:
            turns.append(Turn(prompt, message.content, _has_more(message)))
    return turns


def _has_more(message: Message) -> bool:
    return bool(message.tool_calls or (message.reasoning or "").strip())


def _each(check: Callable[[Turn], str | None]) -> Check:
    """A check of one turn, as one of an example: the first turn it fires on."""

    def first(_: Example, turns: Sequence[Turn]) -> str | None:
        return next((text for turn in turns if (text := check(turn)) is not None), None)

    return first


def _matched(pattern: re.Pattern[str], text: str) -> str | None:
    found = pattern.search(text)
    return text[found.start() :] if found else None


def _blank(turn: Turn) -> str | None:
    return turn.prompt if not turn.answer.strip() and not turn.rest else None


_NO = r"no[\s_-]?(?:in|out)?put(?: (?:is |was )?(?:needed|required|given|provided|necessary))?"
_WRAP = r"[\s<>\[\](){}\"'`\\*.]*"
_NO_ANSWER = re.compile(
    rf"{_WRAP}(?:{_NO}|no (?:answer|response|completion)|n/a|tbd|lorem ipsum.*|无输出|没有输出"
    rf"|(?:your|insert) (?:answer|response|output)(?: here)?|[.…_-]+|\?\?\?+){_WRAP}",
    re.I,
)


def _placeholder(turn: Turn) -> str | None:
    short = len(turn.answer) < _SHORT and turn.answer.strip()
    return turn.answer if short and _NO_ANSWER.fullmatch(turn.answer) else None


def _placeholder_input(turn: Turn) -> str | None:
    head, _, last = turn.prompt.rstrip().rpartition("\n")
    return last if head.strip() and is_placeholder(last) else None


_NEXT_TASK = re.compile(
    r"\n[\s#*]{0,20}(?:\d{1,3}\s*[.):]\s*)?(?:instruction|task)\s*:.{1,2000}?"
    r"\n[\s#*]{0,20}(?:\d{1,3}\s*[.):]\s*)?(?:input|output|response|answer)\s*:"
    r"|\n#{2,3}\s*(?:instruction|human|user)\s*:",
    re.I | re.S,
)


def _merged(turn: Turn) -> str | None:
    asked_for = _NEXT_TASK.search("\n" + turn.prompt)
    return None if asked_for else _matched(_NEXT_TASK, turn.answer)


_REPEAT = re.compile(r"\b(?:repeat|copy|verbatim)\b|重复|复述|照抄", re.I)


def _copied(turn: Turn) -> str | None:
    """The answer is the whole prompt, or all that follows its first blank line. Case and spaces
    count: to change only those is a task."""
    answer, prompt = turn.answer.strip(), turn.prompt.strip()
    if not prompt.endswith(answer) or len(words(answer)) < 3 or _REPEAT.search(prompt):
        return None
    given = re.split(r"\n\s*\n", prompt, maxsplit=1)[-1].strip()
    return answer if answer in (prompt, given) else None


_LABEL = re.compile(
    r"[\s#*]*+(?:(?:expected |sample |model )?output|input|response|completion|assistant|chatbot"
    r"|chatgpt|输出|回答)[\s*]*+[:：]",
    re.I,
)


def _label(turn: Turn) -> str | None:
    return turn.answer if _LABEL.match(turn.answer) else None


_CODE = re.compile(
    r"```|^[ \t]*(?:def |class |import |from \w+ import|#include|<\w+|\{|SELECT\b)", re.M
)
_LISTED = re.compile(r"\s*(?:[-*•#|>–]|\d+\s*[.):]|[A-Za-z][.)]\s)")
_TAGGED = re.compile(r"(?:[#@]\w+|(?:https?://|www\.)\S+)$")
_DANGLING = re.compile(
    r"(?:,|\b(?:the|a|an|and|or|but|of|to|for|with|by|from|as|at|that|which|because|is|are"
    r"|was|were|their|its|your|into|between|than|if|when|while))$",
    re.I,
)
_FRAGMENT = re.compile(
    r"[.!?][\"')\]]*\s+(?:The|An?|This|That|These|Those|It|He|She|They|We|You|If|When|While|For|In"
    r"|On|At|By|As|To|With|However|Additionally|Furthermore|Moreover)(?:\s+[\w'-]+){0,2}$"
)
_FENCE_OR_STOP = re.compile(r"(?:```|[.!?。！？])$")
_OPEN = re.compile(r"[^\W_]$")


def _cut(turn: Turn) -> str | None:
    """Code whose fence is never closed, and prose that ends in a word or comma nothing ends in, or
    in the first words of a sentence. Many people leave out the last full stop."""
    text = turn.answer.rstrip()
    if text.count("```") % 2 and not _FENCE_OR_STOP.search(text):
        return text[-_SHORT:]
    last = text.rpartition("\n")[2]
    if not _DANGLING.search(last) and not _FRAGMENT.search(last):
        return None
    beside = len(words(last)) < 8 or _LISTED.match(last) or _TAGGED.search(last)
    return None if beside or _CODE.search(text) else last[-_SHORT:]


def _open_end(turn: Turn) -> str | None:
    text = turn.answer.rstrip()
    return text[-_SHORT:] if _OPEN.search(text) and len(words(text)) >= 15 else None


_PLACEHOLDER = re.compile(r"(?<!\$)\{\{\s*[A-Za-z_][\w .-]*\}\}")


def _unresolved(example: Example, turns: Sequence[Turn]) -> str | None:
    for message in example.messages:
        found = _PLACEHOLDER.search(message.content)
        if found and "```" not in message.content:
            return message.content[max(0, found.start() - 20) :]
    return None


_URL = r"(?:https?://|www\.)\S+"
_THING = (
    r"(?:image|photo|photograph|picture|screenshot|video|audio|clip|recording|link|url|webpage"
    r"|web page|website|pdf|attachment)"
)
_UNSEEN = re.compile(
    rf"!\[[^\]]*\]\(|<img\b"
    rf"|\b(?:this|the (?:following|given|attached|provided|above|below)|attached) {_THING}\b"
    rf"|\b(?:in|from|at|using) the {_THING} (?:below|above|attached|provided)\b"
    rf"|[(（\[]?{_URL}\s*$"
    r"|(?:这张|下面的|以下|附上的)(?:照片|图片|图像|视频|链接)",
    re.I | re.M,
)
_MARKUP = re.compile(
    r"\b(?:html|css|regex|regular expression|javascript|python|java|code|snippet|tags?|markdown"
    r"|parse|shorten|format|hyperlink|domain)\b|代码|程序|脚本|编写",
    re.I,
)
_GIVEN = 80
"""Words from which a prompt brings its own text, and a URL only says where it is from."""


def _unseen(example: Example, turns: Sequence[Turn]) -> str | None:
    """A model with tools may open what is pointed at."""
    if example.tools or any(each.role == "tool" for each in example.messages):
        return None
    return _each(_points_outside)(example, turns)


def _points_outside(turn: Turn) -> str | None:
    if len(turn.prompt) > 20 * _GIVEN or len(words(turn.prompt)) > _GIVEN:
        return None
    about_markup = _MARKUP.search(re.sub(_URL, "", turn.prompt))
    return None if about_markup else _matched(_UNSEEN, turn.prompt)


_CANNOT = (
    r"(?:can(?:no|')t|can not|am (?:unable|not able) to|do(?:n't| not) (?:have|possess)|won't)"
)
_AN_AI = r"(?:an? )?(?:ai|artificial intelligence)(?: language)?(?: model| assistant)?"
_ACTS = (
    r"(?:fulfil|assist|help (?:you )?with|provide|comply|answer|access|browse|generate|create"
    r"|display|show|see|view|open|complete|engage|determine)"
)
_REFUSAL = re.compile(
    r"\s*(?:(?:i(?:'m| am) (?:very |so |really )?sorry|sorry|apologies|i apologi[sz]e"
    rf"|unfortunately)[,.;:!]? *(?:but +)?(?:as {_AN_AI}\b|i {_CANNOT}\b|i'm (?:unable|not able)\b)"
    rf"|as {_AN_AI},? *(?:i (?:{_CANNOT}|am not|lack)|i'm (?:unable|not|just)|my\b)"
    rf"|i(?:'m| am) (?:just |only )?{_AN_AI}\b.{{0,60}}\b(?:can't|cannot|unable|don't)"
    rf"|i {_CANNOT}(?: to)? {_ACTS}"
    r"|(?:很?抱歉|对不起)[，,]?.{0,12}(?:无法|不能|没有办法)"
    r"|作为(?:一个|一名)?(?:AI|人工智能|语言模型).{0,20}(?:无法|不能|没有|不会))",
    re.I,
)


def _refusal(turn: Turn) -> str | None:
    return turn.answer if _REFUSAL.match(turn.answer.replace("’", "'")) else None


def _no_preference(example: Example, turns: Sequence[Turn]) -> str | None:
    worse, better = example.rejected, example.messages[-1]
    if worse is None or worse.tool_calls != better.tool_calls:
        return None
    same = worse.content.strip() == better.content.strip()
    return better.content if same and worse.reasoning == better.reasoning else None


def _empty_turn(example: Example, turns: Sequence[Turn]) -> str | None:
    for place, each in enumerate(example.messages[:-1]):
        if not each.content.strip() and not _has_more(each) and each.role != "tool":
            return f"messages[{place}], role {each.role}"
    return None


def _systems(example: Example, turns: Sequence[Turn]) -> str | None:
    places = [place for place, each in enumerate(example.messages) if each.role == "system"]
    late = [place for place in places if place]
    return f"system text at messages[{late[0]}]" if late else None


LINTS: tuple[Lint, ...] = (
    Lint("blank", "the answer is blank", "defect", True, _each(_blank)),
    Lint(
        "placeholder",
        "the answer is a placeholder such as <nooutput>",
        "defect",
        True,
        _each(_placeholder),
    ),
    Lint(
        "placeholder-input",
        "the prompt ends in a placeholder such as <noinput>",
        "hint",
        False,
        _each(_placeholder_input),
    ),
    Lint(
        "merged",
        "the answer goes on with another task and its answer",
        "defect",
        True,
        _each(_merged),
    ),
    Lint("copied", "the answer repeats the input unchanged", "defect", True, _each(_copied)),
    Lint("label", "the answer begins with a label such as Output:", "defect", True, _each(_label)),
    Lint("cut", "the answer stops inside a sentence", "defect", True, _each(_cut)),
    Lint(
        "open-end",
        "a long answer ends without punctuation: a list or code, or cut off",
        "hint",
        False,
        _each(_open_end),
    ),
    Lint(
        "unresolved",
        "a {{name}} of a template was never filled in",
        "defect",
        True,
        _unresolved,
    ),
    Lint(
        "unseen",
        "the prompt points at an image, file or URL that the model does not see",
        "defect",
        True,
        _unseen,
    ),
    Lint("refusal", "the answer refuses", "hint", False, _each(_refusal)),
    Lint(
        "no-preference",
        "the better and the worse answer are the same",
        "defect",
        True,
        _no_preference,
    ),
    Lint("empty-turn", "a turn before the answer is blank", "defect", True, _empty_turn),
    Lint(
        "late-system",
        "a system message that is not the first message; many templates refuse or drop it",
        "hint",
        False,
        _systems,
    ),
)
