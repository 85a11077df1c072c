"""Whole rounds for the report's tests: a realistic one, a hostile one, one without comparison."""

from __future__ import annotations

from harness.jsonio import digest
from harness.recipe import Recipe
from harness.report.record import RoundRecord
from harness.types import (
    Attempt,
    BaseInfo,
    ChatContract,
    CurvePoint,
    DataReport,
    DataSource,
    Generation,
    JudgeFigures,
    JudgeHealth,
    LengthAdjusted,
    Look,
    Manifest,
    Message,
    NoiseFloor,
    Precision,
    ProbeKind,
    ProbeReport,
    ProbeResult,
    ProbeRow,
    Role,
    SlicePrecision,
    Spending,
    Spread,
    StageTime,
    Status,
    Training,
    Verdict,
)
from tests.report.rows import Row, make_row, make_rows
from tests.report.summaries import BASELINE, CANDIDATE, make_comparison, make_decision


def make_record(rows: list[Row] | None = None, status: Status = "fail") -> RoundRecord:
    """A whole round from its rows."""
    rows = make_rows() if rows is None else rows
    comparison = make_comparison(rows)
    return RoundRecord(
        recipe=make_recipe(),
        manifest=make_manifest(),
        comparison=comparison,
        decision=make_decision(comparison, make_recipe().gate, status),
        items=tuple(row.item for row in rows),
        generations=tuple(_generation(row, role) for row in rows for role in row.scores),
        verdicts=tuple(_verdict(row, role) for row in rows for role in row.scores),
        counts={
            "trained_steps": 240,
            "generated": 3 * len(rows),
            "judged": 131,
            "from_cache": 3 * len(rows) - 133,
            "unscored": sum(score is None for row in rows for score in row.scores.values()),
        },
        run_id="20260412-091502-support-bot",
        finished_at="2026-04-12T09:21:47Z",
    )


def make_hostile_record(text: str) -> RoundRecord:
    """A round in which `text` is every string that a model, a judge, a server, an evalset or an
    environment could choose."""
    scores: tuple[dict[Role, int | None], ...] = (
        {"candidate": 1, "baseline": 5, "base": 1},
        {"candidate": 5, "baseline": 1, "base": 1},
        {"candidate": None, "baseline": 5, "base": 1},
    )
    rows = [
        make_row(
            text,
            f"{text} {n}",
            text,
            {"candidate": text, "baseline": f"{text} and more", "base": text},
            each,
            {"candidate": "ok" if n < 2 else "failed", "baseline": "ok", "base": "truncated"},
            dict.fromkeys(each, text),
        )
        for n, each in enumerate(scores)
    ]
    record = with_surroundings(with_others(make_record(rows), text), text)
    record = with_account(record, text)
    manifest = record.manifest.model_copy(
        update={"packages": {text: text}, "seeds": {text: 1}, "files": {text: text}}
    )
    return record.model_copy(update={"manifest": manifest, "run_id": text, "counts": {text: 1}})


def with_others(record: RoundRecord, name: str) -> RoundRecord:
    """The round had it asked a target of that name too, which did as well as the baseline."""
    assert record.comparison
    return with_comparison(record, others={name: record.comparison.overall.baseline})


def with_turns(record: RoundRecord, item_id: str) -> RoundRecord:
    """The round had the item a follow-up, and its candidate settled by checks."""

    def turned(each: Generation) -> Generation:
        is_it = each.item_id == item_id
        return each.model_copy(update={"earlier": ("Which mail?",)}) if is_it else each

    def settled(each: Verdict) -> Verdict:
        is_it = (each.item_id, each.role) == (item_id, "candidate")
        return each.model_copy(update={"by": "checks"}) if is_it else each

    items = (
        each.model_copy(update={"follow_ups": ("This <one>.",)}) if each.id == item_id else each
        for each in record.items
    )
    return record.model_copy(
        update={
            "items": tuple(items),
            "generations": tuple(map(turned, record.generations)),
            "verdicts": tuple(map(settled, record.verdicts)),
        }
    )


def make_uncompared_record() -> RoundRecord:
    """A round whose evidence failed before there was anything to compare."""
    record = make_record(status="untrusted")
    rules = record.decision.rules[:1]
    decision = record.decision.model_copy(update={"comparison": None, "rules": rules})
    return record.model_copy(
        update={"comparison": None, "decision": decision, "generations": (), "verdicts": ()}
    )


