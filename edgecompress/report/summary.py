"""One sentence for a manager, made from the figures; and what is missing for it."""

from __future__ import annotations

import math
from collections.abc import Iterator

from edgecompress.bench.results import Results, Subject
from edgecompress.report import digest, machine, speed
from edgecompress.report.words import counted, digits, listed, megabytes, times


def summarised(results: Results) -> Subject | None:
    """Return the student that is summed up: the smallest file of those that have a score; None without any."""
    scored = {subject for subject, _ in digest.headlines(results)}
    students = [s for s in results.subjects if s.role == "student" and s.name in scored]
    return min(students, key=lambda s: digest.largest(results, s.name, "model_bytes") or math.inf, default=None)


def sentence(results: Results) -> str:
    """Return what the smallest student keeps, how small and how fast it is; then what is missing, said plainly."""
    student, teacher = summarised(results), digest.reference(results)
    if student is None:
        return f"No student has a score in these results, so there is nothing to sum up.{_failures(results)}"
    claims = [claim for claim in _claims(results, student, teacher) if claim]
    lead = f"The student {student.name.removeprefix('student').strip()}".rstrip()
    said = f"{lead} {listed(claims)}." if claims else f"{lead} has a score."
    missing = listed(list(_missing(results, student, teacher)))
    busy = machine.unrest(results)
    said += f" Not in these results: {missing}." if missing else ""
    return said + _failures(results) + (f" {busy}" if busy else "")


def _claims(results: Results, student: Subject, teacher: Subject | None) -> Iterator[str]:
    keeps = digest.kept(results, student.name)
    if keeps:
        yield f"keeps {keeps.percent:.1f} % of the teacher's accuracy on {counted(keeps.tasks, 'task')}"
    elif (mean := digest.mean_score(results, student.name)) is not None:
        yield f"scores {mean:.1f} % on {counted(len(digest.tasks(results)), 'task')}"
    yield _size(results, student, teacher)
    yield _speed(results, student, teacher)


def _size(results: Results, student: Subject, teacher: Subject | None) -> str:
    own = digest.largest(results, student.name, "model_bytes")
    whole = digest.largest(results, teacher.name, "model_bytes") if teacher else None
    if not own:
        return ""
    if not whole:
        return f"is a file of {megabytes(own)} MB"
    figures = f"({megabytes(whole)} → {megabytes(own)} MB)"
    return f"is {times(whole / own)} smaller {figures}" if own < whole else f"is {times(own / whole)} larger {figures}"


def _speed(results: Results, student: Subject, teacher: Subject | None) -> str:
    spot, medians = speed.usual_spot(results), speed.times(results)
    own = medians.get((student.name, spot)) if spot else None
    if spot is None or own is None:
        return ""
    where = f"{speed.shape_in_words(spot)}, {_place(spot)} of {results.host.cpu}"
    whole = medians.get((teacher.name, spot)) if teacher else None
    ratio = speed.times(results, "speedup").get((student.name, spot))
    if whole is None or ratio is None:
        return f"answers in {digits(own.value)} ms ({where})"
    how = f"{times(ratio.value)} faster" if ratio.value >= 1 else f"{times(1 / ratio.value)} slower"
    return f"answers {how} ({digits(whole.value)} → {digits(own.value)} ms {where})"


def _place(spot: speed.Spot) -> str:
    return speed.place(spot).replace("1 thread", "one thread") if spot.threads == 1 else speed.place(spot)


def _missing(results: Results, student: Subject, teacher: Subject | None) -> Iterator[str]:
    if teacher is None:
        yield "a teacher to compare with"
    names = [subject.name for subject in (teacher, student) if subject]
    lacking, spot, medians = digest.lacking(results), speed.usual_spot(results), speed.times(results)
    for name in names:
        if name in lacking:
            yield f"the score of {name} on {listed(lacking[name])}"
        if digest.largest(results, name, "model_bytes") is None:
            yield f"the file size of {name}"
        if spot and (name, spot) not in medians:
            yield f"the latency of {name} {speed.shape_in_words(spot)}"
    if spot is None:
        yield "latency"


def _failures(results: Results) -> str:
    count = len(results.failures)
    said = counted(count, "measurement")
    return f" {said.capitalize()} failed, see Failures." if count else ""
