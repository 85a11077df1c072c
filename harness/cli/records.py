"""Commands on what the store holds: pages, versions and aliases. The only models that run are those
of servers that are up already."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.app import Home, Json, Quiet, alias_app, app, echo, find_run, now, open_store
from harness.errors import HarnessError

if TYPE_CHECKING:
    from harness.progress import Reporter
    from harness.rollout import Rollout
    from harness.store import AliasChange, Store

Override = Annotated[
    str | None,
    typer.Option(help="Why to do it without a passing decision; recorded with user and time."),
]


@app.command()
def report(
    run: Annotated[
        str | None,
        typer.Argument(metavar="RUN", help="Run directory, or a run's name in the store."),
    ] = None,
    index: Annotated[
        bool, typer.Option("--index", help="The page of all rounds of the store.")
    ] = False,
    home: Home = None,
    json_: Json = False,
) -> None:
    """Write a run's pages again from its records, or the page of all rounds."""
    from harness.history.page import write_index
    from harness.outcome import report_again

    if run is None and not index:
        raise HarnessError("report: name a RUN, or --index for all of them", hint="harness history")
    store = open_store(home)
    written = dict[str, str]()
    if run is not None:
        written["report"] = str(report_again(find_run(run, store)))
    if index:
        written["index"] = str(write_index(store))
    echo(written, json_, lines=[*written.values()])


@app.command("serve-reports")
def serve_reports(
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port on 127.0.0.1; 0 takes a free one.")
    ] = 8010,
    home: Home = None,
    json_: Json = False,
) -> None:
    """Show the page of all rounds and every report in a browser of this machine."""
    import signal

    from harness.history.page import write_index
    from harness.report.local import show

    def announce(url: str) -> None:
        text = f"reports at {url}   (only on this machine; Ctrl-C ends)"
        echo({"url": url, "index": str(index_path)}, json_, lines=[text])

    index_path = write_index(open_store(home))
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt):  # how it is left
        show(index_path.parent, port, announce)


@app.command()
def promote(
    version: Annotated[str, typer.Argument(help="name@digest")],
    alias: Annotated[str, typer.Option(help="Alias to move.")],
    override: Override = None,
    home: Home = None,
    json_: Json = False,
    quiet: Quiet = False,
) -> None:
    """Point an alias at a version that has a passing decision and is proven on every server."""
    from harness import rollout

    store = open_store(home)
    version, at = store.resolve(version), now().isoformat(timespec="seconds")
    with _told_to_all(store, quiet) as reporter:
        done = rollout.promote(store, version, reporter, alias=alias, at=at, override=override)
    _show(done, json_, quiet)


@app.command()
def rollback(
    alias: Annotated[str, typer.Argument(help="Alias to move back.")],
    home: Home = None,
    json_: Json = False,
    quiet: Quiet = False,
) -> None:
    """Point an alias back at what it served before, or end its split, at once."""
    from harness import rollout

    store, at = open_store(home), now().isoformat(timespec="seconds")
    with _told_to_all(store, quiet) as reporter:
        done = rollout.rollback(store, alias, reporter, at=at)
    _show(done, json_, quiet)


@alias_app.command("split")
def alias_split(
    shares: Annotated[
        str, typer.Argument(metavar="ALIAS=V:WEIGHT,V:WEIGHT", help="As in prod=bot@…:90,bot@…:10.")
    ],
    override: Override = None,
    home: Home = None,
    json_: Json = False,
    quiet: Quiet = False,
) -> None:
    """Divide an alias's requests among versions, each user always getting the same one."""
    from harness import rollout

    store, at = open_store(home), now().isoformat(timespec="seconds")
    alias, wanted = _shares(store, shares)
    with _told_to_all(store, quiet) as reporter:
        done = rollout.split(store, alias, wanted, reporter, at=at, override=override)
    _show(done, json_, quiet)


