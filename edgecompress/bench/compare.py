"""Two results of a benchmark, figure by figure: what changed, by how much, and whether it is more than noise."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from edgecompress.bench.results import Failure, Results, is_headline
from edgecompress.errors import CheckError, InputError
from edgecompress.records import Measurement

Interval = tuple[float, float]
Verdict = Literal["worse", "better", "within noise", "unchanged", "no interval"]
_COUNTS = ("examples", "iterations", "unseen_words")  # how much was measured, not what
_WHOLE = ("model", "total")  # parts of a latency that are judged; tokenizing and the like are within "total"
_USUAL: Mapping[str, Any] = {"part": "model", "threads": 1, "device": "cpu"}
_NAMED = 3  # regressions that the one line names


@dataclass(frozen=True)
class Rule:
    """How a metric is read. ``sign`` is +1 where more is worse; ``exact`` figures repeat to the digit.

    ``gate``: what --max-regression looks at. "interval": only with an interval, because two runs of the same model
    differ by more than a few percent in it. ``main``: worth a row in the short table.
    """

    short: str
    sign: int
    gate: Literal["always", "interval", "never"]
    exact: bool = False
    main: bool = True


RULES: Mapping[str, Rule] = {
    "model_bytes": Rule("size", 1, "always", exact=True),
    "latency_p50": Rule("p50", 1, "always"),
    "latency_p99": Rule("p99", 1, "interval"),
    "load": Rule("load", 1, "interval"),
    "memory_steady": Rule("memory", 1, "always"),
    "throughput": Rule("throughput", -1, "never", main=False),
    "speedup": Rule("speedup", -1, "never", main=False),
}
_SCORES = {"macro_f1": Rule("F1", -1, "always"), "span_f1": Rule("F1", -1, "always"),
           "accuracy": Rule("acc", -1, "always")}  # fmt: skip


@dataclass(frozen=True)
class Difference:
    """One figure of both sides. ``difference`` and its 95 % ``interval`` are in ``unit``: "points" (of a score), else
    "%" of the old value; ``worse`` is the change in the bad direction in % of the old value, negative for a gain.
    """

    subject: str
    task: str
    metric: str
    settings: Mapping[str, Any]
    old: float
    new: float
    unit: str
    difference: float
    interval: Interval | None
    worse: float

    @property
    def rule(self) -> Rule:
        """How the metric is read."""
        return _rule(self.metric)

    @property
    def verdict(self) -> Verdict:
        """Whether the change is real: its interval excludes 0, or the figure is exact."""
        if self.old == self.new:
            return "unchanged"
        if self.interval is None and not self.rule.exact:
            return "no interval"
        if self.interval is not None and self.interval[0] <= 0 <= self.interval[1]:
            return "within noise"
        return "worse" if self.worse > 0 else "better"

    @property
    def main(self) -> bool:
        """Whether the short table shows it: a figure of the whole model that can be judged, and no other says it."""
        judged = self.rule.gate == "always" or self.interval is not None
        return judged and self.rule.main and self.settings.get("part", "model") in _WHOLE

    def label(self, *, task: bool = True) -> str:
        """Return what was measured in few words: "topic F1", "p50 1×32, 4 threads"."""
        return label(self.task if task else "", self.metric, self.settings)


@dataclass(frozen=True)
class Comparison:
    """What two results have in common, worst first, and what the newer one lacks.

    ``missing`` names subjects, tasks and figures of the older one that are not in the newer one; ``failures`` are those
    of the newer one alone; ``notes`` are one line each; ``retested`` names the tasks whose test data differ: their
    scores do not compare, and no gate can judge them.
    """

    rows: tuple[Difference, ...]
    missing: tuple[str, ...]
    failures: tuple[Failure, ...]
    notes: tuple[str, ...]
    retested: tuple[str, ...] = ()


def compare(old: Results, new: Results) -> Comparison:
    """Pair the figures of ``old`` and ``new``. Raises InputError when they have none in common."""
    before, after = _figures(old), _figures(new)
    rows = [_difference(before[key], after[key]) for key in before if key in after]
    if not rows:
        raise InputError(
            f"the results have no figure in common: {_holds(old)} there, {_holds(new)} here: name subjects alike "
            f"(NAME=FOLDER) and measure the same tasks"
        )
    known = {(one.subject, one.task, one.where) for one in old.failures}
    failures = tuple(one for one in new.failures if (one.subject, one.task, one.where) not in known)
    lost = [before[key] for key in before if key not in after]
    retested = {
        **{before[key].task: note for key in before if key in after and (note := _recounted(before[key], after[key]))},
        **dict(_other_splits(old, new)),
    }
    return Comparison(
        tuple(sorted(rows, key=_place)),
        tuple(dict.fromkeys(_missing(old, new, lost, failures))),
        failures,
        tuple(retested.values()),
        tuple(retested),
    )


def regressions(found: Comparison, percent: float) -> tuple[Difference, ...]:
    """Return what got worse by more than ``percent`` of its old value, worst first; neither noise counts, nor scores on
    other test data.
    """
    judged = (row for row in found.rows if row.metric not in _SCORES or row.task not in found.retested)
    worse = [row for row in judged if _is_gated(row) and row.worse > percent]
    return tuple(sorted(worse, key=lambda row: -round(row.worse, 6)))


def judge(found: Comparison, percent: float) -> None:
    """Raise CheckError, one line that names the worst, for regressions past ``percent``, lost figures, failures, and
    scores that cannot be judged.
    """
    rows = regressions(found, percent)
    named = [f"{row.subject} {row.label()} {change(row)} ({row.old:.6g} → {row.new:.6g})" for row in rows]
    said = [
        _some(f"worse by more than {percent:g} %", named),
        _some("missing in the newer results", found.missing),
        _some("scored on other test data, which no gate can judge", found.retested),
        _some("failed", [f"{one.subject} {one.task} {one.where} ({one.reason})" for one in found.failures]),
    ]
    if any(said):
        raise CheckError("; ".join(filter(None, said)))


def change(row: Difference) -> str:
    """Return the difference with its sign and unit: "+10.1 %", "-2.0 points"."""
    return f"{row.difference:+.1f} {row.unit}"


def label(task: str, metric: str, settings: Mapping[str, Any]) -> str:
    """Return what was measured in few words; one thread, the CPU and the whole model go without saying."""
    part, threads, device = (settings.get(name, usual) for name, usual in _USUAL.items())
    words = [task, _rule(metric).short]
    words += [_shape(settings["batch"], settings["length"])] if "batch" in settings and "length" in settings else []
    words += [] if part == "model" else [str(part)]
    words += [] if threads == 1 else [f"{threads} threads"]
    return " ".join(filter(None, [*words, "" if device == "cpu" else str(device)]))


def _shape(batch: int, length: int | str) -> str:
    return str(length) if batch == 1 and isinstance(length, str) else f"{batch}×{length}"


def _rule(metric: str) -> Rule:
    return _SCORES.get(metric) or RULES[metric]


def _figures(results: Results) -> dict[tuple[str, str, str, str], Measurement]:
    """Return the figures that are compared, by what they are of."""
    found = {}
    for row in results.measurements:
        if row.metric in RULES or is_headline(row):
            where = {name: value for name, value in row.settings.items() if name not in _COUNTS}
            found[row.subject, row.task, row.metric, json.dumps(where, sort_keys=True)] = row
    return found


def _difference(old: Measurement, new: Measurement) -> Difference:
    moved, interval = new.value - old.value, _interval(old, new)
    percent = _percent(moved, old.value)
    unit, scale = ("points", 1.0) if old.metric in _SCORES else ("%", _percent(1.0, old.value))
    bounds = (interval[0] * scale, interval[1] * scale) if interval and math.isfinite(scale) else None
    return Difference(
        old.subject,
        old.task,
        old.metric,
        new.settings,
        old.value,
        new.value,
        unit,
        moved if unit == "points" else percent,
        bounds,
        _rule(old.metric).sign * percent,
    )


def _percent(part: float, whole: float) -> float:
    if part == 0:
        return 0.0
    return 100 * part / abs(whole) if whole else math.copysign(math.inf, part)


def _interval(old: Measurement, new: Measurement) -> Interval | None:
    """Return the bounds of new − old, the two taken as independent; None unless both sides have an interval."""
    if old.interval is None or new.interval is None:
        return None
    moved = new.value - old.value
    below = math.hypot(new.value - new.interval[0], old.interval[1] - old.value)
    above = math.hypot(new.interval[1] - new.value, old.value - old.interval[0])
    return moved - below, moved + above


def _place(row: Difference) -> tuple[int, float]:
    """Real losses first, then losses that cannot be judged, gains, and noise; the worst of each first."""
    open_loss = row.verdict == "no interval" and row.worse > 0
    order = ["worse", "loss", "better", "no interval", "within noise", "unchanged"]
    return order.index("loss" if open_loss else row.verdict), -round(row.worse, 6)


def _is_gated(row: Difference) -> bool:
    return row.main and row.rule.gate != "never" and row.verdict in ("worse", "no interval")


def _missing(old: Results, new: Results, lost: list[Measurement], failures: tuple[Failure, ...]) -> Iterator[str]:
    """Yield what the newer results lack: a whole subject, a task of one, or a figure that nothing failed on."""
    there = {subject.name: subject for subject in new.subjects}
    failed = {(one.subject, one.task) for one in failures}
    for subject in old.subjects:
        if subject.name not in there:
            yield subject.name
            continue
        yield from (f"{subject.name}: {task}" for task in subject.models if task not in there[subject.name].models)
    for row in lost:
        whole = row.settings.get("part", "model") in _WHOLE and _rule(row.metric).gate == "always"
        has_task = row.subject in there and (not row.task or row.task in there[row.subject].models)
        if whole and has_task and (row.subject, row.task) not in failed:
            yield f"{row.subject}: {label(row.task, row.metric, row.settings)}"


def _recounted(old: Measurement, new: Measurement) -> str:
    """Return a note when a score is of another number of examples: then the test data differ."""
    counts = [row.settings.get("examples") for row in (old, new)]
    if old.metric not in _SCORES or counts[0] == counts[1]:
        return ""
    return f"{old.task} was scored on {counts[0]} examples there and {counts[1]} here: the test data differ"


def _other_splits(old: Results, new: Results) -> Iterator[tuple[str, str]]:
    """Yield the name and a note of each task whose test data differ although as many examples were scored."""
    before, after = (one.settings.get("tests", {}) for one in (old, new))
    for task in before:
        mine, theirs = before[task], after.get(task, before[task])
        if mine["examples"] == theirs["examples"] and mine["sha256"] != theirs["sha256"]:
            yield task, f"{task} was scored on other test data of as many examples: scores do not compare"


def _holds(results: Results) -> str:
    names = [subject.name for subject in results.subjects]
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")


def _some(what: str, named: tuple[str, ...] | list[str]) -> str:
    rest = len(named) - _NAMED
    return f"{what}: {', '.join(named[:_NAMED])}{f' and {rest} more' if rest > 0 else ''}" if named else ""
