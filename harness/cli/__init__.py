"""The command line: parse, call, print. Data goes to standard output, the rest elsewhere."""

from harness.cli.main import main

__all__ = ["main"]
