"""Changes of an alias over all servers that are up on its store: a version is loaded and proven on
each, then the alias moves, and only when each has seen it, the change is announced.

Knows nothing of decisions but that `harness.release` allows a move or does not.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from harness.errors import ContractError, EndpointError, HarnessError, StoreError
from harness.evaluation.access import NO_KEY
from harness.evaluation.client import Client
from harness.evaluation.probe import probe
from harness.fleet import Sight, admin_key, look, seen, warm
from harness.progress import Reporter
from harness.release import promote as release
from harness.release.promote import Promotion, allow
from harness.report.wording import plural
from harness.store import Replica, Store
from harness.store.aliases import shares_text
from harness.types import Record

SEEN_S = 15.0
"""How long a replica has to see a change: network file systems keep what they read for seconds."""
_POLL_S = 0.2
_ROW_S = 120.0
"""How long a server has to answer for one row of the proof."""


class Rollout(Record):
    """A change of an alias that all of `replicas` have seen."""

    change: Promotion
    replicas: tuple[Replica, ...]
    """The living servers of the version's base; empty: nothing was loaded or proven."""
    others: tuple[Replica, ...]
    """Living servers of other bases, which cannot serve it."""


class _Crew(NamedTuple):
    """The living servers."""

    own: tuple[Replica, ...]
    others: tuple[Replica, ...]


def promote(
    store: Store,
    version: str,
    reporter: Reporter,
    *,
    alias: str,
    at: str,
    run: str | None = None,
    override: str | None = None,
) -> Rollout:
    """Point `alias` at `version` where a decision allows it or `override` says why not.

    Raises PromotionRefused and StoreError as `allow` does, and EndpointError naming the servers
    where it cannot be loaded and proven: the alias has not moved then; or where it was not seen in
    time: the alias has moved then.
    """
    allowed = allow(store, version, alias=alias, override=override)
    stays = f"{alias!r} stays at {allowed.current or 'nothing'}"
    crew = _ready(store, [version], reporter, stays)
    change = release.promote(store, allowed, at=at, run=run)
    return _announce(store, change, crew, reporter)


def split(
    store: Store,
    alias: str,
    shares: Mapping[str, int],
    reporter: Reporter,
    *,
    at: str,
    override: str | None = None,
) -> Rollout:
    """Divide the requests of `alias` by weight; every version in `shares` that it does not point
    at needs what a promotion needs. Raises as `promote`."""
    current = store.require_split(alias, shares)
    newcomers = {
        version: allow(store, version, alias=alias, override=override)
        for version in shares
        if version != current
    }
    _require_one_base(store, shares)
    crew = _ready(store, list(newcomers), reporter, f"{alias!r} stays as it is")
    change = release.split(store, alias, shares, newcomers, at=at)
    return _announce(store, change, crew, reporter)


def rollback(store: Store, alias: str, reporter: Reporter, *, at: str) -> Rollout:
    """Point `alias` back at once, to what it served before or, where it is split, to the one
    version that it points at. Raises StoreError as `release.promote.rollback`, and EndpointError
    where it was not seen in time."""
    change = release.rollback(store, alias, at)
    return _announce(store, change, _crew(store, [change.version]), reporter)


def _require_one_base(store: Store, versions: Iterable[str]) -> None:
    """Raises StoreError for versions of several bases: no server could answer for all of them."""
    configs = {store.manifest(version).base.config: version for version in versions}
    if len(configs) > 1:
        raise StoreError(
            f"{' and '.join(configs.values())} are of different bases",
            hint="one alias is split among versions of one base",
        )


def _crew(store: Store, versions: Iterable[str]) -> _Crew:
    configs = {store.manifest(version).base.config for version in versions}
    living = store.replicas.living()
    own = tuple(each for each in living if each.base_config in configs)
    return _Crew(own, tuple(each for each in living if each not in own))


