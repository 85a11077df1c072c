"""Why a version is in production or is not, in a few lines, and the command to type next."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from harness.errors import StoreError, nearest
from harness.history.rounds import Chronicle, Round, chronicle
from harness.history.stays import Stay, stays
from harness.history.words import change_words, round_words, rule_words, scores_words, when
from harness.outcome import command_line
from harness.report.wording import plural
from harness.store import Store

_MAX_OTHERS = 3
"""Further rounds of a version that are named, the newest."""


class Fact(NamedTuple):
    """One line."""

    topic: str
    sentence: str
    is_loud: bool = False


class Why(NamedTuple):
    """The answer for one version."""

    version: str
    in_production: bool
    headline: str
    facts: list[Fact]
    next_command: str
    next_does: str
    stays: list[Stay]
    """Where it answers or answered, oldest first."""
    rounds: list[Round]
    """Those it was the candidate of, oldest first."""

    def dump(self) -> dict[str, Any]:
        """What `harness why --json` prints."""
        return {
            "version": self.version,
            "in_production": self.in_production,
            "headline": self.headline,
            "facts": [each._asdict() for each in self.facts],
            "next": self.next_command,
            "stays": [each.dump() for each in self.stays],
            "rounds": [each.dump() for each in self.rounds],
        }


def explain(store: Store, name: str) -> Why:
    """`name`: a version, also one whose files are gone, or an alias. Raises StoreError for a name
    that nothing here knows."""
    found, aliases = chronicle(store), store.aliases()
    every_stay = stays(found.changes, aliases)
    version = _version(store, name, found, every_stay)
    own = [each for each in every_stay if each.version == version]
    rounds = [each for each in found.rounds if each.candidate == version]
    serving = [each for each in own if each.serves]
    command, does = _next(store, version, own, rounds, aliases)
    return Why(
        version=version,
        in_production=bool(serving),
        headline=_headline(version, serving, own, rounds),
        facts=list(_facts(store, version, own, rounds, found)),
        next_command=command,
        next_does=does,
        stays=own,
        rounds=rounds,
    )


def _version(store: Store, name: str, found: Chronicle, every_stay: Sequence[Stay]) -> str:
    if "@" not in name:
        return store.resolve(name)
    known = {*store.versions(), *(each.version for each in every_stay)}
    known |= {each.candidate for each in found.rounds}
    if name not in known:
        raise StoreError(
            f"no version {name!r} in {store.home}, and no round or alias has named it: "
            f"{nearest(name, known)}",
            hint="harness versions; harness history",
        )
    return name


def _headline(
    version: str, serving: Sequence[Stay], own: Sequence[Stay], rounds: Sequence[Round]
) -> str:
    if serving:
        return f"{version} is in production: {'; '.join(map(_serves, serving))}"
    if own:
        places = [
            f"{each.alias} served it from {when(each.since)} to {when(each.until)}" for each in own
        ]
        return f"{version} is not in production: {'; '.join(places)}"
    judged = [each for each in rounds if each.decision]
    if not judged:
        return f"{version} is not in production: no gate has decided about it"
    return f"{version} is not in production: no alias has served it"


def _serves(stay: Stay) -> str:
    since = f"since {when(stay.since)}"
    if stay.share is None:
        return f"{stay.alias} serves it {since}"
    return f"{stay.alias} gives it {100 * stay.share:.4g} % of its requests {since}"


def _facts(
    store: Store,
    version: str,
    own: Sequence[Stay],
    rounds: Sequence[Round],
    found: Chronicle,
) -> Iterator[Fact]:
    for stay in [each for each in own if each.serves] or own[-1:]:
        yield from _placed(stay, found.rounds)
    if rounds:
        told = _deciding(own, rounds)
        yield from _round_facts(told)
        others = [each for each in reversed(rounds) if each is not told]
        for each in others[:_MAX_OTHERS]:
            yield Fact("also", round_words(each))
        if len(others) > _MAX_OTHERS:
            yield Fact("also", f"{plural(len(others) - _MAX_OTHERS, 'earlier round')}")
    lost = [each for entry in rounds for each in entry.lost]
    if not store.has(version):
        lost.append("its files are not in the store")
    for text in (*dict.fromkeys(lost), *found.problems):
        yield Fact("lost", text)


def _deciding(own: Sequence[Stay], rounds: Sequence[Round]) -> Round:
    """The round that let it in the last time, where it is; else the latest."""
    for stay in reversed(own):
        began = stay.began
        key = began and (began.decisions.get(stay.version) or began.decision)
        let_in = [each for each in rounds if key and each.decision == key]
        if let_in:
            return let_in[-1]
    return rounds[-1]


def _round_facts(told: Round) -> Iterator[Fact]:
    yield Fact("round", round_words(told))
    for each in told.let_through:
        yield Fact("loud", each, is_loud=True)
    if told.rule:
        yield Fact("rule", rule_words(told))
    if told.scores:
        where = f" of {told.evalset} by {told.judge}" if told.judge else ""
        yield Fact("scores", scores_words(told.scores) + where)
    if told.lineage:
        made = told.lineage
        parent = f", continued from {made.parent}" if made.parent else ""
        text = f"recipe {made.recipe}, data {made.data} ({plural(made.n_rows, 'row')}){parent}"
        yield Fact("made of", text)


def _placed(stay: Stay, rounds: Sequence[Round]) -> Iterator[Fact]:
    """How it came to answer the alias, and how that ended."""
    if began := stay.began:
        words = change_words(began, stay.version, rounds)
        yield Fact("came by", f"{stay.alias}: {words.at(began.at)}", bool(words.shout))
    else:
        yield Fact("came by", f"{stay.alias}: the log has no line of it")
    if ended := stay.ended:
        words = change_words(ended, ended.version, rounds)
        after = ended.version if stay.share is None else "the split's end or change"
        yield Fact("replaced", f"by {after}: {words.at(ended.at)}", bool(words.shout))
    elif not stay.serves:
        yield Fact("replaced", "the log has no line of it")


def _next(
    store: Store,
    version: str,
    own: Sequence[Stay],
    rounds: Sequence[Round],
    aliases: dict[str, str],
) -> tuple[str, str]:
    """The command worth typing now, and what it does."""
    serving = [each for each in own if each.serves]
    if serving:
        return _next_serving(store, serving[0])
    if own:
        last = own[-1].alias
        return _command(store, "history", "--alias", last), f"everything {last} served"
    latest = next((each for each in reversed(rounds) if each.decision), None)
    if latest is None or latest.run is None:
        return _command(store, "eval", "RECIPE", "--candidate", version), "puts it before a gate"
    alias, run, baseline = latest.alias, latest.run, latest.baseline
    if latest.ships and alias and alias not in ("base", baseline):
        if aliases.get(alias) in (None, baseline):
            return _command(store, "promote", version, "--alias", alias), "nothing holds it back"
        against = _command(store, "gate", run, "--against", alias)
        return against, f"{alias} has moved since: compares with what it serves now"
    if latest.status == "untrusted":
        return _command(store, "gate", run), "every rule; mend what they name, then run it again"
    if latest.status == "fail" and latest.scores:
        return _command(store, "failures", run), "what dropped, in groups, and the rows behind it"
    return _command(store, "report", run), "writes its page anew: every answer, prompt by prompt"


def _next_serving(store: Store, stay: Stay) -> tuple[str, str]:
    if stay.share is not None:
        line = _command(store, "promote", stay.version, "--alias", stay.alias)
        return line, "gives it all requests"
    earlier = store.served(stay.alias)[:-1]
    if earlier:
        return _command(store, "rollback", stay.alias), f"back to {earlier[-1]}"
    return _command(store, "history", "--alias", stay.alias), "all rounds about it"


def _command(store: Store, *words: str) -> str:
    return command_line(*words, home=store.home)
