"""Keys as people write them: in files, in variables, wrongly, and anew while the server runs."""

from __future__ import annotations

import hashlib
import logging
import os
from pathlib import Path

import pytest

from harness.errors import HarnessError
from serve.asgi import Refusal
from serve.keys import ADMIN_KEYS, LOCAL, USER_KEYS, Caller, Keys, check, sealed
from serve.launch import Options, environment
from tests.serve.live import POCKET_BASE

SECRET = "correct-horse-battery"
OTHER = "another-horse-battery"


def table(name: str, *lines: str) -> str:
    return "\n".join(["[[key]]", f'name = "{name}"', *lines, ""])


def secret(value: str) -> str:
    return f'secret = "{value}"'


def bearer(value: str, scheme: str = "Bearer") -> list[tuple[bytes, bytes]]:
    return [(b"accept", b"*/*"), (b"authorization", f"{scheme} {value}".encode())]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.toml"


def rewrite(path: Path, text: str) -> None:
    """As an editor would: another file in its place."""
    new = path.with_suffix(".new")
    new.write_text(text)
    new.replace(path)


def refused(keys: Keys, headers: list[tuple[bytes, bytes]]) -> Refusal:
    with pytest.raises(Refusal) as caught:
        keys.caller(headers)
    assert caught.value.status == 401
    return caught.value


def test_without_keys_everybody_is_the_local_administrator() -> None:
    keys = Keys(None, {})
    assert keys.caller([]) is LOCAL
    assert keys.caller(bearer("anything")) is LOCAL


def test_a_file_names_callers_by_secret_or_digest(path: Path) -> None:
    digest = hashlib.sha256(OTHER.encode()).hexdigest()
    path.write_text(
        table("support", secret(SECRET), 'models = ["prod", "support-bot"]')
        + table("ops", f'sha256 = "{digest}"', "admin = true")
    )
    keys = Keys(path, {})
    support = keys.caller(bearer(SECRET))
    assert support == Caller("support", False, frozenset({"prod", "support-bot"}))
    assert support.may_use("prod")
    assert not support.may_use("other")
    assert keys.caller(bearer(OTHER, "bearer")) == Caller("ops", admin=True)


def test_variables_name_callers_and_are_taken_out(path: Path) -> None:
    environment = {USER_KEYS: f"{SECRET}, {SECRET}2", ADMIN_KEYS: OTHER, "HOME": "/"}
    check(None, environment, host="0.0.0.0")
    keys = Keys(None, environment)
    assert environment == {"HOME": "/"}
    assert keys.caller(bearer(SECRET)) == Caller("user-1")
    assert keys.caller(bearer(SECRET + "2")) == Caller("user-2")
    assert keys.caller(bearer(OTHER)) == Caller("admin-1", admin=True)
    path.write_text(table("more", secret("a-third-horse-battery")))
    both = Keys(path, {USER_KEYS: SECRET})
    assert {
        both.caller(bearer(SECRET)).name,
        both.caller(bearer("a-third-horse-battery")).name,
    } == {
        "user-1",
        "more",
    }


def test_sealed_variables_hold_no_secret_and_open_as_before() -> None:
    before = {USER_KEYS: f"{SECRET},{OTHER}", ADMIN_KEYS: SECRET + "!", "HOME": "/"}
    after = sealed(before)
    assert SECRET not in str(after)
    assert sealed(after) == after
    assert after.keys() == before.keys()
    keys = Keys(None, after)
    assert [keys.caller(bearer(each)).name for each in (SECRET, OTHER, SECRET + "!")] == [
        "user-1",
        "user-2",
        "admin-1",
    ]


@pytest.mark.parametrize(
    "headers",
    [
        [],
        bearer(""),
        bearer(SECRET[:-1]),
        bearer(SECRET + "x"),
        bearer(SECRET.upper()),
        bearer(SECRET, "Basic"),
        bearer(SECRET + " x"),
        bearer("x" * 100_000),
        [(b"authorization", SECRET.encode())],
        [(b"authorization", b"Bearer \xff\xfe")],
        [(b"x-api-key", SECRET.encode())],
        [*bearer(SECRET), *bearer(SECRET)],
        bearer(hashlib.sha256(SECRET.encode()).hexdigest()),
        bearer("sha256:" + hashlib.sha256(SECRET.encode()).hexdigest()),
    ],
)
def test_every_other_header_is_refused(path: Path, headers: list[tuple[bytes, bytes]]) -> None:
    path.write_text(table("support", secret(SECRET)))
    refusal = refused(Keys(path, {}), headers)
    assert SECRET not in str(refusal)
    assert len(str(refusal)) < 100


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("", "", "no keys"),
        ("# nothing yet\n", "", "no keys"),
        ("key = []", "", "no keys"),
        ("key = 3", "", "no keys"),
        ("key = [3]", ": key 1", "not a table"),
        ("[[key]]\nname =\n", ":2", "not TOML"),
        ("[[keys]]\n", "", "did you mean 'key'? accepted: key"),
        (table("a", secret(SECRET)) + table("b", 'secert = "x"'), ":4", "did you mean 'secret'?"),
        (table("a", secret("short")), ":1", "5 characters; accepted: 16 or more"),
        (table("a", secret("with spaces in between")), ":1", "without spaces"),
        (table("a", secret("with-ä-letter-of-its-own")), ":1", "ASCII"),
        (table("a"), ":1", "either secret or sha256"),
        (table("a", secret(SECRET), f'sha256 = "{"0" * 64}"'), ":1", "either secret or sha256"),
        (table("a b", secret(SECRET)), ":1", "a name (letters"),
        ('[[key]]\nsecret = "correct-horse-battery"\n', ":1", "a name (letters"),
        (table("a", 'sha256 = "abc"'), ":1", "64 lower-case hex digits"),
        (table("a", secret(SECRET), "models = []"), ":1", "one name or more"),
        (table("a", secret(SECRET), "models = [1]"), ":1", "one name or more"),
        (table("a", secret(SECRET), 'models = "prod"'), ":1", "models: accepted: a list"),
        (table("a", secret(SECRET), 'admin = "yes"'), ":1", "admin: accepted: true or false"),
        (table("a", secret(SECRET)) + table("a", secret(OTHER)), None, "two keys have this name"),
        (table("a", secret(SECRET)) + table("b", secret(SECRET)), None, "the same secret as a"),
    ],
)
def test_a_file_that_is_wrong_is_refused_at_its_line(
    path: Path, text: str, place: str | None, words: str
) -> None:
    path.write_text(text)
    with pytest.raises(HarnessError) as caught:
        Keys(path, {})
    assert words in str(caught.value)
    assert SECRET not in str(caught.value)
    if place is not None:
        assert str(caught.value).startswith(f"{path}{place}: ")
    with pytest.raises(HarnessError):
        check(path, {}, host="127.0.0.1")