def _ready(store: Store, versions: Sequence[str], reporter: Reporter, stays: str) -> _Crew:
    """The living servers, on each of which the versions are loaded and proven. Raises
    EndpointError, beginning with `stays`."""
    crew = _crew(store, versions)
    if not crew.own:
        return crew
    reporter.stage("probe", len(crew.own), "servers")
    problems = asyncio.run(_prove_everywhere(store, crew.own, versions, reporter))
    crew = crew._replace(own=tuple(each.replica for each in _still(store, crew.own)))
    problems = {each: why for each, why in problems.items() if each in crew.own}
    if problems:
        n_all, hint = len(crew.own), next(iter(problems.values())).hint
        unproven = any(isinstance(why, ContractError) for why in problems.values())
        raise EndpointError(
            f"{stays}: {len(problems)} of {plural(n_all, 'replica')} cannot serve "
            f"{', '.join(versions)}: {'; '.join(map(str, problems.values()))}",
            hint=f"{hint}; no override skips this proof" if unproven else hint,
        )
    reporter.done(f"{', '.join(versions)} loaded and proven on {plural(len(crew.own), 'replica')}")
    return crew


def _still(store: Store, replicas: Sequence[Replica]) -> list[Sight]:
    """Those that have not gone meanwhile and are not about to: a server that is stopped takes no
    more requests, and its file away at the end."""
    here = {each.id for each in store.replicas.living()}
    sights = look([each for each in replicas if each.id in here])
    return [each for each in sights if not (each.seen and each.seen.draining)]


async def _prove_everywhere(
    store: Store, replicas: Sequence[Replica], versions: Sequence[str], reporter: Reporter
) -> dict[Replica, HarnessError]:
    """Replica → what is wrong there, of those where something is."""
    found = await asyncio.gather(
        *(_prove(store, each, versions, reporter) for each in replicas), return_exceptions=True
    )
    problems: dict[Replica, HarnessError] = {}
    for replica, error in zip(replicas, found, strict=True):
        if isinstance(error, HarnessError):
            problems[replica] = error
        elif error is not None:
            raise error
    return problems


async def _prove(
    store: Store, replica: Replica, versions: Sequence[str], reporter: Reporter
) -> None:
    await asyncio.to_thread(seen, replica)
    async with Client(
        replica.url, api_key=admin_key() or NO_KEY, timeout_s=_ROW_S, retries=1
    ) as client:
        for version in versions:
            await asyncio.to_thread(warm, replica, version)
            try:
                await probe(
                    client,
                    store.manifest(version),
                    base_name=replica.base_name,
                    dtype=replica.dtype,
                )
            except ContractError as error:
                raise ContractError(f"replica {replica.label}: {error}", hint=error.hint) from None
    reporter.advance(1)


def _announce(store: Store, change: Promotion, crew: _Crew, reporter: Reporter) -> Rollout:
    """Wait until every server sees the change. Raises EndpointError naming those that do not."""
    what, deadline = describe(change), time.monotonic() + SEEN_S
    reporter.stage("alias", len(crew.own), "servers see it")
    reporter.tell(change=what)
    behind = _behind(store, change, crew.own)
    while behind and time.monotonic() < deadline:
        reporter.set(len(crew.own) - len(behind))
        time.sleep(_POLL_S)
        behind = _behind(store, change, tuple(behind))
    if behind:
        raise EndpointError(
            f"{what} is done in the store, but {len(behind)} of "
            f"{plural(len(crew.own), 'replica')} did not see it within {SEEN_S:.0f} s: "
            f"{'; '.join(behind.values())}",
            hint="what they answer is as before; `harness serve status` shows when they see it. "
            "One that stays behind reads another store, or a stale copy: restart it",
        )
    reporter.done(f"{what}; {_seen_by(crew)}")
    return Rollout(change=change, replicas=crew.own, others=crew.others)


def _behind(store: Store, change: Promotion, replicas: tuple[Replica, ...]) -> dict[Replica, str]:
    """Those that live and do not see the change, and what they say instead."""
    found = {}
    for replica, answer, problem in _still(store, replicas):
        if answer is None:
            found[replica] = str(problem)
        elif (version := answer.aliases.get(change.alias)) != change.version:
            found[replica] = f"replica {replica.label} sees {version or 'no such alias'}"
        elif answer.splits.get(change.alias) != change.split:
            found[replica] = f"replica {replica.label} sees another split"
    return found


def describe(change: Promotion) -> str:
    """The change in a few words."""
    if change.split:
        return f"{change.alias}: {shares_text(change.split)}"
    if change.previous == change.version:
        return f"{change.alias} is {change.version}"
    return f"{change.alias}: {change.previous or 'new'} → {change.version}"


def _seen_by(crew: _Crew) -> str:
    if crew.own:
        return f"seen by {plural(len(crew.own), 'replica')}"
    if crew.others:
        return "no server of its base is up, so none was asked"
    return "no server is up, so none was asked"
