"""The nouns: every record that one stage writes and a later one reads.

All are frozen and refuse unknown fields. A missing number is None and a failed one is a state;
neither is ever a made-up value. The records know nothing of files, servers or models.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
)

SCHEMA: Literal[1] = 1
"""Schema number of every persisted record; raised together with an upgrade path."""

Role = Literal["candidate", "baseline", "base"]
Status = Literal["pass", "fail", "inconclusive", "untrusted"]
Score = Annotated[int, Field(ge=1, le=5)]


class Record(BaseModel):
    """Base of everything persisted: frozen, strict about its fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def dump(self) -> dict[str, Any]:
        """Plain JSON values, ready for `jsonio`."""
        return self.model_dump(mode="json")


class Document(Record):
    """A record that is a file of its own and so carries the schema number."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    schema_: Literal[1] = Field(default=SCHEMA, alias="schema")

    def dump(self) -> dict[str, Any]:
        return self.model_dump(mode="json", by_alias=True)


class ToolCall(Record):
    """One function call of an assistant."""

    name: str
    arguments: dict[str, Any]
    id: str | None = None


class Message(Record):
    """One chat message. What is not set is left out of its JSON."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str
    name: str | None = None
    reasoning: str | None = None
    """The thoughts before an assistant's answer, where they are kept apart from it."""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    """On a tool's message: the call it answers."""

    @model_serializer(mode="wrap")
    def _short(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {key: value for key, value in handler(self).items() if value not in (None, (), [])}


class Item(Record):
    """One held-out prompt of an evalset."""

    id: str
    """First 12 hex digits of the digest of the fields below."""
    messages: tuple[Message, ...]
    reference: str | None = None
    tags: dict[str, str] = {}
    """Slice name → value, for example {"type": "reason"}."""
    rubric: str | None = None
    """What was asked or what matters, shown to the judge."""


class ChatContract(Record):
    """What must be equal for a model to be served the tokens it was trained on.

    `probes` decides (token ids of fixed chats); the other digests explain a difference.
    """

    template: str
    """SHA-256 of the Jinja source, which lies beside the adapter as chat_template.jinja."""
    kwargs: dict[str, Any] = {}
    """Variables given to the template at training and at serving."""
    tokenizer: str
    """SHA-256 of the tokenizer without its truncation and padding settings."""
    special: str
    """SHA-256 of the special tokens' texts and ids."""
    stop_ids: tuple[int, ...]
    """A completion ends at the first of these token ids; never empty."""
    probes: str
    """SHA-256 of the token ids of the fixed probe chats."""


class ProbeRow(Record):
    """One training row kept as evidence that serving equals training."""

    source: str
    """file:line and assistant turn, as training named it."""
    messages: tuple[Message, ...]
    """The chat up to, not including, the trained assistant turn."""
    tools: tuple[dict[str, Any], ...] = ()
    """Function definitions the template was given (OpenAI's `tools`)."""
    prompt_ids: tuple[int, ...]
    completion_ids: tuple[int, ...]
    """What the turn was trained to produce, stop token included."""
    logprobs: tuple[float, ...]
    """Natural-log probability of each completion id under base + adapter (PEFT, float32)."""
    base_logprobs: tuple[float, ...]
    """The same with the adapter switched off."""


class BaseInfo(Record):
    """Which base model an adapter belongs to."""

    model: str
    """As the recipe names it: `pocket`, a hub id or a directory."""
    revision: str | None = None
    config: str
    """SHA-256 of config.json."""
    weights: str
    """Digest of config.json, generation_config.json and the safetensors files."""
    dtype: str
    """Dtype of training and of the gate's evaluation."""


class Manifest(Document):
    """manifest.json beside a published adapter: where it came from and how to trust it.

    Schema 2 added objective, quantize and the probes' tools; a manifest of schema 1 is read as
    one of supervised training on an unquantised base.
    """

    schema_: Literal[1, 2] = Field(default=2, alias="schema")  # type: ignore[assignment]
    version: str
    """name@digest12; the digest covers weights, adapter config and chat contract."""
    base: BaseInfo
    contract: ChatContract
    rank: int
    """Largest LoRA rank in the adapter; the server's --max-lora-rank must reach it."""
    files: dict[str, str]
    """File name → SHA-256, for every published file but this one."""
    recipe: str
    """Digest of the recipe."""
    data: str
    """Digest of the encoded training rows."""
    train_key: str
    """Digest of all that determines the weights: equal key, equal adapter."""
    parent: str | None = None
    """Version this adapter was continued from."""
    objective: Literal["sft", "dpo", "kto"] = "sft"
    quantize: Literal["nf4"] | None = None
    """How the base was quantised while training; it is served unquantised."""
    seeds: dict[str, int]
    packages: dict[str, str]
    """Package → version of what trained it."""
    n_rows: int
    n_steps: int
    probes: tuple[ProbeRow, ...]


class Target(Record):
    """One model that is asked, and which side it stands for."""

    role: Role
    model: str
    """Name in the request: a version, or the base's served name."""
    system: str | None = None
    """System prompt put before the item's messages."""


class Generation(Record):
    """One answer of one target to one item."""

    item_id: str
    role: Role
    model: str
    sample: int = 0
    state: Literal["ok", "truncated", "failed"]
    text: str
    """The answer without its stop token; empty when failed."""
    n_prompt_tokens: int
    n_tokens: int
    duration_s: float | None = None
    """Seconds of the request that carried it (shared by its batch)."""
    error: str | None = None
    """Why it failed; None otherwise."""


class Verdict(Record):
    """The judge's opinion of one generation."""

    item_id: str
    role: Role
    sample: int = 0
    state: Literal["scored", "unscored"]
    score: Score | None = None
    """1–5 when scored, None otherwise."""
    expected: float | None = None
    """Probability-weighted score, where the judge offers log-probabilities."""
    reason: str
    """The judge's reasoning, or why there is no score."""


class SideSummary(Record):
    """One side of one slice. n_items = n_scored + n_unscored always holds."""

    n_items: int
    n_scored: int
    n_unscored: int
    n_truncated: int
    n_failed: int
    mean: float | None
    """Mean score of the scored; None when there are none."""
    mean_interval: tuple[float, float] | None
    """Two-sided 95 % interval of the mean (empirical likelihood, support 1–5)."""
    minimum: int | None
    distribution: tuple[int, int, int, int, int]
    """How many 1s, 2s, 3s, 4s and 5s."""
    pass_share: float | None
    """Share of n_items with score >= pass_at; the unscored count against it."""


class Difference(Record):
    """Candidate minus baseline, paired by item."""

    n_pairs: int
    n_identical: int
    """Pairs whose two answers are the same text; they count as a difference of 0."""
    n_missing: int
    """Pairs with an unscored side; they count as the worst case for the candidate."""
    mean: float | None
    sd: float | None
    lower: float | None
    """One-sided lower bound of the mean difference at confidence 1 − alpha."""
    upper: float | None
    p_drop: float | None
    """One-sided p of H0: mean difference >= 0 (small = a drop)."""
    p_drop_holm: float | None = None
    """The same after Holm's correction over the guarded slices."""
    n_lost: int
    """Pairs where the baseline passed and the candidate did not."""
    n_gained: int


class SliceComparison(Record):
    """Both sides and their difference on all items or on one slice."""

    name: str
    """"overall", or the slice tag's value."""
    candidate: SideSummary
    baseline: SideSummary
    base: SideSummary | None
    difference: Difference
    guarded: bool
    """Large enough to take part in the slice rule (always true for overall)."""


class Pair(Record):
    """One item's two scores; None where unscored."""

    item_id: str
    slice: str | None
    candidate: int | None
    baseline: int | None
    base: int | None
    difference: float
    """Candidate − baseline; 0 for identical texts; worst case where a score is missing."""
    identical: bool


class Comparison(Document):
    """comparison.json: candidate against baseline; a pure function of generations and verdicts."""

    candidate: str
    baseline: str
    evalset: str
    """name@digest12"""
    judge: str
    """model@digest12"""
    slice_by: str | None
    pass_at: int
    alpha: float
    overall: SliceComparison
    slices: tuple[SliceComparison, ...]
    pairs: tuple[Pair, ...]


class RuleResult(Record):
    """One rule of the gate, applied."""

    rule: str
    """As the recipe writes it, for example "non-inferiority" or "mean >= 4.0"."""
    slice: str
    """"overall" or a slice's name."""
    status: Status
    value: float | None
    """The point estimate, None when there is none."""
    bound: float | None
    """The confidence bound that was held against the threshold."""
    threshold: float | None
    sentence: str
    """The result in words, with its numbers."""


class Decision(Document):
    """decision.json: the gate's verdict, recomputable from comparison.json and its `gate`."""

    status: Status
    candidate: str
    baseline: str
    evalset: str
    judge: str
    comparison: str | None
    """Digest of the comparison decided on; None when the evidence failed before there was one."""
    gate: dict[str, Any]
    """The gate section of the recipe, resolved."""
    rules: tuple[RuleResult, ...]
