"""How long the pocket evalset takes: our token-id batches beside one chat request a prompt.

    .venv/bin/python benchmarks/generate.py [--rounds 5]

Both ways ask the same server, in turns, so that the machine's other work falls on both; every
round asks prompts that differ in one trailing space, so that no prefix cache helps the second.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from harness.chat.template import ChatTokenizer
from harness.evaluation.client import Client, all_of
from harness.pocket import BASE_DIR
from harness.pocket.rows import heldout_items
from harness.server import ServerSpec, running
from harness.types import Message

TOKENS = 32
BATCH = 64


async def by_ids(client: Client, chat: ChatTokenizer, chats: list[list[Message]]) -> None:
    prompts = [chat.prompt_ids(messages) for messages in chats]
    options = {"max_tokens": TOKENS, "temperature": 0, "extra_body": {"ignore_eos": True}}
    starts = range(0, len(prompts), BATCH)
    await all_of(
        client.complete("pocket", prompts[start : start + BATCH], **options) for start in starts
    )


async def by_chat(client: Client, chat: ChatTokenizer, chats: list[list[Message]]) -> None:
    options = {"max_tokens": TOKENS, "temperature": 0, "extra_body": {"ignore_eos": True}}
    await all_of(client.chat("pocket", messages, **options) for messages in chats)


async def measure(url: str, rounds: int) -> dict[str, list[float]]:
    chat = ChatTokenizer(BASE_DIR)
    questions = [item["messages"][0]["content"] for item in heldout_items()]
    ways: dict[str, Callable[..., Awaitable[None]]] = {"token ids": by_ids, "chat": by_chat}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    async with Client(url, concurrency=BATCH) as client:
        for turn in range(rounds + 1):
            for place, (name, way) in enumerate(ways.items()):
                mark = " " * (2 * turn + place)
                chats = [[Message(role="user", content=mark + text)] for text in questions]
                started = time.perf_counter()
                await way(client, chat, chats)
                if turn:  # the first turn warms both ways up
                    seconds[name].append(time.perf_counter() - started)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        spec = ServerSpec(home=Path(folder), base_dir=BASE_DIR, base_name="pocket")
        with running(spec, log_path=Path(folder) / "server.log") as server:
            seconds = asyncio.run(measure(server.base_url, rounds))
    n = len(heldout_items())
    for name, values in seconds.items():
        middle = statistics.median(values)
        print(
            f"{name:<10} {middle:6.2f} s (from {min(values):.2f} to {max(values):.2f}) "
            f"{n / middle:7.0f} prompts/s"
        )
    ids, chats = (statistics.median(values) for values in seconds.values())
    print(f"chat / token ids: {chats / ids:.1f}")


if __name__ == "__main__":
    main()
