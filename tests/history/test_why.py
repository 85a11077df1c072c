"""Why a version is in production or not, and what to type next."""

from __future__ import annotations

import shutil

import pytest

from harness.errors import StoreError
from harness.history.why import Why, explain
from harness.release.promote import allow, rollback, split
from tests.history.build import FEW, NONE, WORSE, Past
from tests.test_store import publish


def facts(found: Why) -> dict[str, str]:
    return {each.topic: each.sentence for each in found.facts}


def test_it_serves_by_a_decision(past: Past) -> None:
    made = past.round("1", moves=True)
    for name in (made.version, "prod"):
        found = explain(past.store, name)
        assert found.in_production
        since = "2030-01-01 00:00"
        assert found.headline == f"{made.version} is in production: prod serves it since {since}"
        said = facts(found)
        assert said["came by"].startswith(f"prod: on {since} by ")
        assert said["came by"].endswith(f", by decision {made.decision}: PASS, run bot-1")
        assert said["round"] == f"PASS on {since} against pocket, run bot-1, attempt 1"
        assert "a drop larger than 0.20 is ruled out at 95% confidence" in said["rule"]
        assert said["scores"].startswith("4.00 against 4.00, difference 0.00 (bound −")
        assert said["made of"] == "recipe bot@r, data d (1 row)"
    assert "history --alias prod" in found.next_command


def test_it_serves_in_spite_of_the_gate(past: Past) -> None:
    one = past.round("1", moves=True)
    two = past.round("2", WORSE, baseline=one.version)
    past.promote(two.version, override="customer demo,\x1b[2J INC-42")
    found = explain(past.store, two.version)
    [loud] = [each.sentence for each in found.facts if each.is_loud]
    assert loud.startswith("prod: OVERRIDE on 2030-01-01 02:00 by ")
    assert "customer demo,⟨U+001B⟩[2J INC-42" in loud
    assert f"in spite of decision {two.decision}: FAIL, run bot-2" in loud
    assert facts(found)["round"].startswith("FAIL")
    assert "rollback prod" in found.next_command
    assert found.next_does == f"back to {one.version}"


def test_an_override_without_any_decision(past: Past) -> None:
    version = publish(past.store)
    past.promote(version, override="judged elsewhere")
    [loud] = [each.sentence for each in explain(past.store, version).facts if each.is_loud]
    assert loud.endswith("judged elsewhere (without a decision)")


def test_it_was_replaced(past: Past) -> None:
    one = past.round("1", moves=True)
    two = past.round("2", baseline=one.version, moves=True)
    found = explain(past.store, one.version)
    assert not found.in_production
    served = "prod served it from 2030-01-01 00:00 to 2030-01-01 01:00"
    assert found.headline == f"{one.version} is not in production: {served}"
    replaced = facts(found)["replaced"]
    assert replaced.startswith(f"by {two.version}: on 2030-01-01 01:00 by ")
    assert f"by decision {two.decision}: PASS" in replaced
    assert "history --alias prod" in found.next_command


def test_it_was_rolled_back(past: Past) -> None:
    one = past.round("1", moves=True)
    two = past.round("2", baseline=one.version, moves=True)
    rollback(past.store, "prod", past.now())
    found = explain(past.store, two.version)
    replaced = next(each for each in found.facts if each.topic == "replaced")
    assert replaced.is_loud
    assert replaced.sentence.startswith(f"by {one.version}: ROLLBACK on 2030-01-01 02:00 by ")
    assert "promote" not in found.next_command
    assert explain(past.store, one.version).in_production


def test_it_is_on_trial(past: Past) -> None:
    one = past.round("1", moves=True)
    two = past.round("2", baseline=one.version)
    leave = {two.version: allow(past.store, two.version, alias="prod")}
    split(past.store, "prod", {one.version: 90, two.version: 10}, leave, at=past.now())
    found = explain(past.store, two.version)
    assert "prod gives it 10 % of its requests since 2030-01-01 02:00" in found.headline
    assert f"decision {two.decision}: PASS, run bot-2" in facts(found)["came by"]
    assert f"promote {two.version} --alias prod" in found.next_command


@pytest.mark.parametrize(
    ("scores", "word", "rule", "command"),
    [
        (WORSE, "FAIL", "a drop is shown", "failures bot-2"),
        (FEW, "INCONCLUSIVE", "cannot be ruled out", "report bot-2"),
        (NONE, "UNTRUSTED", "missing or unscored", "gate bot-2"),
    ],
)
def test_the_gate_never_let_it_through(
    past: Past, scores: tuple[list[int], list[int]], word: str, rule: str, command: str
) -> None:
    one = past.round("1", moves=True)
    two = past.round("2", scores, baseline=one.version)
    found = explain(past.store, two.version)
    assert found.headline == f"{two.version} is not in production: no alias has served it"
    assert facts(found)["round"].startswith(f"{word} on ")
    assert rule in facts(found)["rule"]
    assert command in found.next_command


def test_it_passed_and_nobody_promoted_it(past: Past) -> None:
    one = past.round("1", moves=True)
    two, three = (past.round(each, baseline=one.version) for each in "23")
    assert f"promote {two.version} --alias prod" in explain(past.store, two.version).next_command
    past.promote(three.version)
    assert "gate bot-2 --against prod" in explain(past.store, two.version).next_command


def test_more_rounds_about_it_are_named(past: Past) -> None:
    one = past.round("1", moves=True)
    for number in range(5):
        past.attempt(f"again-{number}", one.version)
    found = explain(past.store, one.version)
    assert facts(found)["round"].startswith("PASS")
    also = [each.sentence for each in found.facts if each.topic == "also"]
    assert also[0].startswith("OPEN on 2030-01-01 05:00")
    assert also[-1] == "2 earlier rounds"


def test_after_a_rollback_the_decision_that_let_it_in_is_shown(past: Past) -> None:
    one = past.round("1", moves=True)
    past.round("2", baseline=one.version, moves=True)
    rollback(past.store, "prod", past.now())
    past.attempt("again", one.version)
    found = explain(past.store, one.version)
    assert facts(found)["came by"].startswith("prod: ROLLBACK on 2030-01-01 02:00 by ")
    assert facts(found)["round"].startswith("PASS on 2030-01-01 00:00")


def test_it_was_never_judged(past: Past) -> None:
    version = publish(past.store)
    found = explain(past.store, version)
    assert found.headline == f"{version} is not in production: no gate has decided about it"
    assert f"eval RECIPE --candidate {version}" in found.next_command


def test_its_files_are_gone(past: Past) -> None:
    made = past.round("1")
    shutil.rmtree(past.store.version_dir(made.version))
    found = explain(past.store, made.version)
    assert facts(found)["lost"] == "its files are not in the store"
    assert facts(found)["made of"].startswith("recipe bot@r")


def test_the_log_of_aliases_is_gone(past: Past) -> None:
    made = past.round("1", moves=True)
    past.store.log_path.unlink()
    found = explain(past.store, made.version)
    assert found.in_production
    assert found.headline.endswith("prod serves it since an unknown time")
    assert facts(found)["came by"] == "prod: the log has no line of it"


def test_an_unknown_name_offers_the_nearest(past: Past) -> None:
    made = past.round("1", moves=True)
    near = made.version[:-1] + ("0" if made.version[-1] != "0" else "1")
    with pytest.raises(StoreError, match=f"did you mean '{made.version}'"):
        explain(past.store, near)
    with pytest.raises(StoreError, match="did you mean 'prod'"):
        explain(past.store, "prd")
