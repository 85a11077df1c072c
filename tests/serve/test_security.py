"""What a hostile client can send, over real sockets: bytes, routes, headers, keys."""

from __future__ import annotations

import asyncio
import gc
import re
import tracemalloc
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from harness.server import ServerSpec, running
from harness.store import Store
from serve.asgi import MAX_BODY_BYTES
from serve.keys import ADMIN_KEYS, USER_KEYS
from serve.models import MAX_COMPARED
from tests.serve.adapters import KWARGS, publish_adapter
from tests.serve.fakes import ask, chat, published, started
from tests.serve.live import MAX_CONTEXT, Live
from tests.serve.room import CHAT, Room
from tests.serve.sockets import Heard, connected, listening, request, tell

BODY = chat("pocket")
OPEN = {
    "GET /health",
    "GET /v1/models",
    "POST /v1/chat/completions",
    "POST /v1/completions",
    "POST /v1/responses",
    "POST /tokenize",
}
"""Of vLLM's own routes, those that are answered."""


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Room:
    return Room(tmp_path / "home", monkeypatch)


def over_socket(room: Room, scenario: Callable[[int], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        async with listening(room.middleware) as port:
            return await scenario(port)

    return asyncio.run(run())


def told(room: Room, *pieces: bytes) -> Heard:
    heard = over_socket(room, lambda port: tell(port, *pieces))
    assert isinstance(heard, Heard)
    return heard


def test_a_good_request_passes(room: Room) -> None:
    heard = told(room, request("POST", CHAT, BODY))
    assert heard.status == 200
    assert heard.headers["x-harness-version"] == "pocket"


@pytest.mark.parametrize(
    "target",
    [
        "//v1/chat/completions",
        "/v1//chat/completions",
        "/v1/chat/completions/",
        "/v1/chat/completions/.",
        "/./v1/chat/completions",
        "/x/../v1/chat/completions",
        "/v1/chat/%2e/completions",
        "/V1/chat/completions",
        "/v1/chat/completions%00",
        "/v1/chat/completions%20",
        "/v1/chat/completions%0d%0ax:y",
        "/v1/chat/completions;x=y",
        "/v1/chat/completions%3Fx",
        "/prefix/v1/chat/completions",
        "/",
        "/%",
        "/%ff",
        "/" + "x" * 20_000,
    ],
)
def test_odd_paths_are_not_found(room: Room, target: str) -> None:
    heard = told(room, request("POST", target, BODY))
    assert heard.status == 404
    assert b"NotFoundError" in heard.rest
    assert len(heard.rest) < 1000
    assert room.beneath.scopes == []


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "PUT", "PATCH", "DELETE", "TRACE", "QUERY"])
@pytest.mark.parametrize("target", [CHAT, "/v1/models", "/health", "/metrics", "/admin/warm"])
def test_other_methods_are_not_found(room: Room, method: str, target: str) -> None:
    assert told(room, request(method, target, kind="")).status == 404
    assert room.beneath.scopes == []


def test_the_query_and_a_mounted_path_do_not_reach_vllm(room: Room) -> None:
    for target in (f"{CHAT}?model=other&x=%00", "/v1/ch%61t/completions"):
        assert told(room, request("POST", target, BODY)).status == 200
        scope = room.beneath.scopes[-1]
        assert (scope["path"], scope["raw_path"]) == (CHAT, CHAT.encode())
        assert (scope["query_string"], scope["root_path"]) == (b"", "")


def test_of_the_headers_only_harmless_ones_reach_vllm(room: Room) -> None:
    hostile = [
        "authorization: Bearer x",
        "cookie: a=b",
        "endpoint-load-metrics-format: text",
        "forwarded: for=1.2.3.4",
        "x-amzn-sagemaker-adapter-alias: other",
        "X-Amzn-SageMaker-Adapter-Identifier: other",
        "X-Amzn-SageMaker-Session-Id: NEW_SESSION",
        "x-api-key: x",
        "x-correlation-id: x",
        "X-Data-Parallel-Rank: 7",
        "x-forwarded-for: 1.2.3.4",
        "x-forwarded-prefix: /x",
        "x-http-method-override: DELETE",
        "x-original-url: /metrics",
        "x-request-id: mine",
        "X-Session-ID: somebody-elses",
        "x-vllm-priority: -100",
        "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "tracestate: a=b",
    ]
    assert told(room, request("POST", CHAT, BODY, *hostile)).status == 200
    seen = room.beneath.scopes[-1]["headers"]
    assert sorted(name for name, _ in seen) == [
        b"content-length",
        b"content-type",
        b"traceparent",
        b"tracestate",
    ]
    assert told(room, request("GET", "/health", b"", *hostile, kind="")).status == 200
    names = {name for name, _ in room.beneath.scopes[-1]["headers"]}
    assert names == {b"traceparent", b"tracestate"}


