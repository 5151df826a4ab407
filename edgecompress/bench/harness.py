"""The benchmark: every subject in a process of its own, timed in turns, scored, and marked where it fails."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any

from edgecompress.bench.cells import REAL, Cell, Plan, named
from edgecompress.bench.describe import describe, sizes
from edgecompress.bench.host import host
from edgecompress.bench.intervals import difference_interval, score_interval
from edgecompress.bench.lane import Lane, LostError
from edgecompress.bench.opening import How
from edgecompress.bench.results import Failure, Results, Subject
from edgecompress.bench.subjects import Entry, Target
from edgecompress.bench.turns import measurements, sample, take_turns
from edgecompress.errors import InputError
from edgecompress.progress import report
from edgecompress.records import Measurement
from edgecompress.tasks import TASKS
from edgecompress.tasks.examples import Example
from edgecompress.tasks.scores import score

Tests = Mapping[str, Sequence[Example]]
Said = dict[str, list[Sequence[str]]]  # subject → predicted labels, by example
_SETTINGS = ("seconds", "rounds", "iterations", "time_limit", "device", "dtype", "headline", "preset")


def measure(rows: Sequence[Entry], tests: Tests, plan: Plan, *, name: str = "") -> Results:
    """Measure ``rows``: sizes, scores on ``tests``, memory, and latency of each row's first task.

    The row of role "teacher" is what speedups and differences are of. What fails is noted in ``failures``, and the rest
    goes on. Raises InputError when a plan of real texts has no texts, or more threads than cores.
    """
    machine, cores = host(), core_numbers()
    plan = replace(plan, threads=tuple(dict.fromkeys(threads or len(cores) for threads in plan.threads)))
    _check(rows, tests, plan, len(cores))
    found: list[Measurement] = [row for entry in rows for row in sizes(entry)]
    failures: list[Failure] = []
    for task, examples in tests.items():
        found += _scores([row for row in rows if task in row.targets], task, examples, (plan, failures))
    for threads in plan.threads:
        found += _speed(rows, tests, replace(plan, threads=(threads,)), failures)
    subjects = tuple(Subject(r.name, r.role, {t: describe(target) for t, target in r.targets.items()}) for r in rows)
    settings = {key: value for key, value in asdict(plan).items() if key in _SETTINGS}
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return Results(name, now, machine, settings, subjects, tuple(found), tuple(failures))


def _check(rows: Sequence[Entry], tests: Tests, plan: Plan, cores: int) -> None:
    if max(plan.threads) > cores:
        raise InputError(f"--threads {max(plan.threads)}: this process may use {cores} cores, choose at most so many")
    for row in rows:
        if REAL in plan.lengths and _first(row)[0] not in tests:
            raise InputError(f"length real draws on the texts of {row.name}'s task: give --test {_first(row)[0]}=FILE")


def _scores(
    rows: Sequence[Entry], task: str, examples: Sequence[Example], run: tuple[Plan, list[Failure]]
) -> Iterator[Measurement]:
    plan, failures = run
    said: Said = {}
    for done, row in enumerate(rows):
        report("scores", done, len(rows), f"{task}: {row.name}")
        target = row.targets[task]
        settings: dict[str, Any] = {"kind": target.task, "examples": len(examples)}
        with _lane(core_numbers()) as lane:
            try:
                lane.ask("open", target, How(len(core_numbers()), plan.device, plan.dtype), limit=plan.time_limit)
                said[row.name], unseen = lane.ask("score", examples, limit=10 * plan.time_limit)
            except LostError as reason:
                failures.append(Failure(row.name, task, "score", str(reason)))
                continue
        if TASKS[target.task].kind == "token":
            settings["unseen_words"] = unseen
        reference = next((said.get(other.name) for other in rows if other.role == "teacher" != row.role), None)
        yield from _scored(row.name, task, (examples, said[row.name], reference), settings)
    report("scores", len(rows), len(rows), task)


def _scored(
    name: str,
    task: str,
    labels: tuple[Sequence[Example], Sequence[Sequence[str]], Sequence[Sequence[str]] | None],
    settings: Mapping[str, Any],
) -> Iterator[Measurement]:
    examples, said, reference = labels
    gold, kind = [example.labels for example in examples], TASKS[str(settings["kind"])]
    for metric, value in score(kind, gold, said).items():
        yield Measurement(name, task, metric, round(value, 4), "%", settings, score_interval(metric, gold, said))
        if reference is not None:
            difference = value - score(kind, gold, reference)[metric]
            interval = difference_interval(metric, gold, said, reference)
            yield Measurement(name, task, f"{metric}_difference", round(difference, 4), "points", settings, interval)


def _speed(rows: Sequence[Entry], tests: Tests, plan: Plan, failures: list[Failure]) -> Iterator[Measurement]:
    """Time all rows with the plan's one number of threads."""
    threads = plan.threads[0]
    settings = {"threads": threads, "device": plan.device}
    with ExitStack() as stack:
        lanes: dict[str, Lane] = {}
        for row in rows:
            task, target = _first(row)
            lane = stack.enter_context(_lane(core_numbers()[:threads]))
            report("open", len(lanes), len(rows), row.name)
            try:
                opened = lane.ask("open", target, How(threads, plan.device, plan.dtype), limit=plan.time_limit)
            except LostError as reason:
                failures.append(Failure(row.name, task, "load", str(reason)))
                continue
            lanes[row.name] = lane
            for metric, value in opened.items():
                unit = "bytes" if metric.startswith("memory") else "ms"
                yield Measurement(row.name, task, metric, round(value, 3), unit, settings)
        for done, cell in enumerate(plan.cells):
            report("latency", done, len(plan.cells), f"{named(cell)}, {threads} threads")
            yield from _cell(rows, tests, (cell, plan), (lanes, failures))
        report("latency", len(plan.cells), len(plan.cells))
        yield from _memory(rows, lanes, settings, plan)


