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
    side_of,
)
from harness.types.gating import Attempt, LookPlan, NoiseFloor, Precision, SlicePrecision
from harness.types.judging import (
    JudgeFigures,
    JudgeHealth,
    ProbeKind,
    ProbeResult,
    Spending,
)
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
from harness.types.round import (
    CurvePoint,
    DataReport,
    DataSource,
    ProbeReport,
    StageTime,
    Training,
)

__all__ = [
    "SCHEMA",
    "Attempt",
    "BaseInfo",
    "ChatContract",
    "Check",
    "CheckResult",
    "Comparison",
    "CurvePoint",
    "DataReport",
    "DataSource",
    "Decision",
    "Difference",
    "Document",
    "Generation",
    "Growing",
    "HumanDifference",
    "Item",
    "JudgeFigures",
    "JudgeHealth",
    "LengthAdjusted",
    "Look",
    "LookPlan",
    "Manifest",
    "Message",
    "NoiseFloor",
    "Opinion",
    "Pair",
    "Precision",
    "ProbeKind",
    "ProbeReport",
    "ProbeResult",
    "ProbeRow",
    "Record",
    "Role",
    "RuleResult",
    "Sampling",
    "Score",
    "SideSummary",
    "SliceComparison",
    "SlicePrecision",
    "Spending",
    "Spread",
    "StageTime",
    "Status",
    "Target",
    "ToolCall",
    "Training",
    "Verdict",
    "side_of",
]
