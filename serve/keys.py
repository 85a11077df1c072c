"""Who may ask for what: keys from a file or the environment, compared in constant time.

The file is TOML, one table a key:

    [[key]]
    name = "support"             # how the access log calls it
    sha256 = "…"                 # of the secret, in hex; or secret = "…" itself
    models = ["prod"]            # optional: the only aliases, versions or base it may name
    admin = true                 # optional: also the routes for administrators

HARNESS_KEYS and HARNESS_ADMIN_KEYS hold secrets (or `sha256:` and their digests), comma separated.
Without any key every caller is the local administrator, which is why the launcher then listens on
this machine alone. Knows nothing of models but their names. No secret is ever logged or shown.
"""

from __future__ import annotations

import difflib
import hashlib
import hmac
import ipaddress
import logging
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from pathlib import Path
from typing import Any, NamedTuple

from harness.errors import HarnessError
from serve.asgi import Refusal

USER_KEYS, ADMIN_KEYS = "HARNESS_KEYS", "HARNESS_ADMIN_KEYS"
MIN_SECRET = 16
"""Characters; fewer can be guessed."""

_FIELDS = {"name": str, "secret": str, "sha256": str, "models": list, "admin": bool}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_SECRET = re.compile(r"[!-~]+")
_SEALED = "sha256:"
_TABLE = re.compile(r"\s*\[\[\s*key\s*\]\]")
_BEARER = re.compile(rb"bearer +([!-~]+)", re.IGNORECASE)

_log = logging.getLogger(__name__)


class Caller(NamedTuple):
    """Who asks. `models` None: every model."""

    name: str
    admin: bool = False
    models: frozenset[str] | None = None

    def may_use(self, model: str) -> bool:
        return self.models is None or model in self.models

    def require_model(self, model: str) -> None:
        """Raises Refusal 403, the same whether or not there is such a model."""
        if not self.may_use(model):
            accepted = ", ".join(sorted(self.models or ()))
            raise Refusal(
                403, f"this key may not use {model[:128]!r}; accepted: {accepted}", param="model"
            )

    def require_admin(self) -> None:
        """Raises Refusal 403."""
        if not self.admin:
            raise Refusal(403, "this route needs an admin key")


LOCAL = Caller("local", admin=True)
"""Whoever reaches a server without keys."""


class Key(NamedTuple):
    """One accepted key: the SHA-256 of its secret, and whose it is."""

    digest: bytes
    caller: Caller


class KeyFault(HarnessError):
    """Keys that cannot be used as written. `place` names the file and line, or the variable, and
    nothing that stands there."""

    def __init__(self, place: str, reason: str) -> None:
        super().__init__(f"{place}: {reason}", hint="docs/serving-security.md shows a key file")
        self.place = place


class _Known(NamedTuple):
    """Keys and the file they were read from: (inode, time of change, size)."""

    stamp: tuple[int, int, int] | None
    keys: tuple[Key, ...]


class Keys:
    """The keys of a server: those of the file, read again when it changes, and of the environment,
    from which they are taken out."""

    def __init__(self, path: Path | None, environment: MutableMapping[str, str]) -> None:
        """Raises KeyFault for what `check` refuses."""
        self._path = path
        self._fixed = _from_environment(environment)
        for variable in (USER_KEYS, ADMIN_KEYS):
            environment.pop(variable, None)
        self._complaint = ""
        self._known = _Known(None, ())
        if path:
            self._known = _Known(_stamp(path), _together((*_from_file(path), *self._fixed)))

    @property
    def closed(self) -> bool:
        """Whether a key is needed at all."""
        return self._path is not None or bool(self._fixed)

    def caller(self, headers: Iterable[tuple[bytes, bytes]]) -> Caller:
        """Whose request this is. Raises Refusal 401 for a key that is missing or unknown."""
        if not self.closed:
            return LOCAL
        given = [value for name, value in headers if name.lower() == b"authorization"]
        match = _BEARER.fullmatch(given[0]) if len(given) == 1 else None
        if not match:
            raise Refusal(401, "this server needs one header `Authorization: Bearer <key>`")
        digest, found = hashlib.sha256(match[1]).digest(), None
        for key in self._current():  # all of them: where it stopped would tell how far it got
            if hmac.compare_digest(key.digest, digest):
                found = key.caller
        if found is None:
            raise Refusal(401, "unknown key")
        return found

    def _current(self) -> tuple[Key, ...]:
        """The keys now: those of the last change that was whole."""
        if self._path is None:
            return self._fixed
        known = self._known
        try:
            stamp = _stamp(self._path)
            if stamp == known.stamp:
                return known.keys
            keys = _together((*_from_file(self._path), *self._fixed))
        except KeyFault as fault:
            self._complain(fault.place)
            return known.keys
        self._known = _Known(stamp, keys)
        self._complaint = ""
        _log.info("%s: read again: %d keys", self._path, len(keys))
        return keys

    def _complain(self, place: str) -> None:
        if place != self._complaint:  # once, not at every request
            self._complaint = place
            _log.error("%s: cannot be used as keys; keeping the last good ones", place)


