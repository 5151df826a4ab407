"""Scores and sizes of results, as every form of the report needs them. Nothing here is known but from the results."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from edgecompress.bench.results import Results, Subject, is_headline, kind_of
from edgecompress.records import Measurement
from edgecompress.report.words import short_metric
from edgecompress.tasks import TASKS

_PARTS = ("embeddings", "attention", "FFN", "head", "other")  # the order of bars and columns
_SHAPE = re.compile(r"\d+×(\d+|real)")


@dataclass(frozen=True)
class Kept:
    """``percent`` of the teacher's headline scores that a subject keeps, the mean over ``tasks`` that both have."""

    percent: float
    tasks: int


def reference(results: Results) -> Subject | None:
    """Return the subject that drops are taken to: the first teacher; None without one."""
    return next((subject for subject in results.subjects if subject.role == "teacher"), None)


def headlines(results: Results) -> Mapping[tuple[str, str], Measurement]:
    """Return the headline score (0-100) by subject and task."""
    return {(row.subject, row.task): row for row in results.measurements if is_headline(row)}


def differences(results: Results) -> Mapping[tuple[str, str], Measurement]:
    """Return the headline score minus the teacher's (points) by subject and task, where that was measured."""
    metrics = {task: f"{TASKS[kind].metrics[0]}_difference" for task, kind in tasks(results).items()}
    return {(row.subject, row.task): row for row in results.measurements if metrics.get(row.task, "") == row.metric}


def tasks(results: Results) -> Mapping[str, str]:
    """Return task → kind for every task that anybody was scored on, in the order of ``TASKS``."""
    scored = {row.task: kind_of(row) for row in headlines(results).values()}
    return {task: kind for kind in TASKS for task, its in scored.items() if its == kind}


def heading(task: str, kind: str) -> str:
    """Return a task with its headline metric, "topic F1"."""
    return f"{task} {short_metric(TASKS[kind].metrics[0])}"


def mean_score(results: Results, subject: str) -> float | None:
    """Return the mean headline score over all tasks; None for a subject that lacks one: means would not compare."""
    found, wanted = headlines(results), tasks(results)
    values = [found[subject, task].value for task in wanted if (subject, task) in found]
    return fmean(values) if values and len(values) == len(wanted) else None


def kept(results: Results, subject: str) -> Kept | None:
    """Return how much of the teacher's scores a subject keeps; None where no task has both (or no teacher)."""
    teacher, found = reference(results), headlines(results)
    if teacher is None:
        return None
    pairs = [
        (found[subject, task].value, found[teacher.name, task].value)
        for task in tasks(results)
        if (subject, task) in found and (teacher.name, task) in found
    ]
    shares = [100.0 * own / whole for own, whole in pairs if whole]
    return Kept(fmean(shares), len(shares)) if shares else None


def lacking(results: Results) -> Mapping[str, Sequence[str]]:
    """Return the tasks that each subject has no score for; subjects that have all of them are left out."""
    found = headlines(results)
    missing = {s.name: [task for task in tasks(results) if (s.name, task) not in found] for s in results.subjects}
    return {subject: names for subject, names in missing.items() if names}


def largest(results: Results, subject: str, metric: str) -> float | None:
    """Return the largest ``metric`` of a subject over its tasks (one file a task); None where it was not measured."""
    return max((row.value for row in _of(results, subject, metric)), default=None)


def part_bytes(results: Results, subject: str) -> Mapping[str, float]:
    """Return bytes by part of the network, of the task whose parts are largest together; empty if not measured."""
    by_task: dict[str, dict[str, float]] = {}
    for row in _of(results, subject, "part_bytes"):
        sums, part = by_task.setdefault(row.task, {}), str(row.settings["part"])
        sums[part] = sums.get(part, 0.0) + row.value
    found = max(by_task.values(), key=lambda sums: sum(sums.values()), default={})
    order = [*_PARTS, *found]
    return dict(sorted(found.items(), key=lambda item: order.index(item[0])))


def score_failed(results: Results, subject: str, task: str) -> bool:
    """Tell whether a score is missing because a phase (no shape) of its task failed."""
    rows = [row for row in results.failures if row.subject == subject and row.task in ("", task)]
    return any(not _SHAPE.fullmatch(row.where) for row in rows)


def shape_failed(results: Results, subject: str, shape: str, threads: int) -> bool:
    """Tell whether this shape ("8×128") failed: figures of it, from turns before that, are not to be shown."""
    rows = [row for row in results.failures if row.subject == subject and row.threads in (0, threads)]
    return any(row.where == shape for row in rows)


def never_ran(results: Results, subject: str) -> bool:
    """Tell whether a subject has no times and no memory because it could not even be loaded for them."""
    phases = [row.where for row in results.failures if row.subject == subject and not _SHAPE.fullmatch(row.where)]
    return any(where not in ("score", "memory") for where in phases)


def _of(results: Results, subject: str, metric: str) -> list[Measurement]:
    return [row for row in results.measurements if row.subject == subject and row.metric == metric]
