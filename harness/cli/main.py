"""The entry point: registers the commands and maps every outcome to an exit code.

The only place that exits; the codes are those of harness.errors and of the gate's decision.
"""

from __future__ import annotations

import io
import os
import signal
import sys
import traceback
from types import FrameType

import typer
from typer.exceptions import TyperException

from harness.cli import (  # noqa: F401 - registers the commands
    blaming,
    chat,
    diff,
    evalsets,
    failing,
    gating,
    history,
    judging,
    labelling,
    loop,
    planning,
    records,
    serving,
)
from harness.cli.app import app
from harness.errors import EnvironmentFault, HarnessError, Interrupted

_CRASHED = 70
"""EX_SOFTWARE: a defect of ours, told apart from a failed gate."""
_CUT_OFF = 141
"""What a shell says of a program whose reader went away, as `head` does: no verdict."""
_INTERRUPTED = 130
"""What typer returns for Ctrl-C."""


class _Signals:
    """What this process was told."""

    is_terminated = False


def main() -> None:
    """Entry point; maps every outcome to an exit code of the design."""
    signal.signal(signal.SIGTERM, _terminated)
    _write_anything()
    try:
        code = app(standalone_mode=False)
    except TyperException as error:
        code = _misused(error)
    except HarnessError as error:
        code = fail(error, error.exit_code)
    except OSError as error:
        fault = EnvironmentFault(str(error), hint="is the disk full, read-only, or the path right?")
        code = fail(fault, fault.exit_code)
    except SystemExit as stop:
        if not isinstance(stop.__context__, BrokenPipeError):
            raise
        code = _CUT_OFF
    except Exception as error:
        traceback.print_exc()
        code = fail(HarnessError(f"a defect of harness: {type(error).__name__}: {error}"), _CRASHED)
    if code == _INTERRUPTED and _Signals.is_terminated:
        code = _stopped()
    elif code == _INTERRUPTED:
        fail(HarnessError("interrupted", hint="run the same command to go on"), code)
    sys.exit(code if isinstance(code, int) else 0)


def _misused(error: TyperException) -> int:
    """A command line that is none; a group of commands without one of them shows its help."""
    text, context = error.format_message(), getattr(error, "ctx", None)
    if context and text == context.get_help():
        typer.echo(text, err=True)
        return error.exit_code
    command = context.command_path.rstrip() if context else "harness"
    return fail(HarnessError(text, hint=f"{command} --help"), error.exit_code)


def _terminated(signum: int, frame: FrameType | None) -> None:
    """Within asyncio.run its own handler of Ctrl-C is the way out: an error out of this one would
    end in the midst of some task, which tells its traceback."""
    interrupt = signal.getsignal(signal.SIGINT)
    if callable(interrupt) and interrupt is not signal.default_int_handler:
        _Signals.is_terminated = True
        interrupt(signum, frame)
    else:
        raise SystemExit(_stopped())


def _stopped() -> int:
    error = Interrupted("stopped by SIGTERM", hint="run the same command to go on")
    return fail(error, error.exit_code)


def _write_anything() -> None:
    """A character that standard output cannot encode is written by its code, and is no defect."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def fail(error: HarnessError, code: int) -> int:
    from harness.report.wording import neutral, neutral_json

    if "--json" in sys.argv:
        value = {"status": "error", "error": str(error), "hint": error.hint, "exit_code": code}
        typer.echo(neutral_json(value))
    else:
        colour = None if os.environ.get("NO_COLOR") else "red"
        typer.secho(f"error: {neutral(str(error))}", err=True, fg=colour)
        if error.hint:
            typer.echo(f"next:  {neutral(error.hint)}", err=True)
    return code