def test_of_vllms_answer_only_the_bodys_own_headers_come_back(room: Room) -> None:
    room.beneath.headers = [
        (b"content-type", b"application/json"),
        (b"access-control-allow-origin", b"*"),
        (b"set-cookie", b"a=b"),
        (b"x-harness-version", b"wrong"),
        (b"x-request-id", b"wrong"),
    ]
    heard = told(room, request("POST", CHAT, BODY, "x-request-id: mine-1"))
    assert heard.headers.keys() <= {
        "connection",
        "content-type",
        "date",
        "server",
        "transfer-encoding",
        "x-harness-version",
        "x-request-id",
    }
    assert heard.headers["x-harness-version"] == "pocket"
    assert heard.headers["x-request-id"] == "mine-1"


@pytest.mark.parametrize("given", ["a b", "x" * 65, "", "a\tb", "é", "a,b", "a;b=c", '"'])
def test_a_request_id_that_is_none_is_replaced(room: Room, given: str) -> None:
    heard = told(room, request("POST", CHAT, BODY, f"x-request-id: {given}"))
    assert re.fullmatch(r"[0-9a-f]{32}", heard.headers["x-request-id"])


def test_no_header_comes_from_names(room: Room) -> None:
    version = published(room.store, "bot")
    for alias in ("a\r\nx-evil: 1", "a\nx-evil: 1"):
        table = {"schema": 2, "aliases": {alias: version, "prod": f"{version}\r\nx-evil: 1"}}
        room.write_aliases(table)
        assert told(room, request("POST", CHAT, chat(alias))).headers.keys().isdisjoint({"x-evil"})
        heard = told(room, request("POST", CHAT, chat("prod")))
        assert heard.status == 404
        assert "x-evil" not in heard.headers


@pytest.mark.parametrize(
    ("kind", "headers"),
    [
        ("", []),
        ("text/plain", []),
        ("application/x-www-form-urlencoded", []),
        ("multipart/form-data; boundary=x", []),
        ("application/jsonx", []),
        ("text/plain", ["content-type: text/plain"]),
        ("application/json", ["content-encoding: gzip"]),
        ("application/json", ["content-encoding: br"]),
    ],
)
def test_other_kinds_of_bodies_are_refused(room: Room, kind: str, headers: list[str]) -> None:
    heard = told(room, request("POST", CHAT, BODY, *headers, kind=kind))
    assert heard.status == 415
    assert room.beneath.scopes == []


def test_json_may_name_its_encoding(room: Room) -> None:
    kind = "Application/JSON; charset=utf-8"
    assert told(room, request("POST", CHAT, BODY, kind=kind)).status == 200
    assert (b"content-type", b"application/json") in room.beneath.scopes[-1]["headers"]


def test_a_body_too_large_is_refused_whether_claimed_or_sent_in_chunks(room: Room) -> None:
    start = b"POST %s HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n" % CHAT.encode()
    claimed = told(room, start + b"content-length: %d\r\n\r\n{" % (MAX_BODY_BYTES + 1))
    chunk = b"100000\r\n" + b" " * 0x100000 + b"\r\n"
    sent = told(room, start + b"transfer-encoding: chunked\r\n\r\n", *[chunk] * 8)
    for heard in (claimed, sent):
        assert heard.status == 413
        assert heard.headers["connection"] == "close"
    assert room.beneath.scopes == []


