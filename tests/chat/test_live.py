"""vLLM itself renders the same prompts: its own rendering server, given every template.

That server is the part of vLLM that makes prompts, without the engine; a template comes with each
request, so one start is enough for all.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from harness.chat.builtin import BUILTIN
from harness.chat.encode import encode
from harness.chat.jinja import takes_parts
from harness.chat.template import ChatTokenizer
from harness.chat.wire import request_messages, request_tools
from harness.errors import DataError
from harness.types import Message, ToolCall
from tests.chat.templates import POCKET, SHARED, real_template
from tests.chat.test_kinds import ADD, THOUGHTS, TOOLS, think
from tests.chat.test_matrix import ANSWERS, PARTS, TRL, directory_of
from tests.serve.live import eventually

pytestmark = pytest.mark.vllm

START = """
import uvloop
from vllm.entrypoints.launchers.cli_args import make_arg_parser
from vllm.entrypoints.launchers.render.entry import run_launch_fastapi
from vllm.utils.argparse_utils import FlexibleArgumentParser
uvloop.run(run_launch_fastapi(make_arg_parser(FlexibleArgumentParser()).parse_args()))
"""
"""What `vllm launch render` does, whose command line wants a distribution named vllm."""

ASKED = Message(role="user", content="  Say hello.\n")
SYSTEM = Message(role="system", content="Be brief.")
CALLS = (
    ToolCall(name="add", arguments={"b": [1.5, None], "a": "café\n"}),
    ToolCall(name="add", arguments={}, id="abcdefghi"),
)
CALLED = Message(role="assistant", content="", tool_calls=CALLS)
CHATS: dict[str, tuple[Message, ...]] = {
    "system": (SYSTEM, ASKED),
    "thoughts": (ASKED, think("Why?\n", "Hello"), ASKED),
    "named": (Message(role="user", content="Hi", name="bob"), think("", "Hello"), ASKED),
    "calls": (
        ASKED,
        CALLED,
        Message(role="tool", content='{"sum": 3}', name="add"),
        Message(role="tool", content=" 4 ", tool_call_id="abcdefghi"),
    ),
    "calls and thoughts": (ASKED, CALLED.model_copy(update={"reasoning": "Add.", "content": "So"}),
                           Message(role="tool", content="3"), think("Three.", "It is 3."), ASKED),
}  # fmt: skip
for _name, _answer in ANSWERS.items():
    CHATS[_name] = (ASKED, Message(role="assistant", content=_answer), ASKED)
SOURCES = {"tools": TOOLS, "thoughts": THOUGHTS}
SOURCES |= {path.stem: path.read_text() for path in TRL if not path.stem.endswith("_training")}
if SHARED.is_dir():
    SOURCES |= {f"shared {path.stem}": real_template(path) for path in SHARED.rglob("*.jinja")}
CLOCK = ("gptoss", "muse_glimmer", "llama3_2")


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pocket's tokenizer with every special token that a template may want."""
    found = directory_of(POCKET / "tokenizer.json", tmp_path_factory.mktemp("base") / "base")
    config = json.loads((POCKET / "config.json").read_text())
    config |= {"vocab_size": 100_000, "max_position_embeddings": 100_000}
    (found / "config.json").write_text(json.dumps(config))
    return found


