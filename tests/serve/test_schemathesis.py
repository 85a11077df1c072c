"""Requests made up from vLLM's own description of its routes, by Schemathesis: right ones, wrong
ones, and right ones with a few strange fields."""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, Phase, given, settings

from tests.serve.live import Live

pytestmark = pytest.mark.vllm

N_EXAMPLES = 8
PLAIN: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "hello"}]},
    "/v1/completions": {"prompt": "hello"},
    "/v1/responses": {"input": "hello"},
    "/tokenize": {"prompt": "hello"},
}
"""Requests that are answered."""

_DESCRIBE = """
import json, sys, warnings
warnings.simplefilter("ignore")
from vllm.entrypoints.launchers.app import build_app
from vllm.entrypoints.launchers.cli_args import make_arg_parser
from vllm.utils.argparse_utils import FlexibleArgumentParser
app = build_app(make_arg_parser(FlexibleArgumentParser()).parse_args([]), ("generate",))
open(sys.argv[1], "w").write(json.dumps(app.openapi()))
"""


@pytest.fixture(scope="module")
def description(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """vLLM's OpenAPI document, made without an engine: our servers do not show theirs."""
    from schemathesis import openapi

    path = tmp_path_factory.mktemp("openapi") / "openapi.json"
    environment = {**os.environ, "VLLM_PLUGINS": "", "VLLM_NO_USAGE_STATS": "1"}
    command = [sys.executable, "-P", "-c", _DESCRIBE, str(path)]
    subprocess.run(command, env=environment, check=True, capture_output=True)
    return openapi.from_dict(json.loads(path.read_text()))


def bounded(body: dict[str, Any], path: str, *, mixed: bool) -> dict[str, Any]:
    """For a model that exists, and short; `mixed`: a plain request with up to three fields of
    `body`."""
    if mixed:
        names = sorted(body)
        draw = random.Random(json.dumps(body, sort_keys=True))
        draw.shuffle(names)
        body = PLAIN[path] | {name: body[name] for name in names[: draw.randint(1, 3)]}
    body = {**body, "model": "pocket"}
    for field in ("max_tokens", "max_completion_tokens", "max_output_tokens"):
        if not isinstance(body.get(field), int) or body[field] > 4:
            body[field] = 4
    return body


def _is_vllms(live: Live, answer: httpx.Response) -> bool:
    """Whether vLLM answered so itself, or broke, which the log shows by the place."""
    log = (live.store.home.parent / "server.log").read_text()
    broken = re.search(rf"{answer.headers['x-request-id']}: \w+ at (\S+)", log)
    return "/vllm/" in broken[1] if broken else "x-harness-version" in answer.headers


@pytest.mark.parametrize(("wrong", "mixed"), [(False, False), (False, True), (True, True)])
@pytest.mark.parametrize("path", PLAIN)
def test_no_request_makes_the_middleware_fail(
    live: Live, description: Any, path: str, wrong: bool, mixed: bool
) -> None:
    from schemathesis import GenerationMode

    operation = description[path]["POST"]
    mode = GenerationMode.NEGATIVE if wrong else GenerationMode.POSITIVE

    with live.client() as client:

        @settings(
            max_examples=N_EXAMPLES,
            derandomize=True,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def ask(case: Any) -> None:
            body = bounded(case.body, path, mixed=mixed) if isinstance(case.body, dict) else None
            answer = client.post(path, json=body)
            if answer.status_code >= 500:
                assert _is_vllms(live, answer), (body, answer.text)
            if answer.status_code >= 400:
                assert {"message", "type", "code"} <= answer.json()["error"].keys()

        ask()
