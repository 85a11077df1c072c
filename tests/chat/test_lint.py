"""Every defect is found by what a template does, and a sound template has none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.chat.lint import Finding, lint
from harness.chat.template import ChatTokenizer
from tests.chat.templates import ALPACA, CHATML, LLAMA, POCKET, make_tokenizer
from tests.chat.test_kinds import THOUGHTS

CLOCK = "{%- set today = date_string if date_string is defined else strftime_now('%d %b') -%}"
NO_SYSTEM = (
    "{%- if messages[0].role == 'system' -%}{{- raise_exception('no system') -}}{%- endif -%}"
)
USER_FIRST = (
    "{%- if messages[0].role == 'assistant' -%}{{- raise_exception('who?') -}}{%- endif -%}"
)
OPENED = CHATML.replace(
    "assistant\n' -}}", "assistant\n' + ('' if enable_thinking is false else '<think>\n') -}}"
)
SWITCHED = THOUGHTS.replace("loop.last", "loop.last and enable_thinking is not false")


def found(
    tmp_path: Path, template: str, *, system: bool = False, thoughts: bool = False, **kwargs: Any
) -> list[Finding]:
    directory = make_tokenizer(tmp_path, eos="<|im_end|>")
    chat = ChatTokenizer(directory, template=template, kwargs=kwargs)
    return lint(chat, has_system=system, has_reasoning=thoughts)


@pytest.mark.parametrize(
    ("template", "options", "level", "what", "hint"),
    [
        (CLOCK + "{{- today -}}" + CHATML, {}, "error", "clock's time",
         "chat.kwargs: {date_string:"),
        (CHATML + "{{ strftime_now('%Y') if messages[0].role == 'system' }}", {}, "error",
         "clock's time", "save the template to a file"),
        (CHATML + "{{ strftime_now('%Y') if tools }}", {}, "error", "clock's time", "to a file"),
        (NO_SYSTEM + CHATML, {"system": True}, "error", "refuses system messages: no system",
         "first user message"),
        (NO_SYSTEM + CHATML, {}, "warning", "refuses system messages", "first user message"),
        (CHATML.replace("m.content", "(m.content if m.role != 'system' else '')"),
         {"system": True}, "error", "drops the text of system", "first user message"),
        (CHATML.replace("m.content", "(m.content if m.role != 'system' else '')"), {}, "warning",
         "drops the text of system", "first user message"),
        (ALPACA.replace("eos_token", "''"), {}, "error", "holds no stop token", "chat.stop"),
        (USER_FIRST + CHATML, {}, "warning", "the assistant begins: who?", "first user message"),
        (CHATML.replace("m.content", "m.content | trim"), {}, "warning", "strips spaces",
         "another template"),
        (CHATML, {"enable_thinkng": False}, "error", "chat.kwargs.enable_thinkng: the template",
         "accepted: none"),
        (OPENED, {"enable_thinkng": False}, "error", "never reads it",
         "did you mean 'enable_thinking'?"),
        (SWITCHED, {"thoughts": True}, "error", "enable_thinking, which is not pinned",
         "{enable_thinking: true}"),
        (OPENED, {}, "warning", "the prompt opens them", "{enable_thinking: false}"),
        ("{{ raise_exception('never') }}", {}, "error", "one user message: never",
         "another chat.template"),
    ],
    ids=range(15),
)  # fmt: skip
def test_a_defect_is_named_with_its_mending(
    tmp_path: Path, template: str, options: dict[str, Any], level: str, what: str, hint: str
) -> None:
    findings = found(tmp_path, template, **options)
    [finding] = [each for each in findings if what in each[1]]
    assert finding[0] == level
    assert hint in finding[2]


@pytest.mark.parametrize(
    ("template", "options"),
    [
        (CHATML, {"system": True, "thoughts": True}),
        (ALPACA.replace("eos_token", "'<|im_end|>'"), {"system": True}),
        (LLAMA.replace("| trim", "").replace("<|eot_id|>", "<|im_end|>"), {"system": True}),
        (CLOCK + "{{- today -}}" + CHATML, {"date_string": "26 Jul 2024"}),
        (SWITCHED, {"thoughts": True, "enable_thinking": True}),
        (SWITCHED, {}),
        (OPENED, {"enable_thinking": False}),
    ],
    ids=range(7),
)
def test_a_sound_template_has_no_findings(
    tmp_path: Path, template: str, options: dict[str, Any]
) -> None:
    assert found(tmp_path, template, **options) == []


def test_errors_come_first(tmp_path: Path) -> None:
    trims = CHATML.replace("m.content", "m.content | trim")
    levels = [each[0] for each in found(tmp_path, USER_FIRST + trims, wrong=1)]
    assert levels == ["error", "warning", "warning"]


def test_the_pocket_is_sound() -> None:
    assert lint(ChatTokenizer(POCKET), has_system=True, has_reasoning=True) == []