@pytest.mark.parametrize(
    "framing",
    [
        b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"transfer-encoding: chunked\r\ncontent-length: 2\r\n\r\n0\r\n\r\n",
        b"content-length: 2\r\ncontent-length: 3\r\n\r\n{} ",
        b"content-length: -1\r\n\r\n{}",
        b"content-length: 2x\r\n\r\n{}",
        b"content-length: 99999999999999999999\r\n\r\n{}",
        b"transfer-encoding: identity, chunked, identity\r\n\r\n0\r\n\r\n",
        b"transfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
        b"transfer-encoding: chunked\r\n\r\nffffffffffffffffff\r\n{}",
        b"x: y\r\n z\r\ncontent-length : 2\r\n\r\n{}",
        b"x\0y: z\r\n\r\n",
        b"x: a\0b\r\n\r\n",
    ],
)
def test_unclear_framing_is_refused_and_nothing_is_smuggled(room: Room, framing: bytes) -> None:
    start = b"POST %s HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n" % CHAT.encode()
    smuggled = request("POST", CHAT, BODY)
    heard = told(room, start + framing + smuggled)
    assert heard.status in (400, 413)
    assert heard.rest.count(b"HTTP/1.1 ") == 0
    assert room.beneath.scopes == []


def test_requests_behind_one_another_are_each_asked_for_their_key(room: Room) -> None:
    room.lock("correct-horse-battery")
    one = request("POST", CHAT, BODY, "authorization: Bearer correct-horse-battery")
    one = one.replace(b"connection: close\r\n", b"")
    heard = told(room, one + request("POST", CHAT, BODY))
    assert heard.status == 200
    assert b"HTTP/1.1 401 " in heard.rest
    assert len(room.beneath.scopes) == 1


def test_without_a_key_no_body_is_invited(room: Room) -> None:
    room.lock("correct-horse-battery")
    waiting = request("POST", CHAT, b"", "expect: 100-continue", "content-length: 4000000")
    assert told(room, waiting).status == 401
    allowed = "authorization: Bearer correct-horse-battery"
    assert told(room, waiting.replace(b"host", allowed.encode() + b"\r\nhost")).status == 100


def test_a_slow_body_is_given_up(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serve.asgi.BODY_S", 0.1)
    heard = told(room, request("POST", CHAT, b"", "content-length: 10") + b"{")
    assert heard.status == 408
    assert heard.headers["connection"] == "close"
    assert room.beneath.scopes == []


def test_a_client_that_leaves_in_the_middle_harms_nobody(room: Room) -> None:
    async def scenario(port: int) -> Heard:
        for _ in range(20):
            async with connected(port) as (_, writer):
                writer.write(request("POST", CHAT, b"", "content-length: 100") + b"{")
                await writer.drain()
        return await tell(port, request("POST", CHAT, BODY))

    assert over_socket(room, scenario).status == 200
    assert len(room.beneath.scopes) == 1


def test_idle_connections_keep_nobody_out(room: Room) -> None:
    async def scenario(port: int) -> int:
        idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(200)]
        for _, writer in idle[::2]:
            writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nhost:")
        heard = await tell(port, request("POST", CHAT, BODY))
        for _, writer in idle:
            writer.close()
        return heard.status

    assert over_socket(room, scenario) == 200


def test_websockets_are_refused(room: Room) -> None:
    upgrade = [
        "upgrade: websocket",
        "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
        "sec-websocket-version: 13",
    ]
    for target in ("/v1/realtime", CHAT, "/health"):
        asked = request("GET", target, b"", *upgrade, kind="")
        heard = told(room, asked.replace(b"connection: close", b"connection: upgrade"))
        assert heard.status == 403
    assert room.beneath.scopes == []


def test_web_pages_are_answered_only_with_a_key(room: Room) -> None:
    page = "origin: https://example.org"
    assert told(room, request("POST", CHAT, BODY, page)).status == 403
    room.lock("correct-horse-battery")
    key = "authorization: Bearer correct-horse-battery"
    assert told(room, request("POST", CHAT, BODY, page, key)).status == 200
    assert told(room, request("OPTIONS", CHAT, b"", page, key, kind="")).status == 404