@alias_app.command("list")
def alias_list(home: Home = None, json_: Json = False) -> None:
    """Every alias and the version, or versions, that answer it."""
    from harness.store.aliases import answering

    store = open_store(home)
    aliases, splits = store.aliases(), store.splits()
    width = max(map(len, aliases), default=0)
    lines = [f"{name:<{width}}  {what}" for name, what in answering(aliases, splits).items()]
    echo({"aliases": aliases, "splits": splits}, json_, lines=lines)


@alias_app.command("history")
def alias_history(
    alias: Annotated[str, typer.Argument(help="Alias.")], home: Home = None, json_: Json = False
) -> None:
    """Every change of an alias, oldest first: when, what, who and why."""
    store = open_store(home)
    changes, damaged = store.history(alias)
    if not changes:
        store.resolve(alias)
    moves = [each.dump() for each in changes]
    lines = [line for each in changes for line in _told(each)]
    lines += [f"line {number} of {store.log_path} cannot be read" for number in damaged]
    echo({"alias": alias, "moves": moves, "damaged_lines": damaged}, json_, lines=lines)


@app.command()
def versions(home: Home = None, json_: Json = False) -> None:
    """Every adapter version in the store."""
    found = open_store(home).versions()
    echo({"versions": found}, json_, lines=found)


@contextlib.contextmanager
def _told_to_all(store: Store, quiet: bool) -> Iterator[Reporter]:
    """For a change of an alias: afterwards the page of all rounds shows it, also where some server
    has not seen it in time."""
    from harness.pipeline import tell_all
    from harness.progress import Reporter

    n_changes = len(store.history().changes)
    with Reporter(quiet=quiet) as reporter:
        try:
            yield reporter
        finally:
            if len(store.history().changes) > n_changes:
                tell_all(store, reporter)


def _shares(store: Store, text: str) -> tuple[str, dict[str, int]]:
    """prod=a:90,b:10 → its alias, and version → weight."""
    alias, _, parts = text.partition("=")
    shares: dict[str, int] = {}
    for part in parts.split(","):
        name, _, weight = part.strip().rpartition(":")
        if not (alias and name and weight.isascii() and weight.isdigit()):
            raise HarnessError(
                f"{text!r}: not a split; accepted: ALIAS=VERSION:WEIGHT,VERSION:WEIGHT",
                hint="as in prod=bot@0123456789ab:90,bot@456789abcdef:10; harness versions",
            )
        version = store.resolve(name)
        if version in shares:
            raise HarnessError(f"{text!r}: {version} is in it twice")
        shares[version] = int(weight)
    return alias, shares


def _told(change: AliasChange) -> list[str]:
    """A change in one line, and a second one for an override."""
    from harness.store.aliases import shares_text

    what = f"{change.previous or '-'} → {change.version}"
    if change.split:
        what = f"split: {shares_text(change.split)}"
    elif change.previous == change.version:
        what = f"split ends: {change.version}"
    if change.goes_back():
        what += "  rollback"
    decided = [change.decision] if change.decision else list(change.decisions.values())
    why = f"  by decision {', '.join(decided)}" if decided and not change.override else ""
    lines = [f"{change.at}  {change.by or 'unknown user'}  {what}{why}"]
    if change.override and not change.goes_back():
        lines.append(f"  OVERRIDE: {' '.join(change.override.split())}")
    return lines


def _show(done: Rollout, as_json: bool, quiet: bool) -> None:
    from harness.rollout import describe
    from harness.store.aliases import shares_text

    value = done.change.dump()
    shown = {key: each for key, each in value.items() if each is not None}
    if done.change.split:
        shown["split"] = shares_text(done.change.split)
    lines = [f"{key:<18} {each}" for key, each in shown.items()]
    lines += [f"{'left out':<18} {each.label}: its base is another" for each in done.others]
    replicas = [each.dump() for each in done.replicas]
    others = [each.dump() for each in done.others]
    value |= {"replicas": replicas, "others": others}
    echo(value, as_json, lines=[describe(done.change)] if quiet else lines)