def check(path: Path | None, environment: Mapping[str, str], *, host: str) -> None:
    """Raises KeyFault for a file that is missing, damaged or empty, a weak secret, a key given
    twice and a variable without a key, and HarnessError where there is no key at all and
    `host` is an address that other machines reach."""
    of_file = _from_file(path) if path else ()
    keys = _together((*of_file, *_from_environment(environment)))
    if not keys and not _loopback(host):
        raise HarnessError(
            f"--host {host} without keys: other machines could use and change everything here",
            hint=f"give --keys FILE or set {USER_KEYS} and {ADMIN_KEYS}; or listen on 127.0.0.1",
        )


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def sealed(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment with digests in place of secrets, for vLLM and the processes it starts.
    Raises KeyFault."""
    found: dict[str, list[str]] = {}
    for key in _from_environment(environment):
        variable = ADMIN_KEYS if key.caller.admin else USER_KEYS
        found.setdefault(variable, []).append(_SEALED + key.digest.hex())
    return {**environment, **{variable: ",".join(keys) for variable, keys in found.items()}}


def _from_environment(environment: Mapping[str, str]) -> tuple[Key, ...]:
    found = []
    for variable, prefix in ((USER_KEYS, "user"), (ADMIN_KEYS, "admin")):
        if variable not in environment:
            continue
        for number, entry in enumerate(environment[variable].split(","), 1):
            place, secret = f"{variable}: key {number}", entry.strip()
            hexed = secret.removeprefix(_SEALED)
            digest = _sealed(place, hexed) if hexed != secret else _digest(place, secret)
            found.append(Key(digest, Caller(f"{prefix}-{number}", admin=prefix == "admin")))
    return tuple(found)


def _from_file(path: Path) -> tuple[Key, ...]:
    try:
        text = path.read_text(encoding="utf-8")
        value = tomllib.loads(text)
    except OSError as error:
        raise KeyFault(str(path), error.strerror or type(error).__name__) from None
    except UnicodeDecodeError:
        raise KeyFault(str(path), "not UTF-8 text") from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        line = re.search(r"at line (\d+)", str(error))
        raise KeyFault(f"{path}:{line[1]}" if line else str(path), "not TOML") from None
    tables = value.pop("key", None)
    if value:
        raise KeyFault(str(path), _unknown(next(iter(value)), ("key",)))
    if not isinstance(tables, list) or not tables:
        raise KeyFault(str(path), "no keys in it; accepted: tables [[key]]")
    return tuple(
        _of_table(place, table)
        for place, table in zip(_places(path, text, len(tables)), tables, strict=True)
    )


def _places(path: Path, text: str, n_keys: int) -> Iterator[str]:
    """Where each key begins, as file:line; tomllib tells no lines of what it has read."""
    lines = [number for number, line in enumerate(text.splitlines(), 1) if _TABLE.match(line)]
    for index in range(n_keys):
        yield f"{path}:{lines[index]}" if len(lines) == n_keys else f"{path}: key {index + 1}"


def _of_table(place: str, table: Any) -> Key:
    if not isinstance(table, dict):
        raise KeyFault(place, "not a table; accepted: [[key]]")
    for field, value in table.items():
        if field not in _FIELDS:
            raise KeyFault(place, _unknown(field, _FIELDS))
        if not isinstance(value, _FIELDS[field]):
            kind = {str: "a string", list: "a list", bool: "true or false"}[_FIELDS[field]]
            raise KeyFault(place, f"{field}: accepted: {kind}")
    name, models = table.get("name", ""), table.get("models")
    if not _NAME.fullmatch(name) or len({"secret", "sha256"}.intersection(table)) != 1:
        raise KeyFault(
            place,
            "accepted: a name (letters, digits, '.', '_', '-', at most 63) and either secret or "
            "sha256",
        )
    if models is not None and not (models and all(isinstance(each, str) for each in models)):
        raise KeyFault(place, "models: accepted: one name or more; leave it out for every model")
    sealed = "sha256" in table
    digest = _sealed(place, table["sha256"]) if sealed else _digest(place, table["secret"])
    return Key(
        digest,
        Caller(
            name, bool(table.get("admin", False)), None if models is None else frozenset(models)
        ),
    )


def _digest(place: str, secret: str) -> bytes:
    if len(secret) < MIN_SECRET or not _SECRET.fullmatch(secret):
        raise KeyFault(
            place,
            f"{len(secret)} characters; accepted: {MIN_SECRET} or more, printable ASCII without "
            "spaces",
        )
    return hashlib.sha256(secret.encode()).digest()


def _sealed(place: str, hexed: str) -> bytes:
    if not _SHA256.fullmatch(hexed):
        raise KeyFault(place, "sha256: accepted: 64 lower-case hex digits")
    return bytes.fromhex(hexed)


def _together(keys: tuple[Key, ...]) -> tuple[Key, ...]:
    """`keys`, each of which must be one caller's alone. Raises KeyFault."""
    names: set[str] = set()
    digests: dict[bytes, str] = {}
    for digest, caller in keys:
        if caller.name in names:
            raise KeyFault(f"key {caller.name}", "two keys have this name")
        if digest in digests:
            raise KeyFault(f"key {caller.name}", f"the same secret as {digests[digest]}")
        names.add(caller.name)
        digests[digest] = caller.name
    return keys


def _unknown(name: str, accepted: Iterable[str]) -> str:
    names = list(accepted)
    close = difflib.get_close_matches(name, names, n=1)
    offer = f"did you mean {close[0]!r}? " if close else ""
    return f"unknown {name[:40]!r}: {offer}accepted: {', '.join(names)}"


def _stamp(path: Path) -> tuple[int, int, int]:
    try:
        stat = path.stat()
    except OSError as error:
        raise KeyFault(str(path), error.strerror or type(error).__name__) from None
    return stat.st_ino, stat.st_mtime_ns, stat.st_size
