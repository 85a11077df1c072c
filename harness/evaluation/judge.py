"""Generations in, verdicts out: an LLM scores each answer from 1 to 5.

The judge reasons first and ends with a line `score N`. On our own server the prompt travels as
token ids and the output is held to that form; elsewhere one chat request an answer is sent and
the form is asked for, and held to where the recipe says that the endpoint is a vLLM. Answers that
do not end with a score are unscored, with the reason.
Knows nothing of sides, slices or gates; identical answers to an item share one verdict.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Sequence
from typing import Any, NamedTuple

from harness.errors import EndpointError
from harness.evaluation.answers import Answer
from harness.evaluation.cache import Cache
from harness.evaluation.client import Client, all_of
from harness.evaluation.generate import Advance, Chat
from harness.jsonio import digest
from harness.recipe import Judge
from harness.types import Generation, Item, Message, Verdict


def _reasoning(word: str) -> str:
    """A regular expression for one line, possibly empty, that does not start with `word`."""
    pattern = f"(?:[^{word[-1]}\\n][^\\n]*)?"
    for letter in reversed(word[:-1]):
        pattern = f"(?:[^{letter}\\n][^\\n]*|{letter}{pattern})?"
    return pattern + "\\n"


FORM = f"(?:{_reasoning('score ')}){{0,12}}score [1-5]"
"""What a constrained judge may say: at most twelve lines of reasoning, then the score. No line of
reasoning may start like the score's, so that at the digit only 1 to 5 are possible and their
log-probabilities sum to one."""

ASK = """

