"""Scores of every subject, each answered in a process of its own; intervals, and differences to the teacher."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from edgecompress.bench.cells import Plan
from edgecompress.bench.intervals import difference_interval, score_interval
from edgecompress.bench.lane import LostError, lane
from edgecompress.bench.opening import How
from edgecompress.bench.results import Failure
from edgecompress.bench.subjects import Entry
from edgecompress.progress import report
from edgecompress.records import Measurement
from edgecompress.runtime.session import core_numbers
from edgecompress.tasks import TASKS
from edgecompress.tasks.examples import Example
from edgecompress.tasks.scores import score

_CHUNK = 64  # examples that must be answered within the time limit
Said = list[Sequence[str]]  # predicted labels, by example


def scores(
    rows: Sequence[Entry], task: str, examples: Sequence[Example], plan: Plan, failures: list[Failure]
) -> Iterator[Measurement]:
    """Yield the scores of ``rows`` on one task; who cannot be scored is noted in ``failures``."""
    said: dict[str, Said] = {}
    for done, row in enumerate(rows):
        report("scores", done, len(rows), f"{task}: {row.name}")
        settings: dict[str, Any] = {"kind": row.targets[task].task, "examples": len(examples)}
        try:
            said[row.name], unseen = _ask(row, task, examples, plan)
        except LostError as reason:
            failures.append(Failure(row.name, task, "score", str(reason)))
            continue
        if TASKS[settings["kind"]].kind == "token":
            settings["unseen_words"] = unseen
        reference = next((said.get(other.name) for other in rows if other.role == "teacher" != row.role), None)
        yield from _scored(row.name, task, (examples, said[row.name], reference), settings)
    report("scores", len(rows), len(rows), task)


def _ask(row: Entry, task: str, examples: Sequence[Example], plan: Plan) -> tuple[Said, int]:
    cores, unseen = core_numbers(), 0
    said: Said = []
    with lane(cores) as process:
        how = How(len(cores), plan.device, plan.dtype)
        process.ask("open", row.targets[task], how, limit=plan.time_limit)
        for begin in range(0, len(examples), _CHUNK):
            labels, missed = process.ask("score", examples[begin : begin + _CHUNK], limit=plan.time_limit)
            said, unseen = said + labels, unseen + missed
    return said, unseen


def _scored(
    name: str, task: str, labels: tuple[Sequence[Example], Said, Said | None], settings: Mapping[str, Any]
) -> Iterator[Measurement]:
    examples, said, reference = labels
    gold, kind = [example.labels for example in examples], TASKS[settings["kind"]]
    for metric, value in score(kind, gold, said).items():
        yield Measurement(name, task, metric, round(value, 4), "%", settings, score_interval(metric, gold, said))
        if reference is not None:
            difference = value - score(kind, gold, reference)[metric]
            interval = difference_interval(metric, gold, said, reference)
            yield Measurement(name, task, f"{metric}_difference", round(difference, 4), "points", settings, interval)
