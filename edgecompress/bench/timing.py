"""All rows timed in turns, on one number of threads: starting, every cell of the grid, memory at the end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from edgecompress.bench.cells import REAL, Cell, Plan, named
from edgecompress.bench.lane import Lane, LostError, lane
from edgecompress.bench.opening import How
from edgecompress.bench.results import Failure
from edgecompress.bench.subjects import Entry, Target
from edgecompress.bench.turns import measurements, sample, take_turns
from edgecompress.progress import report
from edgecompress.records import Measurement
from edgecompress.runtime.session import core_numbers
from edgecompress.tasks.examples import Example

Chosen = Mapping[str, tuple[str, Target]]  # row → the task that it is timed with, and its target


@dataclass
class Timing:
    """What is timed, and what came in between: ``failures``, and cells ``left_out`` as the longest input is shorter."""

    chosen: Chosen
    teacher: str
    tests: Mapping[str, Sequence[Example]]
    plan: Plan
    failures: list[Failure] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    @property
    def threads(self) -> int:
        """The one number of threads."""
        return self.plan.threads[0]

    @property
    def settings(self) -> dict[str, Any]:
        """What every figure of this timing has in common."""
        return {"threads": self.threads, "device": self.plan.device}

    def fail(self, name: str, where: str, reason: str) -> None:
        """Note a failure."""
        self.failures.append(Failure(name, self.chosen[name][0], where, reason, self.threads))


def timed_with(rows: Sequence[Entry]) -> Chosen:
    """Return the task that each row is timed with: the first that all rows have, or else the row's own first."""
    shared = [task for task in rows[0].targets if all(task in row.targets for row in rows)] if rows else []
    return {
        row.name: (shared[0], row.targets[shared[0]]) if shared else next(iter(row.targets.items())) for row in rows
    }


def timings(timing: Timing) -> Iterator[Measurement]:
    """Yield what was measured; a subject that fails is noted, and the others go on."""
    plan = timing.plan
    with ExitStack() as stack:
        lanes: dict[str, Lane] = {}
        for done, (name, (task, target)) in enumerate(timing.chosen.items()):
            report("open", done, len(timing.chosen), name)
            process = stack.enter_context(lane(core_numbers()[: timing.threads]))
            how = How(timing.threads, plan.device, plan.dtype)
            try:
                opened = process.ask("open", target, how, limit=plan.time_limit)
            except LostError as reason:
                timing.fail(name, "load", str(reason))
                continue
            lanes[name] = process
            for metric, value in opened.items():
                unit = "bytes" if metric.startswith("memory") else "ms"
                yield Measurement(name, task, metric, round(value, 3), unit, timing.settings)
        report("open", len(timing.chosen), len(timing.chosen))
        for done, cell in enumerate(plan.cells):
            report("latency", done, len(plan.cells), f"{named(cell)}, threads {timing.threads}")
            yield from _cell(timing, cell, lanes)
        report("latency", len(plan.cells), len(plan.cells))
        yield from _memory(timing, lanes)


def _cell(timing: Timing, cell: Cell, lanes: dict[str, Lane]) -> Iterator[Measurement]:
    ready = {name: process for name, process in list(lanes.items()) if _is_ready(timing, cell, name, lanes)}
    timed, lost = take_turns(ready, timing.plan)
    for name, reason in lost.items():
        _lost(timing, cell, name, reason, lanes)
    for name, one in timed.items():
        task, target = timing.chosen[name]
        same = timing.teacher in timed and timing.chosen[timing.teacher][0] == task
        rival = timed[timing.teacher] if same else None
        yield from measurements(name, task, one, rival, cell, {**timing.settings, "kind": target.task})


def _is_ready(timing: Timing, cell: Cell, name: str, lanes: dict[str, Lane]) -> bool:
    batch, length = cell
    texts = [" ".join(e.words) for e in timing.tests[timing.chosen[name][0]]] if length == REAL else []
    try:
        fits: bool = lanes[name].ask(
            "prepare", cell, sample(texts, batch) if texts else [], limit=timing.plan.time_limit
        )
    except LostError as reason:
        _lost(timing, cell, name, str(reason), lanes)
        return False
    if not fits:
        timing.left_out.append(f"{name} at {named(cell)}: its longest input is shorter")
    return fits


def _lost(timing: Timing, cell: Cell, name: str, reason: str, lanes: dict[str, Lane]) -> None:
    """Note the failure; a subject whose process is gone is left out of the cells to come."""
    if not lanes[name].alive:
        del lanes[name]
        reason += "; it was left out of what came after"
    timing.fail(name, named(cell), reason)


def _memory(timing: Timing, lanes: Mapping[str, Lane]) -> Iterator[Measurement]:
    for name, process in lanes.items():
        try:
            held = process.ask("memory", limit=timing.plan.time_limit)
        except LostError as reason:
            timing.fail(name, "memory", str(reason))
            continue
        for metric, key in (("memory_steady", "now"), ("memory_peak", "peak")):
            if key in held:
                yield Measurement(name, timing.chosen[name][0], metric, held[key], "bytes", timing.settings)
