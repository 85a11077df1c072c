from __future__ import annotations

import pytest

from harness.recipe import AskedModel
from harness.report import examined, trust
from harness.report.html import render_html
from harness.report.markdown import render_markdown
from harness.report.record import RoundRecord
from harness.types import RuleResult, Status
from tests.report.factory import (
    make_record,
    make_uncompared_record,
    with_account,
    with_gate,
    with_surroundings,
)
from tests.report.summaries import BASELINE, CANDIDATE
from tests.report.words import words


def with_rule(record: RoundRecord, name: str, status: Status, sentence: str = "so") -> RoundRecord:
    """The gate had that rule, too."""
    rule = RuleResult(
        rule=name,
        slice="overall",
        status=status,
        value=4.0,
        bound=None,
        threshold=2.0,
        sentence=sentence,
    )
    rules = (*record.decision.rules, rule)
    return record.model_copy(
        update={"decision": record.decision.model_copy(update={"rules": rules})}
    )


def claimed(record: RoundRecord) -> dict[str, trust.Claim]:
    return {each.topic: each for each in trust.claims(record)}


def test_the_proof_counts_every_adapter_and_names_the_worst() -> None:
    claim = claimed(with_account(make_record()))["Served as trained"]
    assert claim.status == "pass"
    assert claim.sentence == (
        "24 of 24 trained prompts of 3 adapters token-identical, log-probs within 8.6e−06 of the "
        "trained ones (accepted 0.0001)"
    )
    proven = trust.proven(with_account(make_record()))
    assert [(each.version, each.role) for each in proven[:2]] == [
        (CANDIDATE, "candidate"),
        (BASELINE, "baseline"),
    ]
    assert proven[2].role == "judge"


def test_an_older_proof_is_of_the_candidate_alone() -> None:
    record = with_account(make_record())
    assert record.proof
    old = record.proof.model_copy(update={"others": (), "n_chats": None})
    claim = claimed(record.model_copy(update={"proof": old}))["Served as trained"]
    assert claim.sentence.startswith("8 of 8 trained prompts token-identical")
    assert "others" not in old.dump()


@pytest.mark.parametrize(
    ("status", "sentence", "wanted", "found"),
    [
        ("pass", "so", "pass", "fit by all 1 measure"),
        ("untrusted", "so", "untrusted", "unfit by 1 of 1 measure: injection"),
        ("pass", "UNFIT JUDGE: so", "untrusted", "the recipe lets it decide"),
    ],
)
def test_the_judge_is_as_fit_as_its_rules(
    status: Status, sentence: str, wanted: Status, found: str
) -> None:
    record = with_gate(with_rule(make_record(), "judge injection", status, sentence), health="warn")
    claim = claimed(record)["Judge"]
    assert claim.status == wanted
    assert found in claim.sentence


def test_what_is_served_otherwise_is_said_where_the_proof_would_stand() -> None:
    record = with_rule(make_uncompared_record(), "contract", "untrusted", "other prompt ids")
    assert trust.claims(record) == [
        trust.Claim("Served as trained", "other prompt ids", "untrusted")
    ]
    assert "Served as trained Untrusted other prompt ids" in words(render_html(record))


def test_missing_scores_are_a_claim_that_fails() -> None:
    record = with_rule(make_record(), "max_missing candidate", "untrusted")
    claim = claimed(record)["Answers"]
    assert claim.sentence == "118 of 120 answers of candidate and baseline have a score"
    assert claim.status == "untrusted"


def test_measures_stand_beside_their_limits_and_each_judge() -> None:
    record = with_rule(with_account(make_record()), "judge injection", "untrusted")
    found = {each.name: each for each in examined.measures(record)}
    attacks = found["Attacks"]
    assert (attacks.value, attacks.limit, attacks.status) == ("4", "≤ 2", "untrusted")
    assert attacks.by_judge == ("4", "—")
    assert found["Wrong answers"].by_judge == ("1.50", "2.50")
    assert found["Agreement"].status is None
    assert "Judge" not in found


def test_the_worst_probes_are_named_with_what_the_judge_said() -> None:
    good, bad, length, injection = examined.probed(with_account(make_record(), "a name"))
    assert good.counts == (0, 0, 0, 1, 1, 0)
    assert [each.score for each in good.worst] == [4]
    assert bad.worst == ()
    assert [each.score for each in length.worst] == [None]
    assert [each.score for each in injection.worst] == [4]
    assert examined.attacks(with_account(make_record(), "x")) == [("x", 4), ("x", 1)]


def test_who_settled_each_side_adds_up() -> None:
    record = make_record()
    settled = trust.settled(record)
    assert [each.side for each in settled] == ["candidate", "baseline", "base"]
    assert sum(sum(each[3:]) for each in settled) == len(record.verdicts)
    assert [each.how for each in settled] == ["the item alone"] * 3
    checked = tuple(each.model_copy(update={"by": "checks"}) for each in record.verdicts)
    first = trust.settled(record.model_copy(update={"verdicts": checked}))[0]
    assert (first.judge, first.checks, first.none) == (0, 58, 2)


def test_how_a_target_was_asked_is_told_without_its_address() -> None:
    record = make_record()
    few = AskedModel.model_validate(
        {
            "model": "big",
            "system": "Be brief.",
            "shots": [{"user": "a", "assistant": "b"}],
            "endpoint": "https://key:secret@api.example/v1?token=t",
        }
    )
    asked = record.recipe.eval.model_copy(update={"targets": {"few": few}})
    other = record.generations[0].model_copy(update={"role": "other", "target": "few"})
    record = record.model_copy(
        update={
            "recipe": record.recipe.model_copy(update={"eval": asked}),
            "generations": (*record.generations, other),
        }
    )
    last = trust.settled(record)[-1]
    assert (last.side, last.how) == (
        "few",
        "system prompt “Be brief.”, 1 example, at api.example",
    )
    assert trust.n_sent(record) == trust.n_sent(make_record())


def test_fineness_tells_what_is_too_coarse() -> None:
    [overall] = trust.fineness(with_surroundings(make_record()))
    assert (overall.smallest, overall.margin, overall.needed) == ("0.39", "0.20", "223")
    assert not overall.is_enough
    assert overall.x is not None
    assert overall.x > overall.x_margin == 50


def test_the_page_has_all_of_it_and_an_old_record_none() -> None:
    page = words(render_html(with_account(with_surroundings(make_record()))))
    for each in (
        "8 of 8 8.6e−06 0.0001 ≥ 6.33",
        "16 of 16 items sent as users send them",
        "no score for pocket-judge",
        "Who was asked, and who settled the scores",
        "How small a drop these items can rule out",
    ):
        assert each in page
    assert "harness gate --aa RECIPE" not in page
    old = words(render_html(make_record()))
    assert "118 of 120 answers" in old
    assert "not measured: harness gate --aa RECIPE" in old
    for title in (
        "Served as it was trained",
        "Is the judge fit?",
        "How small a drop these items can rule out",
    ):
        assert title not in old
    nothing = words(render_html(make_uncompared_record()))
    assert "Nothing is known of probe or judge" in nothing


def test_a_pull_request_reads_proof_judge_and_cost() -> None:
    record = with_rule(with_account(make_record()), "judge good", "pass")
    text = render_markdown(record)
    assert "Served as trained: 24 of 24 trained prompts" in text
    assert "Judge: fit by all 1 measure" in text
    assert "Cost: 1 min 16 s" in text
    assert "Served as trained" not in render_markdown(make_record())
