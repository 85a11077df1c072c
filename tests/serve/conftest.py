"""The real server, for the tests of this folder; see tests/serve/live.py for sharing it wider."""

from __future__ import annotations

from tests.serve.live import live as live
