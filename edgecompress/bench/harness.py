"""The benchmark: every subject in a process of its own, timed in turns, scored, and marked where it fails."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any

from edgecompress.bench.cells import REAL, Plan
from edgecompress.bench.describe import describe, sizes
from edgecompress.bench.host import host
from edgecompress.bench.results import Failure, Results, Subject
from edgecompress.bench.scoring import scores
from edgecompress.bench.subjects import Entry
from edgecompress.bench.timing import Timing, timed_with, timings
from edgecompress.errors import InputError
from edgecompress.records import Measurement
from edgecompress.runtime.session import usable_cores
from edgecompress.tasks.examples import Example

Tests = Mapping[str, Sequence[Example]]


def measure(rows: Sequence[Entry], tests: Tests, plan: Plan, *, name: str = "") -> Results:
    """Measure ``rows``: sizes, scores on ``tests``, and memory and latency of the first task that all rows have.

    The row of role "teacher" is what speedups and differences are of. What fails is noted in ``failures``, and the rest
    goes on. Raises InputError when a plan of real texts has no texts, or more threads than cores.
    """
    machine, cores = host(), usable_cores()
    plan = replace(plan, threads=tuple(dict.fromkeys(threads or cores for threads in plan.threads)))
    timing = Timing(timed_with(rows), next((row.name for row in rows if row.role == "teacher"), ""), tests, plan)
    _check(timing, cores)
    found: list[Measurement] = [row for entry in rows for row in sizes(entry)]
    failures: list[Failure] = []
    for task, examples in tests.items():
        found += scores([row for row in rows if task in row.targets], task, examples, plan, failures)
    for threads in plan.threads:
        timing.plan = replace(plan, threads=(threads,))
        found += timings(timing)
    subjects = tuple(Subject(r.name, r.role, {t: describe(target) for t, target in r.targets.items()}) for r in rows)
    return Results(
        name,
        datetime.now(UTC).isoformat(timespec="seconds"),
        machine,
        _settings(plan, timing, tests),
        subjects,
        tuple(found),
        (*failures, *timing.failures),
    )


def _check(timing: Timing, cores: int) -> None:
    if max(timing.plan.threads) > cores:
        raise InputError(
            f"--threads {max(timing.plan.threads)}: this process may use {cores} cores, choose at most so many"
        )
    for name, (task, _) in timing.chosen.items():
        if REAL in timing.plan.lengths and task not in timing.tests:
            raise InputError(f"length real draws on the texts of {name}'s task: give --test {task}=FILE")


def _settings(plan: Plan, timing: Timing, tests: Tests) -> dict[str, Any]:
    """Return what the figures depend on beside the subjects and the machine: the grid, the budget, the test splits."""
    tasks = sorted({task for task, _ in timing.chosen.values()})
    given = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(plan).items()}
    splits = {task: {"examples": len(examples), "sha256": _digest(examples)} for task, examples in tests.items()}
    return {**given, "timed": ", ".join(tasks), "tests": splits, "left_out": sorted(set(timing.left_out))}


def _digest(examples: Sequence[Example]) -> str:
    rows = [dataclasses.astuple(example) for example in examples]
    return hashlib.sha256(json.dumps(rows, ensure_ascii=True).encode()).hexdigest()