def _generation(row: Row, role: Role) -> Generation:
    failed = row.states[role] == "failed"
    return Generation(
        item_id=row.item.id,
        role=role,
        model={"candidate": CANDIDATE, "baseline": BASELINE, "base": "base"}[role],
        state=row.states[role],
        text=row.texts[role],
        n_prompt_tokens=41,
        n_tokens=len(row.texts[role].split()),
        duration_s=0.21,
        error=row.reasons[role] if failed else None,
    )


def _verdict(row: Row, role: Role) -> Verdict:
    score = row.scores[role]
    return Verdict(
        item_id=row.item.id,
        role=role,
        state="unscored" if score is None else "scored",
        score=score,
        reason=row.reasons[role],
    )


def make_recipe() -> Recipe:
    return Recipe.model_validate(
        {
            "name": "support-bot",
            "base": {"model": "pocket"},
            "data": {"sources": [{"path": "tickets.jsonl"}]},
            "eval": {"evalset": "support"},
            "gate": {"baseline": "prod", "thresholds": ["pass_share >= 0.5 each slice"]},
        }
    )


def make_manifest() -> Manifest:
    probe = ProbeRow(
        source="tickets.jsonl:1 turn 1",
        messages=(Message(role="user", content="Where is my parcel?"),),
        prompt_ids=(1, 2, 3),
        completion_ids=(4, 2),
        logprobs=(-0.1, -0.2),
        base_logprobs=(-4.0, -3.1),
    )
    return Manifest(
        version=CANDIDATE,
        base=BaseInfo(
            model="pocket", revision=None, config=digest("config"), weights="w", dtype="float32"
        ),
        contract=ChatContract(
            template=digest("template"),
            kwargs={"enable_thinking": False},
            tokenizer=digest("tokenizer"),
            special=digest("special"),
            stop_ids=(2,),
            probes=digest("probes"),
        ),
        rank=16,
        files={
            "adapter_config.json": digest("a"),
            "adapter_model.safetensors": digest("b"),
            "chat_template.jinja": digest("c"),
        },
        recipe=make_recipe().digest(),
        data=digest("data"),
        train_key=digest("train"),
        parent=BASELINE,
        seeds={"data": 0, "train": 0},
        packages={"torch": "2.13.0", "transformers": "5.19.0", "trl": "1.16.0", "peft": "0.21.0"},
        n_rows=1500,
        n_steps=240,
        probes=(probe,),
    )


def with_comparison(record: RoundRecord, **changed: object) -> RoundRecord:
    """The round's comparison had these values, and its decision was made on that."""
    assert record.comparison
    comparison = record.comparison.model_copy(update=changed)
    decision = record.decision.model_copy(update={"comparison": digest(comparison.dump())})
    return record.model_copy(update={"comparison": comparison, "decision": decision})


def with_gate(record: RoundRecord, **changed: object) -> RoundRecord:
    """The recipe's gate had these keys."""
    decision = record.decision.model_copy(update={"gate": record.decision.gate | changed})
    return record.model_copy(update={"decision": decision})


def with_samples(record: RoundRecord, item_id: str) -> RoundRecord:
    """The candidate answered that item three times: as it did, then well, then empty."""
    assert record.comparison
    [first] = (g for g in record.generations if (g.item_id, g.role) == (item_id, "candidate"))
    texts = {1: "A right answer.", 2: ""}
    more = [first.model_copy(update={"sample": n, "text": text}) for n, text in texts.items()]
    verdicts = [
        Verdict(item_id=item_id, role="candidate", sample=n, state="scored", score=s, reason=why)
        for n, s, why in ((1, 5, "Right."), (2, 2, "Empty."))
    ]
    pairs = tuple(
        each.model_copy(
            update={
                "candidate": 8 / 3,
                "difference": 8 / 3 - (each.baseline or 5),
                "candidate_scores": (1, 5, 2),
                "baseline_scores": (each.baseline,),
            }
        )
        if each.item_id == item_id
        else each
        for each in record.comparison.pairs
    )
    answered = {
        "generations": (*record.generations, *more),
        "verdicts": (*record.verdicts, *verdicts),
    }
    return with_comparison(record.model_copy(update=answered), pairs=pairs)


