"""What a benchmark found: one JSON file, checked when it is read, so that no report is made of half a file."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from edgecompress.errors import InputError
from edgecompress.files import write_json
from edgecompress.records import Host, Measurement, Step
from edgecompress.tasks import TASKS

SCHEMA = 2
Role = Literal["teacher", "student", "baseline"]


@dataclass(frozen=True)
class Model:
    """What was measured for one task: ``kind`` "artifact", "onnx" or "torch"; the folder's or file's own name (no
    path of the machine); the SHA-256 of its weights; how it stores them; the steps that made it.
    """

    kind: str
    name: str
    sha256: str
    scheme: str = ""
    history: tuple[Step, ...] = ()


@dataclass(frozen=True)
class Subject:
    """One row of the tables: models by task name, under one name. ``role`` baseline: a student without distillation."""

    name: str
    role: Role
    models: Mapping[str, Model]


@dataclass(frozen=True)
class Failure:
    """What could not be measured: ``where`` is a shape or a phase ("1×32"; "load", "score", "memory"), ``reason`` one
    line; ``threads`` is 0 where they do not matter.
    """

    subject: str
    task: str
    where: str
    reason: str
    threads: int = 0


@dataclass(frozen=True)
class Results:
    """All figures of one run on one machine. ``created`` is ISO 8601, UTC.

    ``settings`` are those of the run: grid, budget, the task whose models were ``timed``, the number of examples and
    the digest of each of the ``tests``, and what was ``left_out`` because an input is longer than a subject takes.

    Metrics, in ``measurements``, with what their ``settings`` hold beside the task's ``kind``:

    - a task's scores (``macro_f1``, ``span_f1``, ``accuracy``; %): ``examples``; ``METRIC_difference`` (points): the
      same minus the teacher's, its interval from resampled examples that both answered;
    - ``parameters``; ``model_bytes``, ``folder_bytes`` (bytes); ``part_bytes``: ``part``, ``dtype``;
    - ``latency_p50``, ``_p90``, ``_p95``, ``_p99``, ``_mean`` (ms) and ``throughput`` (texts/s): ``batch``, ``length``
      (tokens, or "real": texts of the task), ``threads``, ``device``, ``iterations``, ``part`` ("model"; for real
      texts also "tokenize", "postprocess", "total"); p50 is the median of the turns' medians, with its interval, the
      others are of all calls;
    - ``speedup`` (×): the teacher's median over the subject's, of the same turns; settings as for latency;
      ``noise`` (%): how far the turns' medians lie apart, half the range over the median;
      ``waiting`` (%; one thread): of the timed seconds, those in which the process did not run;
    - ``load`` , ``first_prediction`` (ms), ``memory_idle``, ``memory_steady``, ``memory_peak`` (bytes of the process;
      idle: libraries imported, no model), ``energy`` (J a text, of the whole processor package).
    """

    name: str
    created: str
    host: Host
    settings: Mapping[str, Any]
    subjects: tuple[Subject, ...]
    measurements: tuple[Measurement, ...]
    failures: tuple[Failure, ...] = ()
    schema: int = field(default=SCHEMA, init=False)


def kind_of(row: Measurement) -> str:
    """Return the row of TASKS that a figure is of; a recipe may name its tasks as it likes."""
    return str(row.settings.get("kind", row.task))


def is_headline(row: Measurement) -> bool:
    """Whether a figure is its task's headline score."""
    kind = kind_of(row)
    return kind in TASKS and row.metric == TASKS[kind].metrics[0]


def write(path: Path, results: Results) -> None:
    """Write ``results`` as JSON. Raises OutputError where that is not possible."""
    write_json(path, dataclasses.asdict(results))


def read(path: Path) -> Results:
    """Read results back. Raises InputError, one line that names the file, for anything else."""
    found = _json(path)
    version = found.get("schema")
    if version is None and "measurements" in found:
        raise _bad(path, "it was written by an older edgecompress (no schema): measure again with `edgecompress bench`")
    if version != SCHEMA:
        raise _bad(path, f"schema {version!r} is not {SCHEMA}: give a file that `edgecompress bench -o` or `run` wrote")
    try:
        results = _results(found)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise _bad(path, f"it is damaged ({type(error).__name__}: {error}): restore it, or measure again") from error
    names = {subject.name for subject in results.subjects}
    named = {row.subject for row in results.measurements} | {row.subject for row in results.failures}
    if named - names:
        raise _bad(path, f"a row names {min(named - names)!r}, which is no subject: restore it, or measure again")
    return results


