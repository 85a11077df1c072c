"""The nouns: every record that one stage writes and a later one reads.

All are frozen and refuse unknown fields. A missing number is None and a failed one is a state;
neither is ever a made-up value. The records know nothing of files, servers or models.
"""

from harness.types.adapter import BaseInfo, Manifest, ProbeRow
from harness.types.chat import ChatContract, Message, ToolCall
from harness.types.evaluation import (
    Check,
    CheckResult,
    Generation,
    Item,
    Opinion,
    Role,
    Sampling,
    Score,
    Target,
    Verdict,
)
from harness.types.gating import Attempt, LookPlan, NoiseFloor, Precision, SlicePrecision
from harness.types.record import SCHEMA, Document, Growing, Record
from harness.types.release import (
    Comparison,
    Decision,
    Difference,
    HumanDifference,
    LengthAdjusted,
    Look,
    Pair,
    RuleResult,
    SideSummary,
    SliceComparison,
    Spread,
    Status,
)
from harness.types.round import StageTime

__all__ = [
    "SCHEMA",
    "Attempt",
    "BaseInfo",
    "ChatContract",
    "Check",
    "CheckResult",
    "Comparison",
    "Decision",
    "Difference",
    "Document",
    "Generation",
    "Growing",
    "HumanDifference",
    "Item",
    "LengthAdjusted",
    "Look",
    "LookPlan",
    "Manifest",
    "Message",
    "NoiseFloor",
    "Opinion",
    "Pair",
    "Precision",
    "ProbeRow",
    "Record",
    "Role",
    "RuleResult",
    "Sampling",
    "Score",
    "SideSummary",
    "SliceComparison",
    "SlicePrecision",
    "Spread",
    "StageTime",
    "Status",
    "Target",
    "ToolCall",
    "Verdict",
]
