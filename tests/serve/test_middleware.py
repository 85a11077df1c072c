"""Every path and body a client can send, with a small application beneath."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest

import serve.middleware
from harness.errors import EnvironmentFault
from serve.asgi import MAX_BODY_BYTES
from serve.middleware import GENERATING, VersionMiddleware
from tests.serve.fakes import (
    Answer,
    Beneath,
    ask,
    chat,
    published,
    started,
)
from tests.serve.room import CHAT, Room


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Room:
    return Room(tmp_path / "home", monkeypatch)


@pytest.mark.parametrize("path", GENERATING)
def test_an_alias_becomes_its_version_on_every_generating_path(room: Room, path: str) -> None:
    version = published(room.store, "bot")
    room.point("prod", version)
    answer = asyncio.run(room.post(chat("prod"), path))
    assert answer.status == 200
    assert answer.headers["x-harness-version"] == version
    assert room.asked()["model"] == version
    assert room.engine.loaded == [version]


def test_an_alias_file_that_names_the_base_does_not_move_it(room: Room) -> None:
    version = published(room.store, "bot")
    room.write_aliases({"schema": 2, "aliases": {"pocket": version}, "splits": {}})
    assert asyncio.run(room.post(chat("pocket"))).headers["x-harness-version"] == "pocket"


def test_versions_and_the_base_pass_by_their_own_names(room: Room) -> None:
    version = published(room.store, "bot")
    assert asyncio.run(room.post(chat(version))).headers["x-harness-version"] == version
    assert asyncio.run(room.post(chat("pocket"))).headers["x-harness-version"] == "pocket"
    assert room.asked()["model"] == "pocket"
    assert room.engine.loads == [version]


def test_the_answer_is_passed_on_piece_by_piece(room: Room) -> None:
    answer = asyncio.run(room.post(chat("pocket", stream=True)))
    assert answer.chunks == [b'{"beneath":', b"true}"]


def test_other_fields_keep_their_bytes_and_the_length_is_right(room: Room) -> None:
    version = published(room.store, "bot")
    room.point("prod", version)
    body = b'{"temperature": 0.10, "seed": 9223372036854775807, "x": "\\u00e9", "model": "prod"}'
    asyncio.run(room.post([body[:20], body[20:]], headers=[(b"Content-Length", b"%d" % len(body))]))
    seen = room.beneath.bodies[-1]
    for kept in (b"0.10", b"9223372036854775807", b'"\\u00e9"'):
        assert kept in seen
    lengths = [v for k, v in room.beneath.scopes[-1]["headers"] if k.lower() == b"content-length"]
    assert lengths == [b"%d" % len(seen)]


def test_two_models_in_one_body_are_one_for_everybody(room: Room) -> None:
    version = published(room.store, "bot")
    body = b'{"model": "nobody", "mod\\u0065l": "' + version.encode() + b'"}'
    assert asyncio.run(room.post(body)).status == 200
    assert room.beneath.bodies[-1].count(b"model") == 1
    assert room.asked()["model"] == version


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "JSON"),
        (b"{", "JSON"),
        (b"[]", "JSON"),
        (b'{"model": "pocket"} x', "JSON"),
        (b'{"model": "\xff"}', ""),
        (b'{"model": ' + b"[" * 100_000, "JSON"),
        (b"{}", "model is required"),
        (b'{"model": null}', "model is required"),
        (b'{"model": ""}', "model is required"),
        (b'{"model": 3}', "model is required"),
        (b'{"model": ["pocket"]}', "model is required"),
        (chat("pocket", chat_template="{{ x }}"), "server's own"),
        (chat("pocket", chat_template_kwargs={"chat_template": "{{ x }}"}), "server's own"),
        (b'{"model": "pocket", "chat_t\\u0065mplate": ""}', "server's own"),
    ],
)
def test_bodies_that_are_refused(room: Room, body: bytes, words: str) -> None:
    answer = asyncio.run(room.post(body))
    assert answer.status == 400
    error = answer.json()["error"]
    assert words in error["message"]
    assert error["code"] == 400
    assert error["type"] == "BadRequestError"
    assert room.beneath.bodies == []


def test_template_variables_and_a_null_template_are_the_clients_own(room: Room) -> None:
    body = chat("pocket", chat_template=None, chat_template_kwargs={"enable_thinking": False})
    assert asyncio.run(room.post(body)).status == 200


def test_a_body_too_large_is_refused_by_its_header_and_by_its_bytes(room: Room) -> None:
    claimed = [(b"content-length", b"%d" % (MAX_BODY_BYTES + 1))]
    assert asyncio.run(room.post(b"{}", headers=claimed)).status == 413
    pieces = [b" " * 1_000_000] * 9
    answer = asyncio.run(room.post(pieces))
    assert answer.status == 413
    assert answer.headers["connection"] == "close"
    assert room.beneath.bodies == []


def test_a_client_that_leaves_early_is_not_answered(room: Room) -> None:
    assert asyncio.run(room.post([])).status == 0


def test_an_unknown_name_is_not_found_with_the_nearest(room: Room) -> None:
    version = published(room.store, "support-bot")
    room.point("support", version)
    for name, nearest in {
        "suport": "support",
        version[:-1] + "z": version,
        "pockt": "pocket",
    }.items():
        answer = asyncio.run(room.post(chat(name)))
        assert answer.status == 404
        assert answer.json()["error"]["param"] == "model"
        assert f"did you mean {nearest!r}" in answer.json()["error"]["message"]
    assert room.beneath.bodies == []


@pytest.mark.parametrize("name", ["x" * 5_000_000, "../../x@" + "0" * 12, "é\n", "prod "])
def test_a_strange_name_is_a_short_not_found(room: Room, name: str) -> None:
    answer = asyncio.run(room.post(chat(name)))
    assert answer.status == 404
    assert len(answer.json()["error"]["message"]) < 400


def test_an_alias_of_a_version_that_is_gone_says_so(room: Room) -> None:
    version = published(room.store, "bot")
    room.point("prod", version)
    room.store.version_dir(version).rename(room.store.home / "gone")
    answer = asyncio.run(room.post(chat("prod")))
    assert answer.status == 404
    assert version in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/load_lora_adapter"),
        ("POST", "/v1/unload_lora_adapter"),
        ("POST", "/adapters"),
        ("POST", "/invocations"),
        ("POST", "/v1/embeddings"),
        ("POST", "/v1/chat/completions/"),
        ("POST", "//v1/chat/completions"),
        ("GET", "/v1/chat/completions"),
        ("POST", "/metrics"),
        ("GET", "/openapi.json"),
        ("POST", "/v1/models"),
        ("OPTIONS", "/v1/models"),
        ("POST", "/health"),
    ],
)
def test_every_other_route_is_not_found(room: Room, method: str, path: str) -> None:
    answer = asyncio.run(ask(room.middleware, method, path, chat("pocket")))
    assert answer.status == 404
    assert answer.json()["error"]["type"] == "NotFoundError"
    assert room.beneath.scopes == []


def test_health_passes_and_websockets_are_closed(room: Room) -> None:
    health = asyncio.run(ask(room.middleware, "GET", "/health"))
    assert health.status == 200
    assert health.headers["x-harness-pid"] == str(os.getpid())
    sent = []

    async def scenario() -> None:
        async def receive() -> dict[str, Any]:
            return {"type": "websocket.connect"}

        async def send(message: Any) -> None:
            sent.append(message)

        await room.middleware({"type": "websocket", "path": "/v1/realtime"}, receive, send)

    asyncio.run(scenario())
    assert sent == [{"type": "websocket.close", "code": 1008}]


def test_models_lists_base_aliases_with_their_versions_and_versions(room: Room) -> None:
    version = published(room.store, "bot")
    room.point("prod", version)

    async def scenario() -> Answer:
        async with started(room.middleware):
            return await ask(room.middleware, "GET", "/v1/models")

    cards = {card["id"]: card for card in asyncio.run(scenario()).json()["data"]}
    assert list(cards) == ["pocket", "prod", version]
    assert cards["prod"]["root"] == version
    assert cards["pocket"]["parent"] is None
    assert cards[version]["parent"] == "pocket"
    assert {card["max_model_len"] for card in cards.values()} == {1024}
    assert str(room.store.home) not in json.dumps(cards)


def test_a_request_in_flight_ends_on_its_version_while_the_next_gets_the_new_one(
    room: Room,
) -> None:
    old, new = published(room.store, "old"), published(room.store, "new")
    room.point("prod", old)

    async def scenario() -> tuple[Answer, Answer]:
        async with started(room.middleware):
            room.beneath.gate = asyncio.Event()
            first = asyncio.create_task(ask(room.middleware, "POST", CHAT, chat("prod")))
            while not room.beneath.bodies:
                await asyncio.sleep(0.001)
            room.point("prod", new)
            second = asyncio.create_task(ask(room.middleware, "POST", CHAT, chat("prod")))
            while len(room.beneath.bodies) < 2:
                await asyncio.sleep(0.001)
            room.beneath.gate.set()
            return await first, await second

    first, second = asyncio.run(scenario())
    assert first.headers["x-harness-version"] == old
    assert second.headers["x-harness-version"] == new


def test_the_engines_refusal_is_answered_in_its_words(room: Room) -> None:
    version = published(room.store, "bot")
    room.engine.failure = ValueError("no such module")
    answer = asyncio.run(room.post(chat(version)))
    assert answer.status == 503
    assert "no such module" in answer.json()["error"]["message"]


@pytest.mark.parametrize(("dead", "status"), [(True, 503), (False, 500)])
def test_when_the_engine_has_died_another_replica_may_be_asked(
    room: Room, dead: bool, status: int
) -> None:
    room.beneath.status, room.engine.dead = 500, dead
    assert asyncio.run(room.post(chat("pocket"))).status == status
    room.beneath.status = 400
    assert asyncio.run(room.post(chat("pocket"))).status == 400


def test_before_the_start_adapters_wait_and_a_strange_vllm_does_not_start(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = published(room.store, "bot")
    assert asyncio.run(ask(room.middleware, "POST", CHAT, chat(version))).status == 503

    def refuse(state: Any) -> None:
        raise EnvironmentFault("vLLM lacks add_lora", hint="make setup")

    monkeypatch.setattr(serve.middleware, "Engine", refuse)

    async def scenario() -> list[Any]:
        async with started(room.middleware) as sent:
            return list(sent)

    assert asyncio.run(scenario()) == [
        {"type": "lifespan.startup.failed", "message": "vLLM lacks add_lora"}
    ]


def test_without_its_launcher_the_middleware_does_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HARNESS_SERVE", raising=False)
    with pytest.raises(EnvironmentFault, match="HARNESS_SERVE"):
        VersionMiddleware(Beneath())


def test_an_error_beneath_is_answered_and_logged_without_its_words(
    room: Room, caplog: pytest.LogCaptureFixture
) -> None:
    room.beneath.failure = ValueError("what the client said")
    answer = asyncio.run(room.post(chat("pocket")))
    assert answer.status == 500
    assert answer.json()["error"]["type"] == "InternalServerError"
    assert answer.headers["x-request-id"] in caplog.text
    assert "ValueError at" in caplog.text
    assert "what the client said" not in caplog.text + str(answer)


@pytest.mark.parametrize(
    "field", ["stream_options", "chat_template_kwargs", "messages", "user", "x"]
)
@pytest.mark.parametrize("deep", ["[" * 900 + "]" * 900, '{"a":' * 900 + "1" + "}" * 900])
def test_depth_is_no_way_to_break_it(room: Room, field: str, deep: str) -> None:
    body = b'{"model": "pocket", "%s": %s}' % (field.encode(), deep.encode())
    assert asyncio.run(room.post(body)).status in (200, 400)


def test_one_model_is_described_by_any_of_its_names(room: Room) -> None:
    version = published(room.store, "bot")
    room.point("prod", version)
    for name, root in {"pocket": "pocket", "prod": version, version: version}.items():
        card = asyncio.run(room.get(f"/v1/models/{name}")).json()
        assert (card["id"], card["root"]) == (name, root)
    missing = asyncio.run(room.get("/v1/models/prodd"))
    assert missing.status == 404
    assert "did you mean 'prod'" in missing.json()["error"]["message"]


def test_a_key_for_some_models_learns_nothing_of_the_others(room: Room, tmp_path: Path) -> None:
    version = published(room.store, "bot")
    room.point("prod", version)
    key = "a-scoped-horse-battery"
    path = tmp_path / "keys.toml"
    path.write_text(f'[[key]]\nname = "support"\nsecret = "{key}"\nmodels = ["prod"]\n')
    room.use_keys(path)
    headers = [(b"authorization", f"Bearer {key}".encode())]
    assert asyncio.run(room.post(chat("prod"), headers=headers)).status == 200
    listed = asyncio.run(room.get("/v1/models", headers)).json()
    assert [card["id"] for card in listed["data"]] == ["prod"]
    seen = set()
    for name in ("bot", "pocket", "nobody"):
        refused = asyncio.run(room.post(chat(name), headers=headers))
        carded = asyncio.run(room.get(f"/v1/models/{name}", headers))
        for answer in (refused, carded):
            assert answer.status == 403
            seen.add(answer.json()["error"]["message"].replace(name, "<name>"))
    assert len(seen) == 1
    exact = asyncio.run(room.post(chat(version), headers=headers))
    absent = asyncio.run(room.post(chat("bot@" + "0" * 12), headers=headers))
    assert exact.status == absent.status == 403


def test_routes_for_administrators_need_an_admin_key(room: Room) -> None:
    version = published(room.store, "bot")
    user, admin = "a-user-horse-battery", "an-admin-horse-battery"
    room.lock(user, admin)

    async def statuses(key: str | None) -> list[int]:
        headers = [(b"authorization", f"Bearer {key}".encode())] if key else []
        asked = [("GET", "/metrics", b""), ("GET", "/admin/status", b"")]
        asked += [("POST", "/admin/warm", chat(version)), ("GET", "/admin/warm", b"")]
        async with started(room.middleware):
            answers = [await ask(room.middleware, *each, headers) for each in asked]
        return [answer.status for answer in answers]

    assert asyncio.run(statuses(None)) == [401] * 4
    assert asyncio.run(statuses(user)) == [403, 403, 403, 404]
    assert asyncio.run(statuses(admin)) == [200, 200, 200, 404]


def test_an_alias_is_not_warmed_and_is_called_one(room: Room) -> None:
    room.point("prod", published(room.store, "bot"))
    answer = asyncio.run(room.post(chat("prod"), "/admin/warm"))
    assert answer.status == 404
    assert answer.json()["error"]["message"] == "'prod' is an alias; name a version"


def test_who_started_the_server_is_told_its_process_and_nobody_else_is(room: Room) -> None:
    sent = []

    async def health(client: object) -> dict[bytes, bytes]:
        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b""}

        async def send(message: Any) -> None:
            sent.append(message)

        sent.clear()
        scope = {"type": "http", "method": "GET", "path": "/health", "headers": []}
        await room.middleware(scope | {"client": client}, receive, send)
        return dict(sent[0]["headers"])

    assert b"x-harness-pid" in asyncio.run(health(("127.0.0.1", 9)))
    assert b"x-harness-pid" in asyncio.run(health(("::1", 9)))
    for client in (("10.0.0.7", 9), None, ("somewhere", 9)):
        assert b"x-harness-pid" not in asyncio.run(health(client))
