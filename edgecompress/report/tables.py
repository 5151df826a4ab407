"""The report's tables as plain rows, the same for the page and for Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from edgecompress.bench.results import Results
from edgecompress.records import Measurement
from edgecompress.report import digest, speed
from edgecompress.report.words import FAILED, NOTHING, digits, interval, listed, millions


@dataclass(frozen=True)
class Cell:
    """One figure. ``detail`` stands below it, smaller; ``title`` is one more sentence for who points at it."""

    text: str = NOTHING
    detail: str = ""
    title: str = ""


@dataclass(frozen=True)
class Table:
    """Rows by subject, in the order of the subjects. A line break in a column's head stands before its unit."""

    caption: str
    columns: tuple[str, ...]
    rows: Mapping[str, tuple[Cell, ...]]
    notes: tuple[str, ...] = ()


def quality_table(results: Results) -> Table:
    """Return each task's headline score with its interval, the mean drop, file size and parameters: on a phone the
    first columns are what is seen.
    """
    tasks = digest.tasks(results)
    columns = (*(f"{digest.heading(*task)}\n%" for task in tasks.items()), "mean drop\n%", "file\nMB", "parameters\nM")
    rows = {
        subject.name: (
            *(_score(results, subject.name, task) for task in tasks),
            _drop(results, subject.name),
            _size(digest.largest(results, subject.name, "model_bytes")),
            _size(digest.largest(results, subject.name, "parameters")),
        )
        for subject in results.subjects
    }
    return Table("Size and quality", columns, rows, tuple(_quality_notes(results)))


def latency_table(results: Results) -> Table | None:
    """Return medians in ms, with the speedup and its interval; None where nothing was timed."""
    spots, medians, ratios = speed.spots(results), speed.times(results), speed.times(results, "speedup")
    rows = {
        s.name: tuple(
            _time(results, (s.name, spot), medians.get((s.name, spot)), ratios.get((s.name, spot))) for spot in spots
        )
        for s in results.subjects
    }
    columns = tuple(f"{speed.shape(spot)}\n{speed.place(spot)}" for spot in spots)
    caption = "Median latency in ms (batch×tokens)"
    return Table(caption, columns, rows, tuple(_latency_notes(results, spots))) if spots else None


def headline_table(results: Results) -> Table | None:
    """Return what the run was about where that is not the median: a preset's percentile, or texts a second; with how
    many times as good it is as the teacher's.
    """
    metric, teacher = speed.headline(results), digest.reference(results)
    spots = speed.spots(results) if metric != speed.MEDIAN else ()
    figures, ratios = speed.times(results, metric), speed.ratios(results, metric)
    rows = {
        s.name: tuple(
            _figure(
                results,
                (s.name, spot),
                figures.get((s.name, spot)),
                ratios.get((s.name, spot)) if s != teacher else None,
            )
            for spot in spots
        )
        for s in results.subjects
    }
    columns = tuple(f"{speed.shape(spot)}\n{speed.place(spot)}" for spot in spots)
    notes = (f"In brackets: how many times as good as {teacher.name}.",) if teacher and ratios else ()
    return Table(f"{speed.TITLES.get(metric, metric)} (batch×tokens)", columns, rows, notes) if spots else None


def split_tables(results: Results) -> Sequence[Table]:
    """Return, for each way that real texts were timed, where their time goes: tokenize, model, postprocess, total."""
    found = {part: speed.times(results, part=part) for part in speed.PARTS}
    return [
        Table(
            f"Real texts, median ms by part (batch of {spot.batch}, {speed.place(spot)})",
            tuple(f"{part}\nms" for part in found),
            {
                s.name: tuple(_time(results, (s.name, spot), rows.get((s.name, spot))) for rows in found.values())
                for s in results.subjects
            },
        )
        for spot in speed.spots(results)
        if spot.real
    ]


