"""Instruction types: what the data tags, else the first pattern of a table that fits.

Seven types, as the pocket world has them. Simple on purpose: whoever doubts a type reads the
table. docs/data.md says how often it is right. Knows nothing of files or tokens.
"""

from __future__ import annotations

import re
from typing import Final

from harness.training.reading.example import Example

KINDS: Final = ("qa", "summarise", "classify", "extract", "generate", "reason", "code")

_ANSWERED_IN_CODE = re.compile(
    r"```\w*\n|^[ \t]*(?:def \w+\(|class \w+|import \w+|from \w+ import|#include|public class"
    r"|SELECT\b.+\bFROM\b|<!DOCTYPE|<html)",
    re.M,
)
_PATTERNS: Final[tuple[tuple[str, re.Pattern[str]], ...]] = tuple(
    (kind, re.compile(pattern, re.I))
    for kind, pattern in (
        (
            "code",
            r"\b(?:python|javascript|typescript|java|c\+\+|c#|rust|golang|sql|html|css|bash|regex"
            r"|pseudo-?code|source code|need code"
            r"|(?:write|create|generate|implement|design|give me)\b.{0,30}"
            r"\b(?:function|program|script|query|class|code|algorithm))\b|代码|函数|编程|脚本",
        ),
        (
            "summarise",
            r"\b(?:summari[sz](?:e|es|ing|ation)|summary|tl;?dr|condense|the gist|in one sentence"
            r"|main (?:idea|point)s?|key points|in a nutshell|shorten)\b|总结|概括|摘要|概述",
        ),
        (
            "classify",
            r"\b(?:classif(?:y|ies|ication)|categori[sz]e|label (?:this|the|each)|sentiment"
            r"|which mood|(?:positive|negative|neutral)\b.{0,40}\bor (?:positive|negative|neutral)"
            r"|true or false|spam|(?:tell me|identify|determine) (?:which|whether|if)\b"
            r"|(?:is|are) (?:this|it|the|these|those|each)\b[^.?]{0,60}\bor\b"
            r"|which (?:of (?:these|the following)|ones?|are)\b)|分类|类别|归类|判断",
        ),
        (
            "extract",
            r"\b(?:extract|pull out|find (?:all|every|each)\b"
            r"|(?:list|name|give) .{0,40}\b(?:in|from) (?:the|this) (?:text|passage|paragraph)"
            r"|mentioned (?:here|in|above|below)|from the (?:passage|text|paragraph|following)"
            r"|(?:given|using) (?:this|the|a) (?:paragraph|text|passage))\b|提取|抽取|找出",
        ),
        (
            "reason",
            r"\b(?:how many \w+ (?:does|do|did|are left|will)|calculate|compute|solve|prove"
            r"|equation|step by step|show your (?:work|working)|who has (?:more|fewer|less)"
            r"|what is the (?:sum|average|area|probability|next number)|explain why|deduce|riddle"
            r"|logic puzzle)\b|计算|求解|推理|证明",
        ),
        (
            "generate",
            r"^\W*(?:please |can you |could you |help me )*(?:write|compose|create|generate|design"
            r"|draft|come up with|brainstorm|suggest|rewrite|paraphrase|rephrase|edit|translate"
            r"|convert|develop|make|imagine|invent|produce|construct|propose|tell me a"
            r"|use the words|give (?:me )?(?:an? |some |\d+|ideas|multiple)|think (?:of|up)"
            r"|change|transform|add|fill in|complete|plan|build|craft"
            r"|what are (?:some|\d+|two|three|four|five|ten))\b"
            r"|\b(?:write|compose|draft) (?:an?|the|some|one|two) \w+|\b(?:poem|haiku|slogan|essay"
            r"|short story|ideas for|ways (?:to|that|I))\b|写|创作|生成|翻译|改写|设计|创建",
        ),
    )
)
"""In this order; what fits none is a question to answer."""
_LOOKED_AT = 400
"""Characters of the prompt's start: the instruction stands there, before what it is about."""


def kind_of(example: Example) -> str:
    """The example's own type where the data tags it, else one of KINDS."""
    return example.type or kind_of_text(_first_prompt(example), example.messages[-1].content)


def kind_of_text(prompt: str, answer: str) -> str:
    """One of KINDS for a prompt and its answer."""
    asked = prompt[:_LOOKED_AT]
    for kind, pattern in _PATTERNS:
        if pattern.search(asked):
            return kind
    return "code" if _ANSWERED_IN_CODE.search(answer) else "qa"


def _first_prompt(example: Example) -> str:
    return next((each.content for each in example.messages if each.role == "user"), "")
