"""How long a graph takes. Subjects take turns, so that whatever else the machine does hits all of them alike."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from edgecompress.artifact import Artifact
from edgecompress.bench.opening import known_ids, random_feed, tokenizer_beside
from edgecompress.progress import report
from edgecompress.records import Measurement
from edgecompress.runtime.encoding import open_tokenizer
from edgecompress.runtime.session import open_session

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from tokenizers import Tokenizer

Shape = tuple[int, int]
SHAPES: tuple[Shape, ...] = ((1, 32), (1, 128), (8, 128))
WARM_UP = 3


@dataclass(frozen=True)
class Budget:
    """How much is timed for each subject and shape: both minimums hold, spread evenly over ``rounds`` turns."""

    seconds: float
    rounds: int
    iterations: int


def latencies(
    subjects: Mapping[str, Artifact | Path],
    shapes: Sequence[Shape] = SHAPES,
    *,
    threads: int = 1,
    seconds: float = 2.0,
    rounds: int = 5,
    iterations: int = 20,
) -> list[Measurement]:
    """Time each subject (an artifact, or an ONNX file) on each (batch, length): median and 90th percentile, in ms.

    The figures are over at least ``seconds`` and ``iterations`` for each subject and shape, spread over ``rounds``
    turns between the subjects, after a warm-up. Ids are random and every position is attended to; for an ONNX file they
    come from the ``tokenizer.json`` beside it, and without one from the first 32. A shape longer than an artifact's
    ``max_length`` is left out, and reported so. Raises ArtifactError for a file that cannot be opened or wants other
    inputs than an encoder's.
    """
    sessions = {name: open_session(_model_path(subject), threads=threads) for name, subject in subjects.items()}
    vocabularies = {name: known_ids(_tokenizer(one)) for name, one in subjects.items()}
    budget = Budget(seconds, rounds, iterations)
    measured = []
    for done, shape in enumerate(shapes):
        report("latency", done, len(shapes), _named(shape))
        runs = {
            name: (session, random_feed(session, vocabularies[name], shape))
            for name, session in sessions.items()
            if _fits(subjects[name], shape)
        }
        _report_left_out({name: subjects[name] for name in subjects if name not in runs}, shape, (done, len(shapes)))
        for name, times in _interleaved(runs, budget).items():
            measured += _measurements(name, times, shape, threads)
    report("latency", len(shapes), len(shapes))
    return measured


def medians(found: Sequence[Measurement]) -> dict[str, dict[Shape, float]]:
    """Return the median milliseconds by subject and (batch, length), in the order in which they were measured."""
    times: dict[str, dict[Shape, float]] = {}
    for one in found:
        if one.metric == "latency_p50":
            times.setdefault(one.subject, {})[one.settings["batch"], one.settings["length"]] = one.value
    return times


def _interleaved(runs: Mapping[str, tuple[Any, dict[str, Any]]], budget: Budget) -> dict[str, list[float]]:
    """Return the milliseconds of every timed call, by subject."""
    for session, feed in runs.values():
        for _ in range(WARM_UP):
            session.run(None, feed)
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(budget.rounds):
        for name, (session, feed) in runs.items():
            times[name] += _turn(session, feed, budget)
    return times


def _turn(session: Any, feed: dict[str, Any], budget: Budget) -> Iterator[float]:
    least = -(-budget.iterations // budget.rounds)
    done, end = 0, perf_counter() + budget.seconds / budget.rounds
    while done < least or perf_counter() < end:
        begin = perf_counter()
        session.run(None, feed)
        yield 1000.0 * (perf_counter() - begin)
        done += 1


def _measurements(name: str, times: Sequence[float], shape: Shape, threads: int) -> list[Measurement]:
    settings = {"batch": shape[0], "length": shape[1], "threads": threads, "iterations": len(times)}
    return [
        Measurement(name, "", f"latency_p{percent}", round(float(np.percentile(times, percent)), 4), "ms", settings)
        for percent in (50, 90)
    ]


def _model_path(subject: Artifact | Path) -> Path:
    return subject.model_path if isinstance(subject, Artifact) else subject


def _fits(subject: Artifact | Path, shape: Shape) -> bool:
    return not isinstance(subject, Artifact) or shape[1] <= subject.max_length


def _report_left_out(subjects: Mapping[str, Artifact | Path], shape: Shape, progress: tuple[int, int]) -> None:
    for name, subject in subjects.items():
        if isinstance(subject, Artifact):
            note = f"{name}: {_named(shape)} left out, its longest input is {subject.max_length} tokens"
            report("latency", *progress, note)


def _named(shape: Shape) -> str:
    return f"{shape[0]}×{shape[1]}"


def _tokenizer(subject: Artifact | Path) -> Tokenizer | None:
    return open_tokenizer(subject.tokenizer_path) if isinstance(subject, Artifact) else tokenizer_beside(subject)
