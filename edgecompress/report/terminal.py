"""Results as tables for a terminal of 80 columns: student beside teacher."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from edgecompress.bench.results import is_headline, kind_of
from edgecompress.report import machine, speed
from edgecompress.report.words import short_metric
from edgecompress.tasks import TASKS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgecompress.bench.results import Results
    from edgecompress.records import Host, Measurement

_MILLION = 1e6
_NOTHING, _FAILED = "–", "failed"
_PARTS = ("tokenize", "model", "postprocess", "total")
_MEMORY = {
    "load": ("load\nms", 1.0),
    "first_prediction": ("first run\nms", 1.0),
    "memory_idle": ("before\nMB", _MILLION),
    "memory_steady": ("steady\nMB", _MILLION),
    "memory_peak": ("peak\nMB", _MILLION),
    "energy": ("energy\nJ/text", 1.0),
}


def bench_tables(results: Results) -> tuple[Table, ...]:
    """Return the tables that ``results`` can fill: size and quality, speed by threads, the parts of real texts, memory.

    Rows are the subjects in their order; "(×N)": how many times as good as the teacher's figure, for medians of the
    same turns. The caption of the last table says on which machine, and how far the figures are to be trusted.
    """
    tables = []
    if any(m.metric == "parameters" or is_headline(m) for m in results.measurements):
        tables.append(_quality(results))
    headline = speed.headline(results)
    timed = [m for m in results.measurements if m.metric == headline and m.settings["part"] in _shown(m)]
    tables += [_speed(results, timed, headline, threads) for threads in sorted({m.settings["threads"] for m in timed})]
    split = [m for m in results.measurements if m.metric == "latency_p50" and m.settings["length"] == "real"]
    tables += [_split(results, split, where) for where in dict.fromkeys(_batch_threads(m) for m in split)]
    if any(m.metric in _MEMORY for m in results.measurements):
        tables.append(_memory(results))
    if tables:
        tables[-1].caption = Text("\n".join([describe(results.host), *trust(results)]))
    return tuple(tables)


def describe(host: Host) -> str:
    """Return the machine and the library that ran the graphs, in one line."""
    flags = f", {' '.join(host.flags)}" if host.flags else ""
    runtime = host.versions.get("onnxruntime", "unknown")
    return f"{host.cpu}, {_many(host.cores, 'core')}{flags}; onnxruntime {runtime}"


def trust(results: Results) -> list[str]:
    """Return lines on what disturbed the timing, and on what could not be measured."""
    busy = machine.unrest(results)
    lines = [machine.noise(results), *([busy] if busy else [])]
    lines += [f"left out: {what}" for what in results.settings.get("left_out", ())]
    return [
        *lines,
        *(f"FAILED {f.subject} ({', '.join(filter(None, (f.task, f.where)))}): {f.reason}" for f in results.failures),
    ]


def _many(count: int, thing: str) -> str:
    return f"{count} {thing}{'' if count == 1 else 's'}"


def _quality(results: Results) -> Table:
    """Parameters and file size (the largest, where a subject has one artifact a task), then a column a task."""
    scores = [m for m in results.measurements if is_headline(m)]
    tasks = {m.task: kind_of(m) for kind in TASKS for m in scores if kind_of(m) == kind}
    columns = ["params\nM", "file\nMB", *(f"{task}\n{_short(kind)}" for task, kind in tasks.items())]
    table = _table("Size and quality", columns)
    for subject in results.subjects:
        own = [m for m in results.measurements if m.subject == subject.name]
        cells = [_largest(own, "parameters"), _largest(own, "model_bytes")]
        found = {m.task: _score(m) for m in scores if m.subject == subject.name}
        failed = {f.task for f in results.failures if f.subject == subject.name and f.where == "score"}
        missing = {task: _FAILED if task in failed else _NOTHING for task in tasks}
        table.add_row(Text(subject.name), *cells, *(found.get(task, missing[task]) for task in tasks))
    return table


def _score(measurement: Measurement) -> str:
    if measurement.interval is None:
        return f"{measurement.value:.1f}"
    low, high = measurement.interval
    return f"{measurement.value:.1f}\n{low:.0f}–{high:.0f}"


def _short(task: str) -> str:
    return short_metric(TASKS[task].metrics[0]).rstrip(".")


def _largest(measurements: Sequence[Measurement], metric: str) -> str:
    values = [m.value for m in measurements if m.metric == metric]
    return f"{max(values) / _MILLION:.1f}" if values else _NOTHING


def _shown(measurement: Measurement) -> tuple[str]:
    return ("total",) if measurement.settings["length"] == "real" else ("model",)


def _speed(results: Results, timed: Sequence[Measurement], headline: str, threads: int) -> Table:
    here = [m for m in timed if m.settings["threads"] == threads]
    shapes = list(dict.fromkeys(_shape(m) for m in here))
    title = f"{speed.TITLES.get(headline, headline)}, {_many(threads, 'thread')} (batch×tokens){_of(here)}"
    table = _table(title, [f"{batch}×{length}" for batch, length in shapes])
    better = speed.ratios(results, headline)
    faster = {(name, (at.batch, at.length)): r for (name, at), r in better.items() if at.threads == threads}
    values = {(m.subject, _shape(m)): m.value for m in here}
    for subject in results.subjects:
        mine = [f for f in results.failures if f.subject == subject.name and f.threads in (0, threads)]
        failed = {f.where for f in mine}
        cells = []
        for shape in shapes:
            ratio = faster.get((subject.name, shape)) if subject.role != "teacher" else None
            missing = _FAILED if failed & {f"{shape[0]}×{shape[1]}", "load"} else _NOTHING
            cells.append(_time(values.get((subject.name, shape)), ratio, missing))
        table.add_row(Text(subject.name), *cells)
    return table


def _of(timed: Sequence[Measurement]) -> str:
    """Return whose models were timed, where it was one task's."""
    tasks = sorted({m.task for m in timed if m.task})
    return f", {tasks[0]} model" if len(tasks) == 1 else ""


