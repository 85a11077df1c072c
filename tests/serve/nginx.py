"""A real nginx in front of replicas: this repository's example, at other ports."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

import serve
from tests.serve.live import eventually

EXAMPLE = Path(serve.__file__).parent / "examples" / "nginx.conf"

needs_nginx = pytest.mark.skipif(
    shutil.which("nginx") is None, reason="no nginx; to enable: apt-get install nginx-light"
)


@contextlib.contextmanager
def balanced(urls: Sequence[str], port: int, folder: Path) -> Iterator[str]:
    """nginx at `port` in front of two replicas, for the block; yields its address. What it says
    is in `folder`."""
    folder.mkdir()
    text = EXAMPLE.read_text(encoding="utf-8")
    places = [url.removeprefix("http://") for url in urls] + [f"127.0.0.1:{port}"]
    for example, place in zip((8001, 8002, 8080), places, strict=True):
        found = f"127.0.0.1:{example};", f"127.0.0.1:{example} "
        assert sum(text.count(each) for each in found) == 1, f"{EXAMPLE} has changed"
        text = text.replace(found[0], f"{place};").replace(found[1], f"{place} ")
    (folder / "nginx.conf").write_text(text, encoding="utf-8")
    argv = ["nginx", "-e", "stderr", "-p", str(folder), "-c", str(folder / "nginx.conf")]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(argv, stderr=log)
    try:
        assert eventually(lambda: _listens(port)), (folder / "log").read_text()
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