Reason in a few lines. Then end with one line of exactly this form, where N is a whole number from
1 (worst) to 5 (best):
score N"""
"""Added to a prompt that never mentions a score, for a judge that is not ours."""

_SCORE = re.compile(r"[\s*_#`]*score[*_`]*[\s:][\s*_`]*([1-5])[\s*_`.]*", re.IGNORECASE | re.ASCII)
"""The whole last line, with nothing but Markdown around it. Anything else beside the digit, as in
`score -3`, `score > 2` or `score 4/5`, may mean another number."""
_CUT = {
    "length": "cut at judge.max_tokens",
    "content_filter": "cut by the endpoint's content filter",
}
_FAULTS = ("abort", "error")
"""Finish reasons of an answer that the server gave up; asking again may help."""
_PLACEHOLDER = re.compile(r"\{(prompt|reference|rubric|response)\}")
_BATCH = 32


class JudgeIdentity(NamedTuple):
    """Who judges: a change in any part makes every old verdict void."""

    model: str
    """Name in the request."""
    label: str
    """model@digest12, as the comparison names it."""
    prompt: str
    """The judge prompt with its placeholders, as it is sent."""


class Verdicts(NamedTuple):
    """Verdicts in the order of the generations."""

    records: list[Verdict]
    n_calls: int
    n_from_cache: int
    n_faults: int
    """Calls that brought no answer; asking again may help."""


class _Case(NamedTuple):
    text: str
    key: str


class _Opinion(NamedTuple):
    verdict: Verdict
    is_fault: bool = False


def identify(settings: Judge, model: str, prompt: str, served_by: str) -> JudgeIdentity:
    """`served_by` is the serving digest on our own server, the endpoint's address elsewhere.

    Another endpoint's judge knows the form only from its prompt, so a prompt that never mentions
    a score gets it added.
    """
    if settings.endpoint and not re.search(r"\bscore\b", prompt, re.IGNORECASE):
        prompt += ASK
    parts = {
        "model": model,
        "prompt": prompt,
        "served_by": served_by,
        "form": FORM,
        "read_by": _SCORE.pattern,
        "constrain": settings.constrain,
        "max_tokens": settings.max_tokens,
        "temperature": settings.temperature,
    }
    name = model.partition("@")[0]
    return JudgeIdentity(model, f"{name}@{digest(parts)[:12]}", prompt)


def judge_prompt(template: str, item: Item, response: str) -> str:
    """The judge prompt of one answer; what is filled in is never itself expanded."""
    values = {
        "prompt": "\n".join(message.content for message in item.messages),
        "reference": item.reference or "",
        "rubric": item.rubric or "",
        "response": response,
    }
    return _PLACEHOLDER.sub(lambda match: values[match[1]], template)


async def judge(
    items: Sequence[Item],
    generations: Sequence[Generation],
    *,
    identity: JudgeIdentity,
    settings: Judge,
    chat: Chat | None,
    max_context: int,
    client: Client,
    cache: Cache,
    advance: Advance,
) -> Verdicts:
    """Score every generation. `chat` renders token ids for our own server; None: chat requests.

    A failed generation is unscored without a call. An answer without a score is remembered as
    unscored; a call that failed is not remembered, so the next run asks again.
    """
    by_id = {item.id: item for item in items}
    cases = [_case(identity, by_id[each.item_id], each) for each in generations]
    done = {
        key: Verdict.model_validate(value)
        for key, value in cache.get(case.key for case in cases if case).items()
    }
    n_from_cache = sum(case is not None and case.key in done for case in cases)
    advance(n_from_cache + sum(case is None for case in cases))
    waiting = list({case.key: case for case in cases if case and case.key not in done}.values())
    copies = _count(cases)

    faults: list[str] = []

    async def one(batch: Sequence[_Case]) -> None:
        keys = [case.key for case in batch]
        try:
            opinions = await _score(batch, identity, settings, chat, max_context, client)
        except EndpointError as error:
            opinions = [_Opinion(_unscored(str(error)), is_fault=True) for _ in keys]
        found = dict(zip(keys, opinions, strict=True))
        cache.put({key: each.verdict.dump() for key, each in found.items() if not each.is_fault})
        faults.extend(key for key, each in found.items() if each.is_fault)
        done.update({key: each.verdict for key, each in found.items()})
        advance(sum(copies[key] for key in keys))

    size = _BATCH if chat else 1
    await all_of(one(waiting[start : start + size]) for start in range(0, len(waiting), size))
    records = [
        _for(each, done[case.key] if case else None)
        for each, case in zip(generations, cases, strict=True)
    ]
    return Verdicts(records, len(waiting), n_from_cache, len(faults))


def _case(identity: JudgeIdentity, item: Item, generation: Generation) -> _Case | None:
    if generation.state == "failed":
        return None
    response = unicodedata.normalize("NFC", generation.text).rstrip()
    text = judge_prompt(identity.prompt, item, response)
    return _Case(text, digest({"kind": "verdict", "judge": identity.label, "prompt": text}))


def _count(cases: Sequence[_Case | None]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for case in cases:
        if case:
            counts[case.key] = counts.get(case.key, 0) + 1
    return counts


async def _score(
    batch: Sequence[_Case],
    identity: JudgeIdentity,
    settings: Judge,
    chat: Chat | None,
    max_context: int,
    client: Client,
) -> list[_Opinion]:
    if chat is None:
        return [_opinion(await _ask_by_chat(batch[0], identity, settings, client))]
    return await _ask_by_ids(batch, identity, settings, chat, max_context, client)


async def _ask_by_chat(
    case: _Case, identity: JudgeIdentity, settings: Judge, client: Client
) -> Answer:
    held: dict[str, Any] = {
        "logprobs": True,
        "top_logprobs": len("12345"),
        "extra_body": {"structured_outputs": {"regex": FORM}},
    }
    return await client.chat(
        identity.model,
        [Message(role="user", content=case.text)],
        max_tokens=settings.max_tokens,
        temperature=settings.temperature,
        **(held if settings.constrain else {}),
    )


async def _ask_by_ids(
    batch: Sequence[_Case],
    identity: JudgeIdentity,
    settings: Judge,
    chat: Chat,
    max_context: int,
    client: Client,
) -> list[_Opinion]:
    room = max_context - settings.max_tokens
    prompts = [chat.prompt_ids([Message(role="user", content=case.text)]) for case in batch]
    fitting = [ids for ids in prompts if len(ids) <= room]
    answers = iter(
        await client.complete(
            identity.model,
            fitting,
            max_tokens=settings.max_tokens,
            temperature=settings.temperature,
            logprobs=len("12345"),
            extra_body={
                "stop_token_ids": sorted({*chat.stop_ids, *chat.special_ids}),
                "structured_outputs": {"regex": FORM},
            },
        )
        if fitting
        else []
    )
    return [
        _opinion(next(answers))
        if len(ids) <= room
        else _Opinion(_unscored(f"judge prompt of {len(ids)} tokens exceeds the judge's context"))
        for ids in prompts
    ]


def _opinion(answer: Answer) -> _Opinion:
    if answer.finish_reason in _FAULTS:
        reason = f"the endpoint ended the judge's answer: {answer.finish_reason}"
        return _Opinion(_unscored(reason), is_fault=True)
    tail = repr(answer.text[-200:])
    if answer.finish_reason in _CUT:
        cut = _CUT[answer.finish_reason]
        return _Opinion(_unscored(f"the judge's answer was {cut}: {tail}"))
    *_, last = answer.text.strip().splitlines() or [""]
    found = _SCORE.fullmatch(last)
    if not found:
        return _Opinion(_unscored(f"no line 'score N' at the end of the judge's answer: {tail}"))
    verdict = Verdict(
        item_id="",
        role="base",
        state="scored",
        score=int(found[1]),
        expected=_expected(answer.digits),
        reason=answer.text.strip(),
    )
    return _Opinion(verdict)


def _expected(digits: dict[int, float] | None) -> float | None:
    """Probability-weighted score over the digits 1–5, renormalised. None without all five, or
    where they are not most of one probability and so do not describe the score."""
    if digits is None or len(digits) < 5:
        return None
    weights = {digit: math.exp(logprob) for digit, logprob in digits.items()}
    total = sum(weights.values())
    if not 0.5 <= total <= 1.01:
        return None
    return round(sum(digit * weight for digit, weight in weights.items()) / total, 6)


def _unscored(reason: str) -> Verdict:
    return Verdict(item_id="", role="base", state="unscored", reason=reason)


def _for(generation: Generation, verdict: Verdict | None) -> Verdict:
    verdict = verdict or _unscored(f"generation failed: {generation.error}")
    side = {"item_id": generation.item_id, "role": generation.role, "sample": generation.sample}
    return verdict.model_copy(update=side)