def _cell(
    rows: Sequence[Entry], tests: Tests, what: tuple[Cell, Plan], run: tuple[dict[str, Lane], list[Failure]]
) -> Iterator[Measurement]:
    (cell, plan), (lanes, failures) = what, run
    ready, kinds = {}, {row.name: _first(row) for row in rows}
    for name, lane in list(lanes.items()):
        task = kinds[name][0]
        texts = sample([" ".join(e.words) for e in tests[task]], cell[0]) if cell[1] == REAL else []
        try:
            if lane.ask("prepare", cell, texts, limit=plan.time_limit):
                ready[name] = lane
            else:
                report("latency", 0, None, f"{name}: {named(cell)} left out, its longest input is shorter")
        except LostError as reason:
            failures.append(_lost(name, task, cell, str(reason), lanes))
    timed, lost = take_turns(ready, plan)
    failures += [_lost(name, kinds[name][0], cell, reason, lanes) for name, reason in lost.items()]
    teacher = next((timed.get(row.name) for row in rows if row.role == "teacher"), None)
    settings = {"threads": plan.threads[0], "device": plan.device}
    for name, one in timed.items():
        task, target = kinds[name]
        yield from measurements(name, task, one, teacher, cell, {**settings, "kind": target.task})


def _lost(name: str, task: str, cell: Cell, reason: str, lanes: dict[str, Lane]) -> Failure:
    """Note the failure; a subject whose process is gone is left out of the cells to come."""
    gone = not lanes[name].alive
    if gone:
        del lanes[name]
    return Failure(name, task, named(cell), f"{reason}; it was left out of what came after" if gone else reason)


def _memory(
    rows: Sequence[Entry], lanes: Mapping[str, Lane], settings: Mapping[str, Any], plan: Plan
) -> Iterator[Measurement]:
    for row in rows:
        if row.name in lanes:
            held = lanes[row.name].ask("memory", limit=plan.time_limit)
            for metric, key in (("memory_steady", "now"), ("memory_peak", "peak")):
                if key in held:
                    yield Measurement(row.name, _first(row)[0], metric, held[key], "bytes", settings)


def _first(row: Entry) -> tuple[str, Target]:
    return next(iter(row.targets.items()))


def core_numbers() -> list[int]:
    """Return the numbers of the cores that this process may use."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))


@contextmanager
def _lane(cores: Sequence[int]) -> Iterator[Lane]:
    lane = Lane(cores)
    try:
        yield lane
    finally:
        lane.close()