def ledger_table(results: Results) -> Table | None:
    """Return MB by part of the network; None where no file was taken apart."""
    found = {subject.name: digest.part_bytes(results, subject.name) for subject in results.subjects}
    parts = list(dict.fromkeys(part for sums in found.values() for part in sums))
    rows = {
        name: (*(_size(sums.get(part)) for part in parts), _size(sum(sums.values()) if sums else None))
        for name, sums in found.items()
    }
    return Table("MB by part", (*(f"{part}\nMB" for part in parts), "together\nMB"), rows) if parts else None


def _size(value: float | None) -> Cell:
    return Cell() if value is None else Cell(millions(value))


def _score(results: Results, subject: str, task: str) -> Cell:
    row = digest.headlines(results).get((subject, task))
    if row is None:
        return Cell(FAILED if digest.score_failed(results, subject, task) else NOTHING)
    difference = digest.differences(results).get((subject, task))
    title = f"{row.settings['examples']} examples" if "examples" in row.settings else ""
    if difference:
        bounds = f" ({interval(difference.interval)})" if difference.interval else ""
        title = f"{difference.value:+.1f} points beside the teacher{bounds}; {title}".replace("-", "−").rstrip("; ")
    return Cell(f"{row.value:.1f}", interval(row.interval), title)


def _drop(results: Results, subject: str) -> Cell:
    teacher, found = digest.reference(results), digest.kept(results, subject)
    if teacher is None or found is None or subject == teacher.name:
        return Cell()
    all_tasks = len(digest.tasks(results))
    partly = "" if found.tasks == all_tasks else f"{found.tasks} of {all_tasks} tasks"
    return Cell(f"{100.0 - found.percent:.1f}".replace("-", "−"), partly)


def _quality_notes(results: Results) -> Iterator[str]:
    teacher = digest.reference(results)
    if not digest.tasks(results):
        yield "No scores were measured."
        return
    if any(row.interval for row in digest.headlines(results).values()):
        yield "After a score: the bounds that hold it with 95 % confidence."
    if teacher:
        yield f"Mean drop: of {teacher.name}'s scores, the mean over tasks."
    else:
        yield "There is no teacher in these results, so there is no drop."
    for subject, names in digest.lacking(results).items():
        yield f"{subject} has no score on {listed(names)}."


def _latency_notes(results: Results, spots: Sequence[speed.Spot]) -> Iterator[str]:
    teacher = digest.reference(results)
    if teacher and speed.times(results, "speedup"):
        yield f"In brackets: how many times as fast as {teacher.name}, in the same turns; then its 95 % bounds."
    if any(spot.real for spot in spots):
        yield "real: texts of the task, from text to label."
    tasks = {subject: row.task for (subject, _), row in speed.times(results).items() if row.task}
    if len(set(tasks.values())) > 1:
        yield f"Timed with the model of: {', '.join(f'{subject}: {task}' for subject, task in tasks.items())}."
    elif tasks:
        yield f"Timed with the {next(iter(tasks.values()))} models."
    yield from (f"Left out: {what}." for what in results.settings.get("left_out", ()))


def _time(
    results: Results, of: tuple[str, speed.Spot], row: Measurement | None, ratio: Measurement | None = None
) -> Cell:
    teacher = digest.reference(results)
    own = None if teacher and of[0] == teacher.name else ratio
    cell = _figure(results, of, row, own.value if own else None)
    if row is None:
        return cell
    bounds = f"median between {digits(row.interval[0])} and {digits(row.interval[1])} ms" if row.interval else ""
    return Cell(cell.text, interval(own.interval) if own else "", bounds)


def _figure(results: Results, of: tuple[str, speed.Spot], row: Measurement | None, ratio: float | None = None) -> Cell:
    subject, spot = of
    if row is None:
        failed = digest.shape_failed(results, subject, speed.shape(spot), spot.threads) or digest.never_ran(
            results, subject
        )
        return Cell(FAILED if failed else NOTHING)
    return Cell(digits(row.value) if ratio is None else f"{digits(row.value)} (×{ratio:.1f})")