def test_files_that_cannot_be_read_are_refused(path: Path) -> None:
    with pytest.raises(HarnessError, match="No such file"):
        Keys(path, {})
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(HarnessError, match="not UTF-8"):
        Keys(path, {})
    path.write_text("key = " + "[" * 100_000)
    with pytest.raises(HarnessError, match="not TOML"):
        Keys(path, {})
    with pytest.raises(HarnessError, match="directory"):
        Keys(path.parent, {})


@pytest.mark.parametrize(
    "value", ["", ",", f"{SECRET},", "short", f"{SECRET},{SECRET}", "sha256:x"]
)
def test_variables_that_are_wrong_are_refused(value: str) -> None:
    with pytest.raises(HarnessError) as caught:
        check(None, {USER_KEYS: value}, host="127.0.0.1")
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "example.org", ""])
def test_other_machines_are_let_in_only_with_keys(path: Path, host: str) -> None:
    with pytest.raises(HarnessError, match="without keys"):
        check(None, {}, host=host)
    check(None, {ADMIN_KEYS: SECRET}, host=host)
    path.write_text(table("support", secret(SECRET)))
    check(path, {}, host=host)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_this_machine_is_let_in_without_keys(host: str) -> None:
    check(None, {}, host=host)


def test_a_change_of_the_file_counts_at_once(path: Path) -> None:
    path.write_text(table("support", secret(SECRET)))
    keys = Keys(path, {})
    rewrite(path, table("sales", secret(OTHER)))
    assert keys.caller(bearer(OTHER)).name == "sales"
    refused(keys, bearer(SECRET))


@pytest.mark.parametrize("damage", ["", "[[key", table("a", secret("short-" + "x" * 5)), None])
def test_a_damaged_change_keeps_the_last_good_keys_and_is_logged_once(
    path: Path, damage: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    path.write_text(table("support", secret(SECRET)))
    keys = Keys(path, {})
    with caplog.at_level(logging.INFO):
        if damage is None:
            path.unlink()
        else:
            rewrite(path, damage)
        for _ in range(3):
            assert keys.caller(bearer(SECRET)).name == "support"
            refused(keys, bearer(OTHER))
    assert len(caplog.records) == 1
    assert str(path) in caplog.text
    assert "short" not in caplog.text
    assert "horse" not in caplog.text
    rewrite(path, table("sales", secret(OTHER)))
    assert keys.caller(bearer(OTHER)).name == "sales"


def test_a_file_emptied_while_it_runs_does_not_open_the_server(path: Path) -> None:
    path.write_text(table("support", secret(SECRET)))
    keys = Keys(path, {})
    rewrite(path, "")
    refused(keys, [])


def test_all_keys_are_compared_whatever_is_found(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.write_text(table("a", secret(SECRET)) + table("b", secret(OTHER)))
    keys = Keys(path, {})
    compared = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append(one)
        return one == other

    monkeypatch.setattr("serve.keys.hmac.compare_digest", compare)
    keys.caller(bearer(SECRET))
    assert len(compared) == 2


def test_the_environment_of_this_process_is_left_without_keys(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(USER_KEYS, SECRET)
    Keys(None, os.environ)
    assert USER_KEYS not in os.environ


def test_the_launcher_refuses_an_open_address_and_hands_on_digests_only(tmp_path: Path) -> None:
    options = Options(tmp_path, POCKET_BASE, "pocket", host="0.0.0.0")
    with pytest.raises(HarnessError, match="without keys"):
        environment(options, {}, cpu=True)
    values = environment(options, {USER_KEYS: SECRET, ADMIN_KEYS: OTHER}, cpu=True)
    assert SECRET not in str(values)
    assert OTHER not in str(values)
    assert Keys(None, values).caller(bearer(OTHER)).admin
