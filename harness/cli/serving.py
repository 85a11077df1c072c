"""Commands around a server: start one, look at all that are up, make a key."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import socket
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from harness.cli.app import Home, Json, app, echo, load_recipe, now, open_store
from harness.errors import EndpointError, HarnessError

if TYPE_CHECKING:
    from harness.fleet import Sight
    from harness.server import Server
    from harness.serving import Choice
    from harness.store import Store

_DEFAULT = "run"
_KEY_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


class _WithDefault(TyperGroup):
    """A group that takes anything but the name of a command for the arguments of `_DEFAULT`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        known = bool(args) and args[0] in self.commands
        return super().parse_args(ctx, args if known else [_DEFAULT, *args])

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, command, rest = super().resolve_command(ctx, args)
        return None if name == _DEFAULT else name, command, rest


class _Default(TyperCommand):
    """The command without a name of its own."""

    def format_usage(self, ctx: Any, formatter: Any) -> None:
        formatter.write_usage(ctx.command_path.rstrip(), " ".join(self.collect_usage_pieces(ctx)))


serve_app = typer.Typer(
    help="One OpenAI-compatible endpoint for base, versions and aliases.", cls=_WithDefault
)
app.add_typer(serve_app, name="serve")


@serve_app.command(
    _DEFAULT,
    cls=_Default,
    hidden=True,
    epilog="Also: `harness serve status` shows every server that is up on the store, and "
    "`harness serve key NAME` makes a key.",
)
def run(
    recipe: Annotated[
        Path | None, typer.Argument(metavar="RECIPE", help="Take base and template from it.")
    ] = None,
    base: Annotated[
        str | None, typer.Option(help="Base model, without a recipe [default: pocket].")
    ] = None,
    host: Annotated[
        str | None, typer.Option(help="Address to listen on; any but 127.0.0.1 needs keys.")
    ] = None,
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Port [default: the recipe's, or 8000].")
    ] = None,
    keys: Annotated[
        Path | None, typer.Option(help="TOML file of keys; harness serve key makes entries.")
    ] = None,
    url: Annotated[str | None, typer.Option(help="Where other machines reach this server.")] = None,
    home: Home = None,
) -> None:
    """Serve the base, all versions and all aliases until stopped.

    Options win over the recipe's `serve` section.
    """
    from harness.progress import Reporter
    from harness.serving import DEFAULT_PORT, doing, serve_store

    store, choice = open_store(home), _choice(recipe, base)
    given = {"host": host, "keys": str(keys.absolute()) if keys else None, "url": url}
    changes = {name: value for name, value in given.items() if value is not None}
    choice = choice._replace(serve=choice.serve.model_copy(update=changes))
    if port:
        choice = choice._replace(compute=choice.compute.model_copy(update={"port": port}))
    # A terminal shows progress and what to type; for a supervisor the log is all there is.
    name = f"serve-{socket.gethostname()}-{choice.compute.port or DEFAULT_PORT}.log"
    log_path = store.home / "logs" / name if sys.stderr.isatty() else None
    with contextlib.ExitStack() as waiting:
        reporter = waiting.enter_context(Reporter())
        reporter.stage("serve")

        def ready(server: Server) -> None:
            reporter.done(f"vLLM at {server.base_url}")
            waiting.close()
            _welcome(server, choice, store, log_path)

        code = serve_store(
            choice,
            store,
            os.environ,
            log_path=log_path,
            on_ready=ready,
            on_wait=lambda _: reporter.tell(vllm=doing(log_path)),
        )
    raise typer.Exit(code)


@serve_app.command("status")
def status(home: Home = None, json_: Json = False) -> None:
    """Every server that is up on the store, what it holds, and whether it sees the same aliases.

    Exits with 4 where one cannot be reached or sees others than the store, or an alias points at
    a version that is gone.
    """
    from harness.fleet import differences, look
    from harness.store.aliases import answering

    store = open_store(home)
    sights = look(store.replicas.living())
    aliases, splits = store.aliases(), store.splits()
    wrong = {each.replica.id: differences(each, aliases, splits) for each in sights}
    lost = [
        f"alias {name} is {version}, which the store does not have"
        for name, version in sorted(aliases.items())
        if not store.has(version)
    ]
    if json_:
        replicas = [_facts(each, wrong[each.replica.id]) for each in sights]
        found = {"aliases": aliases, "splits": splits, "problems": lost, "replicas": replicas}
        echo(found, json_)
    else:
        _show(sights, wrong | {"": lost}, answering(aliases, splits))
    if not sights or lost or any(wrong.values()):
        raise typer.Exit(EndpointError.exit_code)


