"""The access log: one JSON object a line for every answered request, without any content.

Lines go to standard output, where nothing else goes: what the server has to say for itself is on
standard error. Each is written by one system call, so that a line is whole or missing, is there
when the process is killed the next moment, and is never mixed with another. Characters outside
ASCII and control characters are escaped: no name can break a line or reach a terminal. A log that
cannot be written never harms a request.
"""

from __future__ import annotations

import contextlib
import json
import os
from datetime import UTC, datetime

from serve.exchange import Exchange

_STDOUT = 1
_MAX_NAME = 128

_encode = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


def log(exchange: Exchange) -> None:
    """Write the line of a finished request; health checks have none.

    `time` is that of the end, in UTC (RFC 3339); `status` 499: the client left; `asked`: the
    model as named by the client, shortened; null: not known or not applicable.
    """
    if exchange.is_health_check:
        return
    line = _encode(
        {
            "time": f"{datetime.now(UTC).replace(tzinfo=None).isoformat('T', 'milliseconds')}Z",
            "request_id": exchange.request_id,
            "key": exchange.key,
            "method": exchange.method[:_MAX_NAME],
            "path": exchange.path[:_MAX_NAME],
            "asked": exchange.asked and exchange.asked[:_MAX_NAME],
            "alias": exchange.alias,
            "version": exchange.version,
            "status": exchange.outcome,
            "duration_ms": _ms(exchange.duration_s),
            "first_byte_ms": _ms(exchange.first_byte_s),
            "n_prompt_tokens": exchange.n_prompt_tokens,
            "n_completion_tokens": exchange.n_completion_tokens,
            "streamed": exchange.streamed,
        }
    )
    with contextlib.suppress(OSError):
        os.write(_STDOUT, f"{line}\n".encode())


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(1000 * seconds, 3)
