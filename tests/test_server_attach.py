"""Attaching to a server that somebody else started."""

from __future__ import annotations

import http.server
import json
import socket
import threading
from collections.abc import Iterator

import pytest

from harness.errors import EndpointError
from harness.server import Server, attach


class _Models(http.server.BaseHTTPRequestHandler):
    """Healthy, and serving one base; `models` is what it lists."""

    models: object = {"data": [{"id": "pocket"}]}
    through = ""
    """Address of another machine, for which it then is the proxy."""
    key = ""

    def do_GET(self) -> None:
        path = self.path.removeprefix(self.through)
        if self.key and path != "/health" and self.headers["authorization"] != f"Bearer {self.key}":
            self.send_error(401)
            return
        body = json.dumps(self.models if path == "/v1/models" else {}).encode()
        self.send_response(200 if path in ("/health", "/v1/models") else 404)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *words: object) -> None:
        """Silent."""


@pytest.fixture
def endpoint() -> Iterator[str]:
    with http.server.HTTPServer(("127.0.0.1", 0), _Models) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.mark.parametrize("form", ["{}", "{}/", "{}/v1", "{}/v1/"])
def test_attach_takes_every_form_of_the_address(endpoint: str, form: str) -> None:
    server = attach(form.format(endpoint), "pocket", "none")
    assert server == Server(endpoint)
    assert server.api_url == f"{endpoint}/v1"


def test_attach_reaches_this_machine_past_a_proxy(
    endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    for host in ("127.0.0.1", "localhost"):
        address = endpoint.replace("127.0.0.1", host)
        assert attach(address, "pocket", "none") == Server(address)


def test_attach_reaches_this_machines_own_address_past_a_proxy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with socket.socket(type=socket.SOCK_DGRAM) as probe:
        if probe.connect_ex(("203.0.113.1", 9)):  # sends nothing
            pytest.skip("no address but loopback; to enable: a network interface with a route")
        own = probe.getsockname()[0]
    with http.server.HTTPServer((own, 0), _Models) as server:
        threading.Thread(target=server.serve_forever).start()
        address = f"http://{own}:{server.server_address[1]}"
        try:
            assert attach(address, "pocket", "none") == Server(address)
        finally:
            server.shutdown()


def test_attach_goes_through_the_proxy_to_other_machines(
    endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", endpoint)
    monkeypatch.setattr(_Models, "through", "http://far.invalid")
    assert attach("http://far.invalid", "pocket", "none") == Server("http://far.invalid")


def test_attach_refuses_another_base_and_names_what_is_served(endpoint: str) -> None:
    with pytest.raises(EndpointError, match="'other'; it serves: pocket") as caught:
        attach(endpoint, "other", "none")
    assert caught.value.hint


@pytest.mark.parametrize("address", ["http://127.0.0.1:9", "not an address", "", "ftp://x"])
def test_attach_refuses_what_does_not_answer(address: str) -> None:
    with pytest.raises(EndpointError, match="no healthy model server") as caught:
        attach(address, "pocket", "none")
    assert "harness serve" in str(caught.value.hint)


def test_attach_refuses_what_answers_strangely(
    endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: tuple[object, ...] = ([], {"data": [{}]}, {"data": None}, "x")
    for strange in answers:
        monkeypatch.setattr(_Models, "models", strange)
        with pytest.raises(EndpointError, match="no healthy model server"):
            attach(endpoint, "pocket", "none")


def test_attach_shows_its_key(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_Models, "key", "hk-0123456789abcdef")
    assert attach(endpoint, "pocket", "hk-0123456789abcdef") == Server(endpoint)
    with pytest.raises(EndpointError, match="refuses the key") as caught:
        attach(endpoint, "pocket", "hk-of-another-server")
    assert "HARNESS_API_KEY" in str(caught.value.hint)