def read_all(paths: Sequence[Path]) -> Results:
    """Read several files of one machine as one.

    Raises InputError for two machines, a subject's name twice, two teachers, or a task scored on other examples: what
    is relative to one does not compare with what is relative to the other.
    """
    first, *others = [read(path) for path in paths]
    for path, other in zip(paths[1:], others, strict=True):
        if difference := other_machine(first.host, other.host):
            raise InputError(
                f"{paths[0]} and {path} are of two machines ({difference}): report them apart, figures do not compare"
            )
        if twice := {s.name for s in first.subjects} & {s.name for s in other.subjects}:
            raise InputError(f"{paths[0]} and {path} both hold {min(twice)!r}: name subjects apart (NAME=FOLDER)")
        teachers = [s.name for s in (*first.subjects, *other.subjects) if s.role == "teacher"]
        if len(teachers) > 1:
            raise InputError(
                f"{paths[0]} and {path} have a teacher each ({', '.join(teachers)}): report them apart, or measure all "
                "beside one in one run"
            )
        splits, theirs = (one.settings.get("tests", {}) for one in (first, other))
        if unlike := [task for task in splits if task in theirs and splits[task] != theirs[task]]:
            raise InputError(
                f"{paths[0]} and {path} scored {unlike[0]} on other examples: report them apart, or measure all on one "
                f"split (--test {unlike[0]}=FILE)"
            )
        left_out = sorted({*first.settings.get("left_out", ()), *other.settings.get("left_out", ())})
        more: dict[str, Any] = {"left_out": left_out} if left_out else {}
        if splits or theirs:
            more["tests"] = {**theirs, **splits}
        first = dataclasses.replace(
            first,
            settings={**first.settings, **more},
            subjects=(*first.subjects, *other.subjects),
            measurements=(*first.measurements, *other.measurements),
            failures=(*first.failures, *other.failures),
        )
    return first


def other_machine(one: Host, other: Host) -> str:
    """Return in what two machines differ, as far as speed depends on it; empty when they are alike."""
    pairs = {
        "CPU": (one.cpu, other.cpu),
        "cores": (one.cores, other.cores),
        "instruction sets": (" ".join(one.flags), " ".join(other.flags)),
        "onnxruntime": (one.versions.get("onnxruntime", ""), other.versions.get("onnxruntime", "")),
    }
    return "; ".join(f"{what} {a or 'unknown'} and {b or 'unknown'}" for what, (a, b) in pairs.items() if a != b)


def _results(found: Mapping[str, Any]) -> Results:
    host = Host(**{**found["host"], "flags": tuple(found["host"]["flags"])})
    subjects = tuple(
        Subject(one["name"], _role(one["role"]), {task: _model(model) for task, model in one["models"].items()})
        for one in found["subjects"]
    )
    measurements = tuple(_measurement(row) for row in found["measurements"])
    failures = tuple(Failure(**row) for row in found["failures"])
    return Results(
        str(found["name"]), str(found["created"]), host, dict(found["settings"]), subjects, measurements, failures
    )


def _role(role: Role) -> Role:
    if role not in get_args(Role):
        raise ValueError(f"role {role!r}")
    return role


def _model(found: Mapping[str, Any]) -> Model:
    return Model(**{**found, "history": tuple(Step(**step) for step in found["history"])})


def _measurement(row: Mapping[str, Any]) -> Measurement:
    interval = row["interval"]
    if not math.isfinite(row["value"]):
        raise ValueError(f"{row['metric']} of {row['subject']} is {row['value']}")
    return Measurement(**{**row, "interval": None if interval is None else (float(interval[0]), float(interval[1]))})


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise _bad(
            path, f"it cannot be read ({error.strerror}): give a file that `edgecompress bench -o` wrote"
        ) from error
    except (ValueError, RecursionError) as error:
        raise _bad(path, f"it is not JSON ({error}): give a file that `edgecompress bench -o` wrote") from error
    if not isinstance(found, dict):
        raise _bad(path, "it is not a JSON object: give a file that `edgecompress bench -o` wrote")
    return found


def _bad(path: Path, why: str) -> InputError:
    return InputError(f"{path}: {why}")