def with_surroundings(record: RoundRecord, text: str = "support-bot@9d01e77c52aa") -> RoundRecord:
    """Everything that can stand around a decision, with `text` for every name."""
    assert record.comparison
    overall = record.comparison.overall
    difference = overall.difference.model_copy(update={"n_clusters": 23, "p_mcnemar": 0.00012})
    record = with_comparison(
        record,
        overall=overall.model_copy(update={"difference": difference}),
        look=Look(number=2, of=4, n_planned=140, tail=0.00555),
        cluster_by=text,
        length=LengthAdjusted(slope=0.05, mean=-0.03, lower=-0.14, n_pairs=60),
        spread=Spread(prompt=0.61, generation=None, judge=0.1),
    )
    attempt = Attempt(
        at="2026-04-10T08:00:00+00:00",
        by=text,
        run=text,
        candidate=text,
        baseline=BASELINE,
        evalset=record.decision.evalset,
        judge=text,
    )
    floor = NoiseFloor(
        version=text,
        evalset=record.decision.evalset,
        judge=text,
        made_at="2026-04-01T08:00:00+00:00",
        n_samples=1,
        temperature=0.0,
        difference=overall.difference,
        judged_mean=0.02,
        judged_sd=0.51,
    )
    narrow = SlicePrecision(
        name="overall",
        n_items=60,
        n_clusters=None,
        sd=1.2,
        smallest_margin=0.385,
        margin=0.2,
        n_needed=223,
        guarded=True,
    )
    precision = Precision(
        evalset=record.decision.evalset, source=text, tail=0.05, overall=narrow, slices=()
    )
    recipe = record.recipe.model_copy(
        update={"eval": record.recipe.eval.model_copy(update={"samples": 3, "temperature": 0.7})}
    )
    found = {
        "attempts": (attempt,) * 5,
        "floor": floor,
        "precision": precision,
        "recipe": recipe,
    }
    return with_gate(record.model_copy(update=found), scores="expected", health="warn")


def with_account(record: RoundRecord, text: str = "pocket-judge@d0549f251424") -> RoundRecord:
    """Everything that a round tells of what it took and of what proves it, with `text` for every
    name and word in it."""
    figures = JudgeFigures(
        judge=text,
        n_opinions=210,
        n_unscored=1,
        good=4.8,
        bad=1.5,
        injected=4,
        length_slope=0.1,
        repeat_sd=0.3,
        covered=0.98,
    )
    known: tuple[tuple[ProbeKind, int | None], ...] = (
        ("good", 5), ("good", 4), ("bad", 1), ("length", 1), ("length", None),
        ("injection", 4), ("injection", 1),
    )  # fmt: skip
    return record.model_copy(
        update={
            "stages": (
                StageTime(name="check", seconds=1.5, summary="1500 rows"),
                StageTime(name="train", seconds=0.0, summary="in the store already", skipped=True),
                StageTime(name="generate", seconds=75.0, summary=text),
                StageTime(name=text, seconds=0.0, summary=text),
            ),
            "spending": Spending(
                calls=131, prompt_tokens=20_000, answer_tokens=9_000, money=0.0123
            ),
            "proof": _proof(text),
            "health": JudgeHealth(
                together=figures,
                judges=(figures, figures.model_copy(update={"bad": 2.5, "injected": None})),
                probes=tuple(
                    ProbeResult(
                        kind=kind, name=text, item_id=text, n_letters=9, score=score, reason=text
                    )
                    for kind, score in known
                ),
                n_repeated=8,
                n_pairs=6,
                flips=0.25,
                agreement=0.81,
                length_effect=-0.12,
            ),
            "data": DataReport(
                counts={"n_examples": 1502, "n_skipped": 3, "n_dropped": 2, "n_rows": 1500},
                sources=(DataSource(path=text, role=text, n_read=1502, n_skipped=3, n_rows=1500),),
            ),
            "training": Training(
                objective="sft",
                lora={"r": 16, "alpha": 32.0, "dropout": 0.05, "targets": [text]},
                train={"lr": 0.004, "batch": 16, "grad_accum": 2, "schedule": text},
                n_steps=240,
                n_tokens=185_957,
                seconds=36.8,
                curve=(
                    CurvePoint(step=1, loss=2.5, lr=0.002, tokens_per_s=None),
                    CurvePoint(step=120, loss=0.4, lr=0.004, tokens_per_s=5000.0),
                    CurvePoint(step=240, loss=0.5, lr=0.0, tokens_per_s=5100.0),
                ),
            ),
            "packages": {"python": "3.11.7", text: text},
            "ancestors": (BASELINE, text),
        }
    )


def _proof(text: str) -> ProbeReport:
    """Of candidate and baseline, 8 rows each, and of one that is called `text`."""
    report = ProbeReport(
        version=CANDIDATE, n_rows=8, max_difference=2.74e-6, tolerance=1e-4, min_effect=6.33
    )
    others = (
        report.model_copy(update={"version": BASELINE, "max_difference": 8.6e-6}),
        report.model_copy(update={"version": text}),
    )
    return report.model_copy(update={"others": others, "n_chats": 16})
