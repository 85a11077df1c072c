from __future__ import annotations

import pytest

from harness.report import cost
from harness.report.html import render_html
from tests.report.factory import make_record, with_account, with_others
from tests.report.words import words


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (9.99, "10 s"),
        (59.7, "1 min 00 s"),
        (72, "1 min 12 s"),
        (3599.7, "1 h 00 min"),
        (3900, "1 h 05 min"),
    ],
)
def test_durations(seconds: float, shown: str) -> None:
    assert cost.duration(seconds) == shown


def test_stages_are_on_one_scale_and_in_order() -> None:
    record = with_account(make_record())
    check, train, generate, last = cost.stages(record)
    assert (generate.width, check.width, last.width) == (100, 2, 0)
    assert train.skipped
    assert train.took == "done before"
    assert train.summary == "in the store already; it took 37 s then"
    assert cost.total(record) == "1 min 16 s"


def test_where_the_server_stood_is_not_told() -> None:
    record = with_account(make_record())
    stage = record.stages[0].model_copy(
        update={"name": "serve", "summary": "vLLM at http://10.1.2.3:8000"}
    )
    page = render_html(record.model_copy(update={"stages": (stage,)}))
    assert "10.1.2.3" not in page
    assert "the server starts" in page


def test_tokens_are_summed_for_every_side() -> None:
    record = with_account(make_record())
    lines = cost.asked(record)
    assert [each.who for each in lines] == ["candidate", "baseline", "base", "judge"]
    assert lines[0].n == "60 answers"
    assert lines[0].prompt_tokens == f"{60 * 41:,}"
    assert (lines[-1].n, lines[-1].money) == ("131 calls", "0.0123")
    assert cost.asked(make_record())[-1].who == "base"


def test_the_page_tells_it_and_an_old_record_has_no_stages() -> None:
    page = words(render_html(with_account(with_others(make_record(), "few-shot"))))
    assert "1 min 16 s in all" in page
    assert "131 calls 20,000 9,000 0.0123" in page
    old = words(render_html(make_record()))
    assert "in all Stage" not in old
    assert "Calls and tokens" in old
