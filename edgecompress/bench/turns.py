"""Subjects take turns at one cell, in processes of their own; what comes of it as measurements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import numpy as np

from edgecompress.bench.cells import REAL, Cell, Plan
from edgecompress.bench.intervals import median_interval
from edgecompress.bench.lane import Lane, LostError
from edgecompress.bench.memory import energy, joules
from edgecompress.bench.worker import Turn
from edgecompress.records import Measurement

_PERCENTILES = (50, 90, 95, 99)
Settings = Mapping[str, Any]


@dataclass
class Timed:
    """Each turn's calls, and the joules of the turns where they can be read."""

    turns: list[Turn] = field(default_factory=list)
    energy: float | None = None

    def all(self, part: str) -> list[float]:
        """Return every call's milliseconds."""
        return [call[part] for turn in self.turns for call in turn.calls]

    @property
    def waited(self) -> float:
        """Percent of the clock's seconds in which a process of one thread did not run: another one had its core."""
        return 100 * max(0.0, 1 - sum(turn.ran for turn in self.turns) / sum(turn.took for turn in self.turns))

    def medians(self, part: str) -> list[float]:
        """Return the median of each turn, in milliseconds."""
        return [median(call[part] for call in turn.calls) for turn in self.turns]


def take_turns(lanes: Mapping[str, Lane], plan: Plan) -> tuple[dict[str, Timed], dict[str, str]]:
    """Time prepared subjects, and return what was timed, and why others were lost.

    Every second round goes the other way round, so that a machine that slows down steadily favours nobody.
    """
    timed, lost = {name: Timed() for name in lanes}, {}
    least = -(-plan.iterations // plan.rounds)
    for number in range(plan.rounds):
        for name in list(lanes) if number % 2 == 0 else list(lanes)[::-1]:
            if name in lost:
                continue
            before = energy()
            try:
                seconds = plan.seconds / plan.rounds
                timed[name].turns.append(lanes[name].ask("turn", seconds, least, limit=seconds + plan.time_limit))
            except LostError as reason:
                lost[name] = str(reason)
                continue
            used = joules(before, energy())
            timed[name].energy = None if used is None else (timed[name].energy or 0.0) + used
    return {name: one for name, one in timed.items() if name not in lost}, lost


def measurements(
    name: str, task: str, timed: Timed, teacher: Timed | None, cell: Cell, settings: Settings
) -> list[Measurement]:
    """Return the figures of one subject at one cell; see :class:`edgecompress.bench.results.Results`."""
    batch, length = cell
    where = {**settings, "batch": batch, "length": length, "iterations": len(timed.all("model"))}
    headline = "total" if length == REAL else "model"
    rows = []
    for part in timed.turns[0].calls[0]:
        rows += _latency(name, task, timed, part, {**where, "part": part})
    where = {**where, "part": headline}
    calls = timed.all(headline)
    rows.append(_row(name, task, "throughput", 1000 * batch * len(calls) / sum(calls), "texts/s", where))
    middle = timed.medians(headline)
    if len(middle) > 1:
        noise = 50 * (max(middle) - min(middle)) / median(middle)
        rows.append(_row(name, task, "noise", noise, "%", where))
    if where["device"] == "cpu" and where["threads"] == 1:  # of several, how many wait for each other is not known
        rows.append(_row(name, task, "waiting", timed.waited, "%", where))
    if timed.energy is not None:
        rows.append(_row(name, task, "energy", timed.energy / (batch * len(calls)), "J", where))
    if teacher is not None:
        ratios = [a / b for a, b in zip(teacher.medians(headline), middle, strict=True)]
        rows.append(_row(name, task, "speedup", median(ratios), "×", where, median_interval(ratios)))
    return rows


def _latency(name: str, task: str, timed: Timed, part: str, where: Settings) -> list[Measurement]:
    calls = timed.all(part)
    rows = [_row(name, task, f"latency_p{p}", float(np.percentile(calls, p)), "ms", where) for p in _PERCENTILES]
    turns = timed.medians(part)  # each turn counts alike: a fast one has more calls
    rows[0] = _row(name, task, "latency_p50", median(turns), "ms", where, median_interval(turns))
    return [*rows, _row(name, task, "latency_mean", float(np.mean(calls)), "ms", where)]


def _row(
    name: str,
    task: str,
    metric: str,
    value: float,
    unit: str,
    where: Settings,
    interval: tuple[float, float] | None = None,
) -> Measurement:
    return Measurement(name, task, metric, round(value, 4), unit, dict(where), interval)


def sample(texts: Sequence[str], batch: int, *, at_least: int = 32) -> list[str]:
    """Return texts whose lengths are spread as those of ``texts``: whole batches, ``at_least`` texts where there are so
    many, always the same ones, short and long mixed.
    """
    wanted = -(-min(at_least, len(texts)) // batch) * batch
    ordered = sorted(texts, key=len)
    spread = [ordered[int((index + 0.5) * len(ordered) / wanted)] for index in range(wanted)]
    return [spread[index] for index in np.random.default_rng(0).permutation(wanted)]
