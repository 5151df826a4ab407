"""Time to start, memory and energy as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edgecompress.bench.results import Results
from edgecompress.records import Measurement
from edgecompress.report import digest, speed
from edgecompress.report.tables import Cell, Table
from edgecompress.report.words import FAILED, NOTHING, digits, megabytes

_START = {
    "load": "load\nms",
    "first_prediction": "first prediction\nms",
    "memory_idle": "idle\nMB",
    "memory_steady": "steady\nMB",
    "memory_peak": "peak\nMB",
}


def memory_tables(results: Results) -> Sequence[Table]:
    """Return, for each device and number of threads: ms to load and to the first prediction, MB, and J a text.

    The energy is that of the usual shape, in the table of its device and threads.
    """
    rows = [row for row in results.measurements if row.metric in _START]
    places = dict.fromkeys([*map(_place, rows), *(place for place, _ in _energy(results))])
    return [_table(results, place, [row for row in rows if _place(row) == place]) for place in places]


def _table(results: Results, place: speed.Spot, rows: Sequence[Measurement]) -> Table:
    columns = {metric: head for metric, head in _START.items() if any(row.metric == metric for row in rows)}
    found: dict[tuple[str, str], Measurement] = {}
    for row in rows:
        found.setdefault((row.subject, row.metric), row)  # of several tasks' models the first counts
    for (where, subject), row in _energy(results).items():
        if where == place:
            columns["energy"] = f"energy\nJ a text, {speed.shape(speed.spot(row))}"
            found[subject, "energy"] = row
    cells = {s.name: tuple(_cell(results, s.name, found.get((s.name, m))) for m in columns) for s in results.subjects}
    notes = ("MB of the whole process; idle: libraries imported, no model.",) if "memory_idle" in columns else ()
    return Table(f"Start and memory ({speed.place(place)})", tuple(columns.values()), cells, notes)


def _energy(results: Results) -> Mapping[tuple[speed.Spot, str], Measurement]:
    usual, found = speed.usual_spot(results), speed.times(results, "energy")
    return {(_place(row), subject): row for (subject, spot), row in found.items() if spot == usual}


def _place(row: Measurement) -> speed.Spot:
    return speed.Spot(str(row.settings.get("device", "cpu")), int(row.settings.get("threads", 1)), 0, 0)


def _cell(results: Results, subject: str, row: Measurement | None) -> Cell:
    if row is None:
        return Cell(FAILED if digest.never_ran(results, subject) else NOTHING)
    return Cell(megabytes(row.value) if row.unit == "bytes" else digits(row.value))
