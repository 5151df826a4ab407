"""Times of results, by what was timed: which shape, on how many threads of which device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from edgecompress.bench.cells import Length, named
from edgecompress.bench.results import Results
from edgecompress.records import Measurement
from edgecompress.report.digest import reference, shape_failed

MEDIAN = "latency_p50"
TITLES = {  # of the figures that a preset can be about, with their units
    MEDIAN: "Median latency in ms",
    "latency_p90": "90th percentile of latency in ms",
    "throughput": "Throughput in texts/s",
}
PARTS = ("tokenize", "model", "postprocess", "total")
_USUAL = (1, 32)  # the shape that speeds are summarised at, where it was measured
_REAL = "real"


@dataclass(frozen=True)
class Spot:
    """What was timed. ``length`` is in tokens, or "real": texts of the task; ``threads`` 0: all cores."""

    device: str
    threads: int
    batch: int
    length: Length

    @property
    def real(self) -> bool:
        """Whether texts of the task were timed, not a fixed number of tokens."""
        return self.length == _REAL


def times(results: Results, metric: str = MEDIAN, part: str = "") -> Mapping[tuple[str, Spot], Measurement]:
    """Return ``metric`` by subject and spot: of ``part``, or of what counts ("total" for real texts, else "model").

    A shape that failed has none, whatever was timed before it failed; of several tasks' models the first counts.
    """
    found: dict[tuple[str, Spot], Measurement] = {}
    for row in results.measurements:
        if row.metric == metric and "batch" in row.settings:
            own = spot(row)
            wanted = part or ("total" if own.real else "model")
            if row.settings.get("part", "model") == wanted and not shape_failed(
                results, row.subject, shape(own), own.threads
            ):
                found.setdefault((row.subject, own), row)
    return found


def headline(results: Results) -> str:
    """Return the metric that the run was about: a preset's, or the median latency."""
    return str(results.settings.get("headline", MEDIAN))


def ratios(results: Results, metric: str) -> Mapping[tuple[str, Spot], float]:
    """Return how many times as good as the teacher's ``metric`` is, by subject and spot: of medians as measured in the
    same turns, of anything else the two figures' own ratio.
    """
    if metric == MEDIAN:
        return {of: row.value for of, row in times(results, "speedup").items()}
    teacher, found = reference(results), times(results, metric)
    whole = {at: row.value for (name, at), row in found.items() if teacher and name == teacher.name}
    pairs = {of: (row.value, whole[of[1]]) for of, row in found.items() if of[1] in whole}
    better = {of: pair if metric == "throughput" else pair[::-1] for of, pair in pairs.items()}
    return {of: above / below for of, (above, below) in better.items() if below}


def spots(results: Results) -> Sequence[Spot]:
    """Return every spot timed: the CPU first, few threads first, small shapes first, real texts last."""
    return sorted({spot(row) for row in results.measurements if row.metric == MEDIAN}, key=_order)


def usual_spot(results: Results) -> Spot | None:
    """Return the spot that sums speed up: 1×32, or the smallest fixed shape, or real texts; None without any.

    It is the one with the fewest threads of the CPU.
    """
    return min({of for _, of in times(results)}, key=lambda of: (*_order(of)[:3], *_size(of)), default=None)


def by_length(results: Results) -> Sequence[Spot]:
    """Return the spots of one text of a fixed length at a time, on the usual device and threads, by length."""
    usual = usual_spot(results)
    if usual is None:
        return ()
    return [of for of in spots(results) if of == replace(usual, batch=1, length=of.length) and not of.real]


def spot(row: Measurement) -> Spot:
    """Return what a latency, a speedup or a noise was measured at."""
    settings = row.settings
    return Spot(str(settings.get("device", "cpu")), int(settings["threads"]), settings["batch"], settings["length"])


def shape(of: Spot) -> str:
    """Return "1×32", or "1×real"."""
    return named((of.batch, of.length))


def shape_in_words(of: Spot) -> str:
    """Return "at 1×32", or "for real texts"."""
    together = "" if of.batch == 1 else f", {of.batch} at a time"
    return f"for real texts{together}" if of.real else f"at {shape(of)}"


def place(of: Spot) -> str:
    """Return "1 thread", "2 threads", "all cores"; of another device than the CPU its name, too."""
    threads = "all cores" if of.threads == 0 else f"{of.threads} thread{'' if of.threads == 1 else 's'}"
    return threads if of.device == "cpu" else f"{of.device}, {threads}"


def _order(of: Spot) -> tuple[tuple[bool, str], int, bool, int, int]:
    return (of.device != "cpu", of.device), of.threads, of.real, of.batch, 0 if of.real else int(of.length)


def _size(of: Spot) -> tuple[bool, int, int]:
    return (of.batch, of.length) != _USUAL, of.batch * (1 if of.real else int(of.length)), of.batch