def test_any_number_of_unknown_names_leaves_no_trace(room: Room) -> None:
    version = published(room.store, "bot")

    async def ask_for(names: range) -> None:
        for number in names:
            name = f"{number}" if number % 2 else f"bot@{number:012x}"
            assert (await ask(room.middleware, "POST", CHAT, chat(name))).status == 404
            path = f"/v1/models/{name}"
            assert (await ask(room.middleware, "GET", path)).status == 404
            await asyncio.sleep(0)  # the loop drops the timers that are no longer needed

    async def scenario() -> int:
        async with started(room.middleware):
            await ask(room.middleware, "POST", CHAT, chat(version))
            await ask_for(range(300))
            tracemalloc.start()
            await ask_for(range(300, 400))
            gc.collect()
            before = tracemalloc.get_traced_memory()[0]
            await ask_for(range(400, 1400))
            gc.collect()
            after = tracemalloc.get_traced_memory()[0]
            tracemalloc.stop()
            return after - before

    assert asyncio.run(scenario()) < 10_000  # bytes; one pointer each would be more


@pytest.mark.parametrize(
    "name",
    [
        "../pocket",
        "/etc/passwd",
        "..%2f..%2fetc%2fpasswd",
        "%2e%2e%2fx@000000000000",
        "x%00",
        "x%0d%0ay:z",
        "é",
        "%ff",
        "pocket/",
        "x" * 10_000,
        "bot@" + "0" * 12,
    ],
)
def test_strange_models_are_not_found(room: Room, name: str) -> None:
    target = f"/v1/models/{name}"
    heard = told(room, request("GET", target, kind="").replace("é".encode("latin-1"), b"%C3%A9"))
    assert heard.status == 404
    assert len(heard.rest) < 1000


