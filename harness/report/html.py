"""One round as one HTML file that needs nothing else: no font, no request.

Everything printed passes through `neutral` and is then escaped, whatever the template says; the
content security policy allows this package's own style sheets and scripts by their hash and
nothing more. What the script lists lies in the page as JSON in which nothing can end or begin an
element.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from harness.report import charts, items, view, wording
from harness.report.around import around
from harness.report.record import RoundRecord
from harness.report.sections import sections
from harness.types import Comparison

_TEMPLATES: Final = Path(__file__).parent / "templates"
_SCRIPTS: Final = ("words.js", "data.js", "finding.js", "opened.js", "items.js")
_ACTIVE: Final = {ord(each): f"\\u{ord(each):04x}" for each in "<>&\u2028\u2029"}
"""What could end a script element, or a line in one, as JSON's own escapes."""


def render_html(record: RoundRecord) -> str:
    """The report page as a whole HTML document."""
    return render_page("report.html.j2", _values(record), "facts.css", scripts=_SCRIPTS)


def render_page(
    template: str, values: dict[str, Any], *sheets: str, scripts: Sequence[str] = ()
) -> str:
    """A page of this package as a whole HTML document; `sheets`, `scripts`: further style sheets,
    and the scripts that its template may print as one and its policy allow."""
    css, script = _joined("style.css", *sheets), _joined(*scripts)
    own = {"css": css, "css_digest": _hashed(css)}
    own |= {"script": script, "script_digest": _hashed(script)}
    return _environment().get_template(template).render(**own, **values)


def _joined(*names: str) -> Markup:
    """Files of this package. Markup: escaping would change their hash."""
    return Markup("".join((_TEMPLATES / name).read_text(encoding="utf-8") for name in names))


def _hashed(source: str) -> str:
    """SHA-256 as a content security policy has it."""
    return base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": wording.number,
        "signed": wording.signed,
        "share": wording.share,
        "score": wording.score,
        "points": wording.points,
        "p_value": wording.p_value,
        "visible": wording.visible,
        "one_line": wording.one_line,
        "plural": wording.plural,
    }
    environment.globals |= {
        "sides": view.sides,
        "plural": wording.plural,
        "figures": view.figures,
        "is_unfit": view.is_unfit,
        "status_words": wording.STATUS_WORDS,
        "missing": wording.MISSING,
        "shade": _shade,
        "flat": _flat,
    }
    return environment


def _finalize(value: Any) -> Any:
    """Applied by Jinja to every printed expression, before escaping."""
    if isinstance(value, Markup):
        return value
    return wording.neutral(value) if isinstance(value, str) else value


def _values(record: RoundRecord) -> dict[str, Any]:
    return {
        "record": record,
        "decision": record.decision,
        "comparison": record.comparison,
        "headline": view.headline(record),
        "warnings": view.warnings(record),
        "facts": around(record),
        "accepted_drop": _accepted_drop(record),
        **sections(record),
        **(_compared(record, record.comparison) if record.comparison else {}),
    }


def _accepted_drop(record: RoundRecord) -> float | None:
    margin = record.decision.gate.get("margin")
    return -float(margin) if isinstance(margin, int | float) else None


def _compared(record: RoundRecord, comparison: Comparison) -> dict[str, Any]:
    rows = view.rows(record)
    return {
        "confidence": wording.confidence(comparison.tail),
        "certifies": view.certifies(record),
        "rows": rows,
        "statuses": {row.name: view.slice_status(record, row.name) for row in rows},
        "guarded": {row.name for row in rows if view.is_guarded(record, row)},
        "score_rows": charts.score_rows(record),
        "scale": charts.DifferenceScale(record, _accepted_drop(record)),
        **_listed(record),
    }


def _listed(record: RoundRecord) -> dict[str, Any]:
    listed = items.listing(record)
    return {
        "listing": _embedded(listed),
        "limit": listed["limit"],
        "flips": items.FLIPS,
        "tally": items.tally(listed["items"]),
    }


def _embedded(value: Any) -> Markup:
    """JSON for a script element of a type that no browser runs."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return Markup(text.translate(_ACTIVE))


def _shade(count: int, n_answers: int) -> int:
    """0–5: how dark a count's cell is."""
    return 0 if not count else min(5, 1 + int(5 * count / max(1, n_answers)))


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """Dotted key → JSON of its value, without empty sections."""
    found: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            found |= _flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value if isinstance(value, str) else json.dumps(value)
    return found
