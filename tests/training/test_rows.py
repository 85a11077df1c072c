"""The table gives back exactly what was put in, and counts it without unpacking."""

from __future__ import annotations

from array import array

from harness.chat.encode import IGNORED, Row
from harness.training.reading.example import Example
from harness.training.rows import Rows, RowTable
from harness.types import Message

USER = Message(role="user", content="Colour of Mara's hat?\n🙂")
RED = Message(role="assistant", content="Red.", reasoning="Mara wears red.")
BLUE = Message(role="assistant", content="Blue.")
TOOL = {"type": "function", "function": {"name": "look"}}


def row(n_prompt: int, ids: tuple[int, ...], n_messages: int = 1, **more: object) -> Row:
    return Row(
        input_ids=ids,
        labels=(IGNORED,) * n_prompt + ids[n_prompt:],
        source=f"rows.jsonl:3 turn {n_messages // 2 + 1}",
        messages=(USER, RED, USER)[:n_messages],
        n_prompt=n_prompt,
        **more,  # type: ignore[arg-type]
    )


def test_rows_come_back_as_they_were() -> None:
    table = RowTable()
    chat = Example((USER, RED, USER, BLUE), "rows.jsonl:3", untrained=frozenset({1}), type="qa")
    turns = [row(3, (5, 6, 7, 8, 2)), row(4, (5, 6, 7, 8, 9, 2), 3)]
    table.append(chat, turns)
    pair = Example((USER, RED), "rows.jsonl:3", tools=(TOOL,), rejected=BLUE)
    preference = row(2, (1, 2, 3), rejected=(9, 9, 9, 2), tools=(TOOL,))
    table.append(pair, [preference])
    bad = Example((USER, RED), "rows.jsonl:3", desirable=False)
    table.append(bad, [row(2, (1, 2, 3), desirable=False)])
    assert [table.row(i) for i in range(4)] == [*turns, preference, bad_row(table)]
    assert [table.example(i) for i in range(3)] == [chat, pair, bad]
    assert [list(table.rows_of(i)) for i in range(3)] == [[0, 1], [2], [3]]


def bad_row(table: RowTable) -> Row:
    found = table.row(3)
    assert found.desirable is False
    return found


def test_lengths_count_both_answers() -> None:
    table = RowTable()
    table.append(Example((USER, RED), "a:1"), [row(3, (5, 6, 7, 8, 2))])
    table.append(Example((USER, RED), "a:2"), [row(2, (1, 2, 3), rejected=(9, 9, 9, 2))])
    assert [table.length(i) for i in range(2)] == [5, 6]
    assert [table.n_tokens(i) for i in range(2)] == [5, 3 + 6]
    assert [table.n_trained(i) for i in range(2)] == [2, 1 + 4]


def test_a_masked_turn_within_a_row_stays_masked() -> None:
    table = RowTable()
    masked = row(2, (1, 2, 3, 4, 5))._replace(labels=(IGNORED, IGNORED, 3, IGNORED, 5))
    table.append(Example((USER, RED), "rows.jsonl:3"), [masked])
    assert table.row(0).labels == masked.labels
    assert table.n_trained(0) == 2


def test_digest_sees_every_part_and_the_order() -> None:
    rows = [
        row(2, (1, 2, 3)),
        row(1, (1, 2, 3)),
        row(2, (1, 2, 4)),
        row(2, (1, 2, 3), rejected=(4,)),
        row(2, (1, 2, 3), rejected=(5,)),
        row(2, (1, 2, 3), desirable=True),
        row(2, (1, 2, 3), desirable=False),
    ]
    table = RowTable()
    table.append(Example((USER, RED), "rows.jsonl:3"), rows)
    digests = {Rows(table, array("q", [i])).digest() for i in range(len(rows))}
    assert len(digests) == len(rows)
    forward, backward = Rows(table, array("q", [0, 2])), Rows(table, array("q", [2, 0]))
    assert forward.digest() != backward.digest()
    assert [each.source for each in forward[1:]] == [backward[0].source]