@pytest.fixture(scope="module")
def server(directory: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    argv = [sys.executable, "-c", START, "--model", str(directory), "--served-model-name", "base"]
    argv += ["--host", "127.0.0.1", "--port", port, "--trust-request-chat-template"]
    log = tmp_path_factory.mktemp("log") / "server.log"
    env = os.environ | {"VLLM_NO_USAGE_STATS": "1", "OMP_NUM_THREADS": "1"}
    url = f"http://127.0.0.1:{port}"
    with (
        log.open("wb") as out,
        httpx.Client(base_url=url, timeout=60, trust_env=False) as client,
        subprocess.Popen(argv, stdout=out, stderr=out, env=env, start_new_session=True) as process,
    ):
        try:
            assert eventually(lambda: process.poll() is not None or healthy(client), 300)
            assert process.poll() is None, log.read_text()[-2000:]
            yield client
        finally:
            os.killpg(process.pid, signal.SIGKILL)


def healthy(client: httpx.Client) -> bool:
    try:
        return client.get("/health").status_code == 200
    except httpx.TransportError:
        return False


def served(
    client: httpx.Client, template: str, chat: Sequence[Message], tools: Sequence[Any], **more: Any
) -> tuple[int, ...] | None:
    """The prompt ids that vLLM makes; None where it refuses."""
    body = {"model": "base", "messages": request_messages(chat), "chat_template": template} | more
    if tools:
        body |= {"tools": request_tools(tools), "tool_choice": "none"}
    answer = client.post("/v1/chat/completions/render", json=body)
    if answer.status_code == 400:
        return None
    assert answer.status_code == 200, answer.text
    return tuple(answer.json()["token_ids"])


def ours(chat: ChatTokenizer, messages: Sequence[Message], tools: Sequence[Any]) -> Any:
    try:
        return chat.prompt_ids(messages, tools)
    except DataError:
        return None


@pytest.mark.parametrize("name", [*BUILTIN, *SOURCES])
def test_the_same_prompt_ids(server: httpx.Client, directory: Path, name: str) -> None:
    chat = ChatTokenizer(directory, template=SOURCES.get(name, name))
    if name in CLOCK:
        chat = chat.with_kwargs(date_string="26 Jul 2024")
    n_refused = 0
    for about, messages in CHATS.items():
        tools = [] if about in ANSWERS else [ADD, {"name": "f", "strict": True, "extra": 1}]
        for given in (tools, []) if tools else ([],):
            expected = ours(chat, messages, given)
            found = served(server, chat.template, messages, given, chat_template_kwargs=chat.kwargs)
            assert found == expected, about
            n_refused += expected is None
    assert n_refused < len(CHATS)


def test_the_tokenize_route_agrees(server: httpx.Client, directory: Path) -> None:
    chat = ChatTokenizer(directory, template=TOOLS)
    body = {
        "model": "base",
        "messages": request_messages(CHATS["calls"]),
        "tools": request_tools([ADD]),
        "chat_template": TOOLS,
    }
    answer = server.post("/tokenize", json=body)
    assert tuple(answer.json()["tokens"]) == chat.prompt_ids(CHATS["calls"], [ADD])


@pytest.mark.parametrize("name", BUILTIN)
def test_rows_start_with_what_is_served(server: httpx.Client, directory: Path, name: str) -> None:
    chat = ChatTokenizer(directory, template=name)
    for about, answer in ANSWERS.items():
        if about != "special token":
            messages = (SYSTEM, ASKED, Message(role="assistant", content=answer))
            [row] = encode(messages, chat, "a:1")
            found = served(server, chat.template, row.messages, ())
            assert row.input_ids[: row.n_prompt] == found, about


DETECT = """
import json, sys
from vllm.renderers.hf import _detect_content_format
print(json.dumps([_detect_content_format(each, default="string") for each in json.load(sys.stdin)]))
"""
LOOPS = (
    "{% macro r(c, x) %}{% for i in c %}{% endfor %}{% endmacro %}"
    "{% for m in messages %}{{ r(x=1, c=m.content) }}{% endfor %}",
    "{% macro r(content) %}{% for i in content %}{% endfor %}{% endmacro %}",
    "{% set content = messages[0].content %}{% for i in content %}{% endfor %}",
    "{% set last = messages[1:] %}{% for m in last %}"
    "{% for p in m['content'] | list %}{% endfor %}{% endfor %}",
    "{% for m in messages %}{% for c in m.content.parts %}{% endfor %}{% endfor %}",
    "{% set ns = namespace() %}{% set ns.m = messages %}"
    "{% for m in messages %}{% for c in m.content %}{% endfor %}{% endfor %}",
    "{% for a, b in messages %}{% endfor %}"
    "{% for m in messages %}{% for c in m.content %}{% endfor %}{% endfor %}",
)


def test_contents_are_parts_where_vllm_says_so() -> None:
    sources = [*LOOPS, *(path.read_text() for path in TRL), *SOURCES.values()]
    argv = [sys.executable, "-W", "ignore", "-c", DETECT]
    done = subprocess.run(
        argv, input=json.dumps(sources), capture_output=True, text=True, check=True
    )
    expected = [each == "openai" for each in json.loads(done.stdout.splitlines()[-1])]
    assert expected[: len(LOOPS)] == [True, False, True, True, False, False, False]
    assert [takes_parts(each) for each in sources] == expected
    assert {
        path.stem.removesuffix("_training") for path in TRL if takes_parts(path.read_text())
    } == {*PARTS}
