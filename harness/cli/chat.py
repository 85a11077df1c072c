"""`harness chat`: talk with what is served, or with two versions side by side.

On a terminal a session with commands; otherwise one question a line. Everything a model said is
made neutral before it is printed.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.app import Home, Json, app, open_store
from harness.errors import EndpointError, HarnessError, nearest

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from harness.talk import Reply, Talk

_COMMANDS = {
    "/help": "these lines",
    "/clear": "forget what was said",
    "/system": "the instructions that follow; alone: none",
    "/quit": "leave, as does Ctrl-D; Ctrl-C stops an answer",
}
_FRAME_S = 0.05
_NARROW = 72
"""Columns of a terminal in which two answers stand one below the other."""


@app.command()
def chat(
    model: Annotated[str, typer.Argument(metavar="ALIAS", help="Alias, version or base.")],
    with_: Annotated[
        str | None, typer.Option("--with", metavar="OTHER", help="A second one, beside it.")
    ] = None,
    endpoint: Annotated[
        str | None, typer.Option(help="Base URL [default: a server of the store, or port 8000].")
    ] = None,
    system: Annotated[str | None, typer.Option(help="Instructions (system message).")] = None,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="Longest answer.")] = None,
    temperature: Annotated[float | None, typer.Option(min=0.0, help="0: always the same.")] = None,
    message: Annotated[str | None, typer.Option(help="Ask this one question and exit.")] = None,
    home: Home = None,
    json_: Json = False,
) -> None:
    """Talk with a served model in the terminal. The key, if any, is in HARNESS_API_KEY."""
    from harness.talk import Talk, nearest_endpoint

    if message is not None and not message.strip():
        raise HarnessError("--message is empty", hint="harness chat ALIAS --message 'Hello'")
    options = {"max_tokens": max_tokens, "temperature": temperature}
    with Talk(
        endpoint or nearest_endpoint(open_store(home)),
        [model, with_] if with_ else [model],
        system=system,
        options={name: value for name, value in options.items() if value is not None},
    ) as talk:
        if message is not None:
            _answer_lines(talk, [message], json_)
        elif sys.stdin.isatty() and sys.stdout.isatty() and not json_:
            _session(talk)
        else:
            sys.stdin.reconfigure(errors="replace")  # type: ignore[union-attr]
            _answer_lines(talk, sys.stdin, json_)


def _answer_lines(talk: Talk, questions: Iterable[str], as_json: bool) -> None:
    """Every question in turn, answered as plain text or as one JSON object. Raises EndpointError
    for the first answer that failed."""
    for line in questions:
        if not (question := line.strip()):
            continue
        replies = talk.begin(question)
        for reply in replies:
            reply.done.wait()
        talk.keep(question, replies)
        if as_json:  # escaped: a C1 control or a bidi mark would pass through JSON as it is
            turn = {"question": question, "answers": [each.record() for each in replies]}
            typer.echo(json.dumps(turn))
        else:
            _print_plain(replies)
        _raise_failure(replies)


def _print_plain(replies: Sequence[Reply]) -> None:
    from harness.report.wording import neutral

    for reply in replies:
        if len(replies) > 1:
            typer.echo(f"[{reply.caption()}]")
        if reply.text or not reply.error:
            typer.echo(neutral(reply.text))


def _raise_failure(replies: Sequence[Reply]) -> None:
    for reply in replies:
        if reply.error:
            raise reply.error


def _session(talk: Talk) -> None:
    """Until Ctrl-D or /quit. Raises EndpointError when nothing can be asked from the start."""
    import readline  # noqa: F401 - gives input() a line editor and a history

    from rich.console import Console

    from harness.report.wording import one_line

    console = Console(highlight=False)
    standing = talk.require()
    for model, version in standing.items():
        arrow = f" → {one_line(version, 160)}" if version != model else ""
        _dim(console, f"{model}{arrow} at {talk.endpoint}")
    _dim(console, "/help lists the commands")
    sys.stdin.reconfigure(errors="replace")  # type: ignore[union-attr]
    while (line := _read_line(console)) is not None:
        word = line.split(maxsplit=1)[0] if line else ""
        if word == "/quit":
            return
        if re.fullmatch(r"/[a-z]+", word):
            _obey(console, talk, word, line.removeprefix(word).strip())
        elif line:
            _turn(console, talk, line)


def _read_line(console: Console) -> str | None:
    """What was typed; None for Ctrl-D."""
    try:
        return input("› ").strip()
    except KeyboardInterrupt:
        console.print()
        return ""
    except EOFError:
        console.print()
        return None


def _obey(console: Console, talk: Talk, command: str, words: str) -> None:
    if command == "/clear":
        talk.clear()
        _dim(console, "forgotten")
    elif command == "/system":
        talk.system = words or None
        _dim(console, "from the next question on" if words else "no instructions")
    elif command == "/help":
        for name, meaning in _COMMANDS.items():
            _dim(console, f"{name:<8} {meaning}")
    else:
        _dim(console, f"no command {command!r}: {nearest(command, _COMMANDS)}")


def _turn(console: Console, talk: Talk, question: str) -> None:
    """One question and its answers, shown while they are made; Ctrl-C stops them."""
    replies = talk.begin(question)
    try:
        if len(replies) == 1:
            _show_one(console, replies[0])
        else:
            _show_all(console, replies)
    except KeyboardInterrupt:
        pass
    talk.stop(replies)
    if len(replies) == 1:
        console.print()
        _dim(console, replies[0].caption())
    else:
        console.print(_columns(replies, console.width, height=None))
    for error in (each.error for each in replies if each.error):
        _complain(console, error)
    console.print()
    talk.keep(question, replies)


def _show_one(console: Console, reply: Reply) -> None:
    from harness.report.wording import neutral

    n_shown, done = 0, False
    while not done:
        done = reply.done.wait(_FRAME_S)
        text = reply.text
        console.out(neutral(text[n_shown:]), end="", highlight=False)
        n_shown = len(text)


def _show_all(console: Console, replies: Sequence[Reply]) -> None:
    """The ends of the answers, until all are whole. Below them an empty line, for the `^C` that a
    terminal would else write over the right edge."""
    from rich.console import Group
    from rich.live import Live

    with Live(console=console, auto_refresh=False, transient=True) as live:
        while not all(each.done.wait(_FRAME_S) for each in replies):
            rows = max(4, console.height // (1 if console.width >= _NARROW else 2) - 4)
            columns = _columns(replies, console.width, height=rows)
            live.update(Group(columns, ""), refresh=True)


def _columns(replies: Sequence[Reply], width: int, *, height: int | None) -> RenderableType:
    """The answers side by side, or below each other where that would be too narrow; of each the
    last `height` lines, or all of it."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    narrow = width < _NARROW
    inner = width if narrow else (width - 3 * (len(replies) - 1)) // len(replies)
    heads = [Text(each.caption(), style="dim", overflow="fold") for each in replies]
    bodies = [_tail(each.text, inner, height) for each in replies]
    if narrow:
        return Group(*(part for pair in zip(heads, bodies, strict=True) for part in pair))
    table = Table(box=None, show_header=False, padding=(0, 3, 0, 0), pad_edge=False)
    for _ in replies:
        table.add_column(width=inner, overflow="fold")
    table.add_row(*bodies)
    table.add_row(*heads)
    return table


def _tail(text: str, width: int, height: int | None) -> RenderableType:
    from rich.console import Console
    from rich.text import Text

    from harness.report.wording import neutral

    if height is None:
        return Text(neutral(text), overflow="fold")
    part = Text(neutral(text[-width * height :]), overflow="fold")
    lines = part.wrap(Console(width=width), width)
    return Text("\n").join(lines[-height:])


def _dim(console: Console, line: str) -> None:
    from rich.text import Text

    console.print(Text(line, style="dim"), soft_wrap=True)


def _complain(console: Console, error: EndpointError) -> None:
    from rich.text import Text

    hint = f"; {error.hint}" if error.hint else ""
    console.print(Text(f"error: {error}{hint}", style="red"), soft_wrap=True)
