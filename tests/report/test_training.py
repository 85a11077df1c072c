from __future__ import annotations

import pytest

from harness.report import training
from harness.report.html import render_html
from harness.types import CurvePoint, DataReport, Training
from tests.report.factory import make_record, with_account
from tests.report.words import words


def made(*losses: float, last: int | None = None) -> Training:
    record = with_account(make_record())
    assert record.training
    points = tuple(
        CurvePoint(step=place * 10, loss=loss, lr=0.001, tokens_per_s=None)
        for place, loss in enumerate(losses, 1)
    )
    return record.training.model_copy(update={"curve": points, "n_steps": last or 10 * len(losses)})


def test_the_curve_spans_the_plot() -> None:
    curve = training.curve(made(2.0, 1.0, 0.5))
    assert curve
    assert curve.loss == "33.33,0.00 66.67,50.00 100.00,75.00"
    assert [each.label for each in curve.y_ticks] == ["0", "0.5", "1", "1.5", "2"]
    assert curve.y_ticks[0].at == 100
    assert curve.y_ticks[-1].at == 0
    assert curve.description.startswith("Loss over 30 steps: 2.00 at step 10, 0.50 at the end")


@pytest.mark.parametrize("losses", [(1e-9, 2e-9), (0.0, 0.0), (-1.0, -2.0), (1e30, 1.0), (7.3, 2)])
def test_no_loss_leaves_the_plot_without_an_axis(losses: tuple[float, ...]) -> None:
    curve = training.curve(made(*losses))
    assert curve
    assert 2 <= len(curve.y_ticks) <= 7
    assert all(0 <= each.at <= 100 for each in curve.y_ticks)
    assert len({each.label for each in curve.y_ticks}) == len(curve.y_ticks)


def test_a_point_is_no_curve() -> None:
    assert training.curve(made(1.0)) is None


def test_the_flow_names_what_concerned_any_example() -> None:
    data = DataReport(
        counts={"n_examples": 90, "n_skipped": 10, "n_held_out": 5, "n_removed": 0, "n_rows": 85},
        sources=(),
    )
    found = [(each.words, each.n, each.width) for each in training.flow(data)]
    assert found == [
        ("read", 100, 100),
        ("could not be read", 10, 10),
        ("kept out of training", 5, 5),
        ("trained on", 85, 85),
    ]


def test_a_source_that_is_taken_twice_fits_the_picture() -> None:
    data = DataReport(counts={"n_examples": 100, "n_rows": 200}, sources=())
    assert [each.width for each in training.flow(data)] == [50, 100]


def test_the_method_is_told_in_words() -> None:
    found = dict(training.method(with_account(make_record(), "q_proj")))
    assert found["LoRA"] == "rank 16, alpha 32, on q_proj, dropout 0.05"
    assert found["Steps"] == "240 of 32 rows: each row about 5.1 times"
    assert found["Speed"] == "185,957 tokens read in 37 s, 5,053 a second"
    bare = dict(training.method(make_record()))
    assert bare["Steps"] == "240 on 1,500 rows"


def test_the_page_shows_data_and_curve_and_says_where_there_is_none() -> None:
    html = render_html(with_account(make_record()))
    assert "<polyline" in html
    page = words(html)
    for each in (
        "1,505 read",
        "3 could not be read",
        "2 too long and left out",
        "1,500 trained on",
    ):
        assert each in page
    old = words(render_html(make_record()))
    assert "No training curve" in old
    assert "What became of the examples" not in old