def _shape(measurement: Measurement) -> tuple[int, Any]:
    return measurement.settings["batch"], measurement.settings["length"]


def _time(value: float | None, ratio: float | None, missing: str) -> str:
    if value is None:
        return missing
    return f"{value:.2f}" if ratio is None else f"{value:.2f} (×{ratio:.1f})"


def _batch_threads(measurement: Measurement) -> tuple[int, int]:
    return measurement.settings["batch"], measurement.settings["threads"]


def _split(results: Results, split: Sequence[Measurement], where: tuple[int, int]) -> Table:
    title = f"Where the time for real texts goes: medians in ms, batch {where[0]}, {_many(where[1], 'thread')}"
    table = _table(title, list(_PARTS))
    for subject in results.subjects:
        own = [m for m in split if m.subject == subject.name and _batch_threads(m) == where]
        found = {m.settings["part"]: f"{m.value:.2f}" for m in own}
        table.add_row(Text(subject.name), *(found.get(part, _NOTHING) for part in _PARTS))
    return table


def _memory(results: Results) -> Table:
    """Load and memory, of the smallest number of threads and the largest cell where there are several."""
    present = {m.metric for m in results.measurements}
    columns = {metric: row for metric, row in _MEMORY.items() if metric in present}
    table = _table("Opening it, and its process's memory", [title for title, _ in columns.values()])
    for subject in results.subjects:
        own: dict[str, Measurement] = {}
        for m in results.measurements:
            if m.subject == subject.name:
                own.setdefault(m.metric, m)
        cells = [f"{own[k].value / unit:.4g}" if k in own else _NOTHING for k, (_, unit) in columns.items()]
        table.add_row(Text(subject.name), *cells)
    return table


def _table(title: str, columns: Sequence[str]) -> Table:
    table = Table(title=title, box=SIMPLE_HEAD, title_justify="left", caption_justify="left")
    table.add_column("", overflow="fold")
    for column in columns:
        table.add_column(column, justify="right", overflow="fold")
    return table
