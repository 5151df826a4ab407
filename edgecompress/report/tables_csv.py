"""Results as CSV: one row a measurement, its settings in columns, and a row for each failure."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from edgecompress.bench.results import Results

SETTINGS = ("kind", "batch", "length", "threads", "device", "part", "dtype", "examples", "iterations")
COLUMNS = ("subject", "role", "task", "metric", "value", "unit", "low", "high", *SETTINGS, "where", "reason")


def table(results: Results) -> str:
    r"""Return the CSV (RFC 4180, but lines end in "\n"): write it to a file opened with ``newline=""``.

    ``low`` and ``high`` bound the value with 95 % confidence. A failure has the metric "failed" and no value, but
    where it happened and its reason.
    """
    target = io.StringIO(newline="")
    writer = csv.DictWriter(target, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(_rows(results))
    return target.getvalue()


def _rows(results: Results) -> Iterator[dict[str, object]]:
    roles = {subject.name: subject.role for subject in results.subjects}
    for row in results.measurements:
        low, high = row.interval or ("", "")
        figures = {"metric": row.metric, "value": row.value, "unit": row.unit, "low": low, "high": high}
        settings = {name: row.settings[name] for name in SETTINGS if name in row.settings}
        yield {"subject": row.subject, "role": roles[row.subject], "task": row.task, **figures, **settings}
    for failed in results.failures:
        about = {"subject": failed.subject, "role": roles[failed.subject], "task": failed.task}
        yield {**about, "metric": "failed", "where": failed.where, "reason": failed.reason}
