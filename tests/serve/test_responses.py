"""The place where vLLM can be given a template for /v1/responses is what it was;
tests/serve/test_templates.py has the whole way."""

from __future__ import annotations

import pytest

from harness.errors import EnvironmentFault

pytestmark = [pytest.mark.vllm, pytest.mark.filterwarnings("ignore")]


def test_a_request_brings_its_template_and_another_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from vllm.entrypoints.openai.responses.protocol import ResponsesRequest as Request

    from serve.responses import take_templates

    monkeypatch.setattr(Request, "build_chat_params", Request.build_chat_params)
    take_templates()
    first = Request.build_chat_params
    take_templates()
    assert Request.build_chat_params is first
    own = Request.model_validate({"input": "x", "chat_template": "{{ own }}"})
    assert own.build_chat_params("{{ default }}", "auto").chat_template == "{{ own }}"
    plain = Request.model_validate({"input": "x"})
    assert plain.build_chat_params("{{ default }}", "auto").chat_template == "{{ default }}"


def test_another_vllm_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from vllm.entrypoints.openai.responses.protocol import ResponsesRequest as Request

    from serve.responses import take_templates

    monkeypatch.setattr(Request, "build_chat_params", lambda self, params: params)
    with pytest.raises(EnvironmentFault, match=r"takes \['self', 'params'\]"):
        take_templates()
    monkeypatch.delattr(Request, "build_chat_params")
    with pytest.raises(EnvironmentFault, match=r"takes \[\]"):
        take_templates()
