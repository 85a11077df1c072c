from __future__ import annotations

import re

from harness.report.html import render_html
from harness.report.winners import TO_BASELINE, won
from harness.types import Item, Message
from tests.report.factory import make_record, make_uncompared_record, with_comparison


def test_every_item_is_counted_once_in_the_picture() -> None:
    record = make_record()
    assert record.comparison
    overall, *slices = won(record)
    generate = next(each for each in slices if each.name == "generate")
    assert overall.counts["lost"].n == record.comparison.overall.difference.n_lost
    assert overall.counts["gained"].n == record.comparison.overall.difference.n_gained
    for flip, cell in overall.counts.items():
        assert cell.n == sum(each.counts[flip].n for each in slices)
    assert generate.counts["lost"].href == "#flip=lost&slice=generate"
    assert overall.counts["lost"].href == "#flip=lost"
    widths = {bar.flip: bar.width for bar in generate.bars}
    # All of it went to the baseline, the widest share there is.
    assert sum(widths[flip] for flip in TO_BASELINE) == 50
    assert all(0 <= bar.x <= bar.x + bar.width <= 100.01 for each in (overall, *slices)
               for bar in each.bars)  # fmt: skip


def test_items_that_were_not_judged_are_counted_apart() -> None:
    record = make_record()
    assert record.comparison
    record = with_comparison(record, pairs=record.comparison.pairs[1:])
    assert won(record)[0].counts["unjudged"].n == 1
    assert "Not judged" in render_html(record)


def test_a_slice_may_have_any_name() -> None:
    record = make_record()
    assert record.comparison
    item = Item(
        messages=(Message(role="user", content="?"),), tags={"type": "overall"}, id="a" * 12
    )
    named = record.comparison.slices[0].model_copy(update={"name": "overall"})
    record = with_comparison(record, slices=(named,)).model_copy(update={"items": (item,)})
    overall, own = won(record)
    assert overall.counts["unjudged"].href == "#flip=unjudged"
    assert own.counts["unjudged"].href == "#flip=unjudged&slice=overall"


def test_counts_are_links_and_none_is_not() -> None:
    html = render_html(make_record())
    links = re.findall(r'<a href="(#flip=[^"]*)"[^>]*>(\d+)</a>', html)
    assert ("#flip=lost&amp;slice=generate", "18") in links or any(
        href == "#flip=lost&amp;slice=generate" for href, _ in links
    )
    assert all(int(n) for _, n in links)
    assert won(make_uncompared_record()) == []