@serve_app.command("key")
def key(
    name: Annotated[str, typer.Argument(help="Whose key it is; the access log shows it.")],
    admin: Annotated[
        bool, typer.Option("--admin", help="Also for /admin and /metrics, and for promotions.")
    ] = False,
    model: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ALIAS", help="Only for this alias, version or base; may be repeated."
        ),
    ] = None,
    json_: Json = False,
) -> None:
    """Make a key: the entry for the key file on standard output, the secret, once, beside it.

    As in: harness serve key support --model prod >> keys.toml
    """
    from harness.jsonio import digest

    if not _KEY_NAME.fullmatch(name):
        raise HarnessError(
            f"{name!r} is no name for a key; accepted: letters, digits, '.', '_', '-', at most 63"
        )
    secret = f"hk-{secrets.token_urlsafe(32)}"
    fields: dict[str, Any] = {"name": name, "sha256": digest(secret.encode())}
    fields |= {"models": model} if model else {}
    fields |= {"admin": True} if admin else {}
    lines = ["[[key]]", *(f"{field} = {json.dumps(value)}" for field, value in fields.items())]
    echo(fields | {"secret": secret}, json_, lines=[*lines, ""])
    if not json_:
        typer.echo(f"secret of {name}, shown this once: {secret}", err=True)


def _choice(recipe: Path | None, base: str | None) -> Choice:
    from harness.recipe import Base, Chat, Compute, Serve
    from harness.serving import Choice

    if recipe and base:
        raise HarnessError("--base and a recipe: the recipe names its base", hint="give one")
    if recipe:
        loaded = load_recipe(recipe, None, commands=("status", "key"))
        chosen = loaded.recipe
        return Choice(chosen.base, chosen.chat, chosen.compute, chosen.serve, loaded.root)
    return Choice(Base(model=base or "pocket"), Chat(), Compute(), Serve(), Path.cwd())


def _welcome(server: Server, choice: Choice, store: Store, log_path: Path | None) -> None:
    """Where it listens, what it serves, and what to type now."""
    from harness.outcome import command_line
    from harness.plan import served_name
    from harness.server import SERVER_KEYS
    from harness.store.aliases import answering

    base, aliases = served_name(choice.base), store.aliases()
    model = next(iter(sorted(aliases)), base)
    closed = choice.serve.keys is not None or not os.environ.keys().isdisjoint(SERVER_KEYS)
    key = ' -H "authorization: Bearer $HARNESS_API_KEY"' if closed else ""
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": "Hello"}]})
    url = f"{server.api_url}/chat/completions"
    say = partial(typer.echo, err=True)  # standard output is the access log's
    say(f"serving  {base} and {len(store.versions())} versions at {server.api_url}")
    for name, what in answering(aliases, store.splits()).items():
        say(f"alias    {name} is {what}")
    say(f"keys     {'needed' if closed else 'none: every caller is an administrator'}")
    say(f"try      curl {url}{key} -H 'content-type: application/json' -d '{body}'")
    chat = command_line("chat", model, "--endpoint", server.base_url, home=store.home)
    say(f"         {chat}")
    if log_path:
        say(f"log      {log_path}")
        say("stop     Ctrl-C")


def _facts(sight: Sight, wrong: list[str]) -> dict[str, Any]:
    replica, found, _ = sight
    own = replica.dump() | {"state": _state(sight), "problems": wrong}
    return own | {"status": found.dump() if found else None}


def _state(sight: Sight) -> str:
    if sight.seen is None:
        return "unknown"
    return "draining" if sight.seen.draining else "up"


def _show(
    sights: Sequence[Sight], wrong: Mapping[str, list[str]], answers: Mapping[str, str]
) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from harness.report.wording import neutral

    console = Console(highlight=False)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("replica", "url", "state", "base", "loaded", "busy", "aliases"):
        table.add_column(column, no_wrap=column not in ("url", "base"), overflow="fold")
    for sight in sights:
        table.add_row(*(Text(neutral(cell)) for cell in _row(sight, wrong[sight.replica.id])))
    console.print(table if sights else "no server is up on this store; start one: harness serve")
    lines = [("", line) for each in sights for line in _held(each)]
    lines += [("", f"alias    {name} is {what}") for name, what in answers.items()]
    lines += [("red", f"wrong    {each}") for sentences in wrong.values() for each in sentences]
    hints = [each.problem.hint for each in sights if each.problem and each.problem.hint]
    lines += [("", f"next     {hint}") for hint in dict.fromkeys(hints)]
    for style, line in lines:
        console.print(Text(line, style=style), soft_wrap=True)


def _row(sight: Sight, wrong: list[str]) -> list[str]:
    replica, found, _ = sight
    if found is None:
        return [replica.id, replica.url, _state(sight), replica.base_name, "", "", ""]
    up_s = (now() - datetime.fromisoformat(replica.started_at)).total_seconds()
    up = f"{up_s / 3600:.1f} h" if up_s >= 3600 else f"{up_s / 60:.0f} min"
    row = [replica.id, replica.url, f"{_state(sight)} {up}", replica.base_name]
    loaded = f"{len(found.loaded)}/{found.max_loaded}"
    return [*row, loaded, str(sum(found.in_flight.values())), "differ" if wrong else "as stored"]


def _held(sight: Sight) -> list[str]:
    """The versions a server holds, and those that it refused a moment ago."""
    from harness.report.wording import neutral

    found = sight.seen
    if found is None:
        return []
    versions = [
        f"{name} ({found.in_flight[name]} in flight)" if name in found.in_flight else name
        for name in found.loaded
    ]
    lines = [f"loaded   {sight.replica.id}: {', '.join(versions)}"] if versions else []
    return lines + [
        neutral(f"refused  {sight.replica.id}: {name}: {why.removeprefix(f'{name}: ')}")
        for name, why in found.refused.items()
    ]
