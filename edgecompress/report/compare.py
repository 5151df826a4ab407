"""The table of `compare`, worst first, and its rows as JSON."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from edgecompress.bench.compare import Comparison, Difference

_MEGA = 1e6
_LARGE = 100.0  # from here on, hundredths of a millisecond are noise
_NOTHING = "–"
_MARKS = {"within noise": "noise", "no interval": _NOTHING, "unchanged": "same"}
_LEGEND = (
    "Scores in %, sizes and memory in MB, times in ms; the interval of the change holds it with 95 % confidence. "
    "worse, better: real, the interval excludes 0 (sizes are exact); noise: within noise; –: no interval, not known."
)


def shown(found: Comparison, *, everything: bool) -> list[Difference]:
    """Return the rows of the table: what changed for real or cannot be judged, or ``everything``."""
    quiet = ("unchanged", "within noise")
    return [row for row in found.rows if everything or (row.main and row.verdict not in quiet)]


def heading(old: str, new: str, machines: str) -> str:
    """Return the line above the table; it is no title of it, which would be folded to the table's width."""
    return f"{old} → {new}{' (TWO MACHINES)' if machines else ''}"


def compare_table(rows: Sequence[Difference]) -> Table:
    """Return one row a figure, for a terminal of 80 columns and subjects of up to 20 characters."""
    table = Table(
        caption=Text(_LEGEND), box=SIMPLE_HEAD, caption_justify="left", padding=(0, 1, 0, 0), pad_edge=False,
        show_edge=False,
    )  # fmt: skip
    table.add_column("", overflow="fold")
    table.add_column("", overflow="fold")
    for column in ("old", "new", "change", "interval"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    tasks = _several_tasks(rows)
    for row in rows:
        table.add_row(Text(row.subject), Text(row.label(task=row.metric in tasks)), *_figures(row))
    return table


def remarks(found: Comparison, rows: Sequence[Difference], *, machines: str = "") -> Iterator[str]:
    """Yield one line each for what is missing, what failed, what to know, and what the table leaves out."""
    if machines:
        yield f"two machines, times do not compare: {machines}"
    yield from (f"missing in the newer results: {what}" for what in found.missing)
    yield from (f"failed in the newer results: {f.subject} {f.task} {f.where}: {f.reason}" for f in found.failures)
    yield from (f"note: {note}" for note in found.notes)
    counts = Counter(row.verdict for row in found.rows)
    said = ", ".join(f"{counts[verdict]} {verdict}" for verdict in dict.fromkeys(row.verdict for row in found.rows))
    left = len(found.rows) - len(rows)
    more = f" (--all lists the {left} that are not shown)" if left else ""
    yield f"{len(found.rows)} figures compared: {said}{more}"


def comparison_json(found: Comparison, machines: str, worse: Sequence[Difference]) -> dict[str, Any]:
    """Return the comparison as JSON; a change from 0 has no percentage: null."""
    return {
        "machines": machines,
        "rows": [{**_plain(row), "verdict": row.verdict, "regression": row in worse} for row in found.rows],
        "missing": list(found.missing),
        "failures": [vars(failure) for failure in found.failures],
        "notes": list(found.notes),
    }


def _plain(row: Difference) -> dict[str, Any]:
    return {name: None if isinstance(v, float) and not math.isfinite(v) else v for name, v in vars(row).items()}


def _several_tasks(rows: Sequence[Difference]) -> set[str]:
    """Return the metrics that need their task named: all but those of one task alone, such as latency."""
    tasks: dict[str, set[str]] = {}
    for row in rows:
        tasks.setdefault(row.metric, set()).add(row.task)
    return {metric for metric, of in tasks.items() if len(of) > 1 or metric == "model_bytes" or _is_score(metric)}


def _is_score(metric: str) -> bool:
    return metric.endswith("f1") or metric == "accuracy"


def _figures(row: Difference) -> list[str]:
    unit = "pt" if row.unit == "points" else "%"
    bounds = f"{row.interval[0]:.1f}…{row.interval[1]:.1f}" if row.interval else _NOTHING
    change = f"{row.difference:+.1f} {unit}" if math.isfinite(row.difference) else "from 0"
    return [_value(row.old, row.metric), _value(row.new, row.metric), change, bounds,
            _MARKS.get(row.verdict, row.verdict)]  # fmt: skip


def _value(value: float, metric: str) -> str:
    value /= _MEGA if metric in ("model_bytes", "memory_steady") else 1.0
    return f"{value:.2f}" if metric.startswith(("latency", "speedup")) and value < _LARGE else f"{value:.1f}"
