"""What a server is started with: for a store's users, or for one round."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from harness import server
from harness.errors import HarnessError
from harness.recipe import Base, Chat, Compute, Serve
from harness.server import ServerSpec
from harness.serving import DEFAULT_PORT, Choice, doing, round_spec, serve_store
from harness.store import Store


def choice(root: Path, port: int | None = None, **section: Any) -> Choice:
    compute = Compute(port=port) if port else Compute()
    return Choice(Base(model="pocket"), Chat(), compute, Serve(**section), root)


@pytest.fixture
def specs(monkeypatch: pytest.MonkeyPatch) -> list[ServerSpec]:
    """What would have been started."""
    found: list[ServerSpec] = []

    def note(spec: ServerSpec, **_: Any) -> int:
        found.append(spec)
        return 0

    monkeypatch.setattr(server, "serve_forever", note)
    return found


def serve(of: Choice, home: Path, *variables: str) -> int:
    return serve_store(
        of, Store(home), variables, log_path=None, on_ready=print, on_wait=lambda _: None
    )


@pytest.mark.parametrize(
    ("section", "port", "url"),
    [
        ({}, None, f"http://127.0.0.1:{DEFAULT_PORT}"),
        ({}, 9000, "http://127.0.0.1:9000"),
        ({"host": "::1"}, 9000, "http://[::1]:9000"),
        ({"host": "0.0.0.0"}, 9000, f"http://{socket.gethostname()}:9000"),
        ({"host": "10.0.0.7"}, 9000, "http://10.0.0.7:9000"),
        ({"host": "0.0.0.0", "url": "http://gpu-1:80"}, 9000, "http://gpu-1:80"),
    ],
)
def test_a_server_says_where_others_reach_it(
    tmp_path: Path, specs: list[ServerSpec], section: dict[str, Any], port: int | None, url: str
) -> None:
    (tmp_path / "keys.toml").touch()
    assert serve(choice(tmp_path, port, keys="keys.toml", **section), tmp_path / "home") == 0
    assert [spec.url for spec in specs] == [url]
    assert specs[0].keys == tmp_path / "keys.toml"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.7", "example.org"])
def test_an_open_address_needs_keys(tmp_path: Path, specs: list[ServerSpec], host: str) -> None:
    of = choice(tmp_path, host=host)
    with pytest.raises(HarnessError, match="others could reach the server, and it has no keys"):
        serve(of, tmp_path / "home")
    assert specs == []
    assert serve(of, tmp_path / "home", "HARNESS_KEYS") == 0


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"url": "gpu-1:8000"}, "serve.url = 'gpu-1:8000': not a URL"),
        ({"url": "ftp://gpu-1"}, "serve.url = 'ftp://gpu-1': not a URL"),
        ({"keys": "none.toml"}, "serve.keys = .*/none.toml': no such file"),
    ],
)
def test_what_would_never_work_is_refused_before_the_start(
    tmp_path: Path, specs: list[ServerSpec], section: dict[str, Any], message: str
) -> None:
    with pytest.raises(HarnessError, match=message):
        serve(choice(tmp_path, **section), tmp_path / "home")
    assert specs == []


def test_a_round_s_own_server_is_no_replica(tmp_path: Path) -> None:
    spec = round_spec(choice(tmp_path, url="http://gpu-1:80"), Store(tmp_path / "home"), ())
    assert (spec.url, spec.host, spec.keys) == (None, "127.0.0.1", None)


LOG = """\
(APIServer pid=1) INFO 11-21 06:48:18 [model.py:733] Resolved architecture: Qwen3ForCausalLM
(EngineCore pid=2) INFO 11-21 06:48:19 [loader.py:82] Loading weights took 0.01 seconds
(EngineCore pid=2) WARNING 11-21 06:48:20 [vllm.py:1727] Inductor was disabled
(APIServer pid=1) INFO 11-21 06:48:18 [api_utils.py:347]  ▄▄ ▄█ █
Loading safetensors checkpoint shards: 100% Completed
(EngineCore pid=2) INFO 11-21 06:48:2"""


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (LOG, "Loading weights took 0.01 seconds"),
        ("INFO 11-21 06:48:18 [a.py:1] Loading \x1b[31mred", "Loading ⟨U+001B⟩[31mred"),
        ("", "starting vLLM"),
        ("x" * 9000 + "\nINFO 11-21 06:48:18 [a.py:1] late", "late"),
    ],
)
def test_what_a_starting_server_does_is_in_its_log(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "server.log"
    path.write_text(text)
    assert doing(path) == told


def test_a_server_without_a_log_only_starts(tmp_path: Path) -> None:
    assert doing(tmp_path / "none.log") == doing(None) == "starting vLLM"