def test_a_strange_name_costs_no_look_at_the_disk(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[str] = []

    def has(store: Store, name: str) -> bool:
        looked.append(name)
        return False

    monkeypatch.setattr(Store, "has", has)
    monkeypatch.setattr(Store, "versions", lambda store: pytest.fail("looked through the store"))

    async def scenario() -> None:
        async with started(room.middleware):
            for name in (
                "../../x@" + "0" * 12,
                "/x",
                "x\0",
                "x\n",
                "é",
                "x" * 10_000,
                "A@" + "0" * 12,
            ):
                assert (await ask(room.middleware, "POST", CHAT, chat(name))).status == 404
                assert (await ask(room.middleware, "GET", f"/v1/models/{name}")).status == 404
            assert looked == []
            assert (await ask(room.middleware, "GET", "/v1/models/x@000000000000")).status == 404
            assert looked == ["x@000000000000"]

    asyncio.run(scenario())


def test_an_unknown_name_is_compared_with_few_however_many_there_are(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = published(room.store, "bot")
    room.write_aliases({"schema": 2, "aliases": {f"alias-{n:04}": version for n in range(1000)}})
    compared: list[int] = []

    def close(name: str, names: list[str], n: int) -> list[str]:
        compared.append(len(names))
        return []

    monkeypatch.setattr("serve.models.difflib.get_close_matches", close)
    assert asyncio.run(room.post(chat("alias-abcd"))).status == 404
    assert compared == [MAX_COMPARED]


@pytest.fixture
def client(live: Live) -> Iterator[httpx.Client]:
    with live.client() as client:
        yield client


def say(client: httpx.Client, model: str, **headers: str) -> httpx.Response:
    body = {"model": model, "prompt": "What is a cat?", "max_tokens": 8, "temperature": 0}
    return client.post("/v1/completions", json=body, headers=headers)


@pytest.mark.vllm
def test_of_all_routes_that_vllm_has_only_those_on_the_list_answer(
    live: Live, client: httpx.Client
) -> None:
    log = (live.store.home.parent / "server.log").read_text()
    routes = re.findall(r"Route: (\S+), Methods: ([A-Z, ]+)", log)
    assert len(routes) > 20
    closed = [("/docs", "GET"), ("/openapi.json", "GET"), ("/redoc", "GET"), ("/metrics", "POST")]
    closed += [("/adapters", "POST"), ("/adapters/x", "DELETE"), ("/v1/load_lora_adapter", "POST")]
    closed += [("/collective_rpc", "POST"), ("/update_weights", "POST"), ("/sleep", "POST")]
    for path, methods in routes:
        closed += [(path, method) for method in methods.split(", ")]
    for path, method in sorted(set(closed)):
        if f"{method} {path}" in OPEN or (method, path) == ("GET", "/metrics"):
            continue
        named = re.sub(r"\{.*?\}", "x", path)
        answer = client.request(method, named, json={"model": "pocket", "name": "x", "src": "/"})
        assert answer.status_code == 404, f"{method} {path}"


@pytest.mark.vllm
def test_headers_choose_neither_adapter_nor_engine_nor_priority(
    live: Live, client: httpx.Client
) -> None:
    alpha, beta = live.versions
    plain = say(client, alpha)
    assert say(client, beta).json()["choices"][0]["text"] != plain.json()["choices"][0]["text"]
    for name, value in {
        "X-Amzn-SageMaker-Adapter-Identifier": beta,
        "X-Amzn-SageMaker-Adapter-Alias": beta,
        "X-Amzn-SageMaker-Session-Id": "NEW_SESSION",
        "X-Data-Parallel-Rank": "7",
        "X-Vllm-Priority": "-5",
        "X-Session-ID": "x",
        "endpoint-load-metrics-format": "text",
        "Origin-Trial": "x",
    }.items():
        answer = say(client, alpha, **{name: value})
        assert answer.status_code == 200, name
        assert answer.json()["model"] == alpha
        assert answer.json()["choices"][0]["text"] == plain.json()["choices"][0]["text"]
        assert "endpoint-load-metrics" not in answer.headers
    named = say(client, alpha, **{"X-Request-Id": "not mine to choose"})
    assert "mine" not in named.text + str(named.headers)


USER, ADMIN, SCOPED = "a-user-horse-battery", "an-admin-horse-battery", "a-scoped-horse-battery"


@pytest.mark.vllm
def test_a_server_with_keys_is_closed_to_everybody_else(
    live: Live, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path / "home")
    alpha = publish_adapter(store, "alpha", live.base_dir, live.files[0])
    store.move_alias("prod", alpha, at="now", decision=None, run=None)
    monkeypatch.setenv(USER_KEYS, USER)
    monkeypatch.setenv(ADMIN_KEYS, ADMIN)
    keys = tmp_path / "keys.toml"
    keys.write_text(f'[[key]]\nname = "support"\nsecret = "{SCOPED}"\nmodels = ["prod"]\n')
    spec = ServerSpec(
        home=store.home,
        base_dir=live.base_dir,
        base_name="pocket",
        max_context=MAX_CONTEXT,
        kwargs=KWARGS,
        keys=keys,
    )
    log = tmp_path / "server.log"
    with (
        running(spec, log_path=log) as server,
        httpx.Client(base_url=server.base_url, timeout=60, trust_env=False) as client,
    ):
        _check_keys(client, alpha)
    files = [log, *(path for path in store.home.rglob("*") if path.is_file())]
    for secret in (USER, ADMIN, SCOPED, "an-unknown-horse-battery"):
        assert not [path for path in files if secret.encode() in path.read_bytes()]


def _check_keys(client: httpx.Client, alpha: str) -> None:
    def bearer(key: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {key}"}

    for headers in ({}, bearer("an-unknown-horse-battery")):
        for answer in (say(client, "pocket", **headers), client.get("/metrics", headers=headers)):
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"] == "Bearer"
            assert answer.json()["error"]["type"] == "AuthenticationError"
    assert client.get("/health").status_code == 200
    assert say(client, "prod", **bearer(USER)).json()["model"] == alpha
    assert say(client, "prod", **bearer(SCOPED)).json()["model"] == alpha
    others = [say(client, model, **bearer(SCOPED)) for model in (alpha, "pocket", "nobody")]
    assert [answer.status_code for answer in others] == [403, 403, 403]
    listed = client.get("/v1/models", headers=bearer(SCOPED)).json()["data"]
    assert [card["id"] for card in listed] == ["prod"]
    for key, status in ((USER, 403), (SCOPED, 403), (ADMIN, 200)):
        for path in ("/metrics", "/admin/status"):
            assert client.get(path, headers=bearer(key)).status_code == status
        warm = client.post("/admin/warm", json={"model": alpha}, headers=bearer(key))
        assert warm.status_code == status
