"""Measurements as tables for a terminal: student beside teacher."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.table import Table

from edgecompress.tasks import TASKS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgecompress.records import Host, Measurement

_MILLION = 1e6
_NOTHING = "–"


def bench_table(measurements: Sequence[Measurement], host: Host) -> tuple[Table, ...]:
    """Return the tables that ``measurements`` can fill: size and quality, and speed for each number of threads.

    Rows are subjects in the order of their first measurement, so put the teacher first: its latency is what the
    ratios "(×N)" are of. Each table fits a terminal of 80 columns for subjects of up to 20 characters.
    """
    speed = [m for m in measurements if m.metric == "latency_p50"]
    tables = [_quality_table(measurements)] if len(speed) < len(measurements) else []
    tables += [
        _speed_table([m for m in speed if m.settings["threads"] == threads], threads)
        for threads in sorted({m.settings["threads"] for m in speed})
    ]
    if tables:
        tables[-1].caption = describe(host)
    return tuple(tables)


def describe(host: Host) -> str:
    """Return the machine and the library that ran the graphs, in one line."""
    flags = f", {' '.join(host.flags)}" if host.flags else ""
    runtime = host.versions.get("onnxruntime", "unknown")
    return f"{host.cpu}, {host.cores} cores{flags}; onnxruntime {runtime}"


def _subjects(measurements: Sequence[Measurement]) -> list[str]:
    return list(dict.fromkeys(m.subject for m in measurements))


def _quality_table(measurements: Sequence[Measurement]) -> Table:
    """Parameters and file size (the largest, where a subject has one artifact a task), then a column a task."""
    present = [m for m in measurements if _kind(m) in TASKS and m.metric == TASKS[_kind(m)].metrics[0]]
    tasks = {m.task: kind for kind in TASKS for m in present if _kind(m) == kind}
    table = _table("Size and quality", ["params\nM", "file\nMB", *(f"{t}\n{_short(k)}" for t, k in tasks.items())])
    for subject in _subjects(measurements):
        own = [m for m in measurements if m.subject == subject]
        cells = [_largest(own, "parameters"), _largest(own, "model_bytes")]
        scores = {m.task: f"{m.value:.1f}" for m in present if m.subject == subject}
        table.add_row(subject, *cells, *(scores.get(task, _NOTHING) for task in tasks))
    return table


def _kind(measurement: Measurement) -> str:
    """Return the kind of task; a recipe may name its tasks as it likes."""
    return str(measurement.settings.get("kind", measurement.task))


def _short(task: str) -> str:
    return {"macro_f1": "F1", "span_f1": "F1", "accuracy": "acc"}.get(TASKS[task].metrics[0], TASKS[task].metrics[0])


def _largest(measurements: Sequence[Measurement], metric: str) -> str:
    values = [m.value for m in measurements if m.metric == metric]
    return f"{max(values) / _MILLION:.1f}" if values else _NOTHING


def _speed_table(measurements: Sequence[Measurement], threads: int) -> Table:
    shapes = sorted({_shape(m) for m in measurements})
    plural = "" if threads == 1 else "s"
    title = f"Median latency in ms, {threads} thread{plural} (batch×tokens)"
    table = _table(title, [f"{batch}×{length}" for batch, length in shapes])
    subjects = _subjects(measurements)
    times = {(m.subject, _shape(m)): m.value for m in measurements}
    for subject in subjects:
        table.add_row(subject, *(_time(times, subject, subjects[0], shape) for shape in shapes))
    return table


def _shape(measurement: Measurement) -> tuple[int, int]:
    return measurement.settings["batch"], measurement.settings["length"]


def _time(times: dict[tuple[str, tuple[int, int]], float], subject: str, base: str, shape: tuple[int, int]) -> str:
    own, reference = times.get((subject, shape)), times.get((base, shape))
    if own is None:
        return _NOTHING
    if subject == base or reference is None:
        return f"{own:.2f}"
    return f"{own:.2f} (×{reference / own:.1f})"


def _table(title: str, columns: Sequence[str]) -> Table:
    table = Table(title=title, box=SIMPLE_HEAD, title_justify="left", caption_justify="left")
    table.add_column("", overflow="fold")
    for column in columns:
        table.add_column(column, justify="right", overflow="fold")
    return table
