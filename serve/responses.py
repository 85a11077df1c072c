"""A version's own chat template for /v1/responses, whose requests have no field for one in vLLM.

vLLM 0.32 renders them with `ResponsesRequest.build_chat_params(default_template, …)`. Fields it
does not know stay on a request, so the template travels in the body as it does for a chat, and
here takes the default's place. tests/serve/test_responses.py is the contract.
"""

from __future__ import annotations

import inspect
from typing import Any

from harness.errors import EnvironmentFault


def take_templates() -> None:
    """Let requests of /v1/responses bring a `chat_template`; again changes nothing. Clients may
    not send one (serve.request). Raises EnvironmentFault on a vLLM that renders otherwise."""
    from vllm.entrypoints.openai.responses.protocol import ResponsesRequest as Request

    original: Any = getattr(Request, "build_chat_params", None)
    if getattr(original, "takes_templates", False):
        return
    parameters = list(inspect.signature(original).parameters) if callable(original) else []
    extra = Request.model_config.get("extra")
    if parameters[:2] != ["self", "default_template"] or extra != "allow":
        raise EnvironmentFault(
            "this vLLM cannot give a version its own chat template in /v1/responses: "
            f"ResponsesRequest.build_chat_params takes {parameters}, extra fields: {extra}",
            hint="install the vLLM that pyproject.toml names: make setup",
        )

    def build_chat_params(self: Any, default_template: str | None, *rest: Any) -> Any:
        own = getattr(self, "chat_template", None)
        return original(self, own or default_template, *rest)

    build_chat_params.takes_templates = True  # type: ignore[attr-defined]
    Request.build_chat_params = build_chat_params
