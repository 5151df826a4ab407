"""The end of a recipe: artifacts exported, quantized and measured, teacher beside student."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgecompress.artifact import Artifact, open_artifact
from edgecompress.errors import ArtifactError, InputError
from edgecompress.files import write_json
from edgecompress.keys import code_digest, digest
from edgecompress.pipeline import Result
from edgecompress.progress import report
from edgecompress.recipe import Recipe
from edgecompress.records import Host, Measurement
from edgecompress.tasks import TASKS
from edgecompress.tasks.examples import Example, read_examples

Artifacts = dict[str, dict[str, Artifact]]  # subject → task name → artifact
_PARITY_TEXTS, _AGREEMENT_TEXTS = 32, 200
_EXPORT_CODE = ("export", "artifact.py", "runtime")


def artifacts(recipe: Recipe, results: Mapping[str, Result], out: Path) -> Artifacts:
    """Export and quantize what the recipe's [export] and [bench] name; what is there for the same input is reused.

    Subjects are named "GROUP fp32" or "GROUP SCHEME"; the bench teacher comes first and is exported in fp32 only.
    """
    groups = [recipe.bench_teacher] if recipe.bench_teacher else []
    groups += [name for name in (*recipe.exports, *recipe.students) if name not in groups]
    groups = list(dict.fromkeys(groups))
    todo = [(g, task, result) for g in groups for task, result in _results(recipe, g, results).items()]
    made: Artifacts = {}
    for done, (group, task, result) in enumerate(todo):
        report("export", done, len(todo), result.name)
        texts = _texts(recipe, task)
        plain = _exported(result, out, texts)
        made.setdefault(f"{group} fp32", {})[task] = plain
        for scheme in recipe.schemes if group in recipe.exports else ():
            made.setdefault(f"{group} {scheme}", {})[task] = _quantized(plain, scheme, texts)
    report("export", len(todo), len(todo), "done")
    return made


def _results(recipe: Recipe, group: str, results: Mapping[str, Result]) -> dict[str, Result]:
    return {task: results[node.name] for task, node in recipe.group(group).items()}


def _texts(recipe: Recipe, task: str) -> list[str]:
    files = recipe.tasks[task]
    return [" ".join(e.words) for e in read_examples(files.validation, TASKS[files.kind])[:_AGREEMENT_TEXTS]]


def _exported(result: Result, out: Path, texts: Sequence[str]) -> Artifact:
    target = out / "artifacts" / f"{result.name}-fp32"
    key = digest([result.key, "fp32", code_digest(_EXPORT_CODE)])
    if found := _existing(target, key):
        return found
    from edgecompress.encoder import sources
    from edgecompress.export.onnx import export

    return export(sources.load(str(result.folder)), target, texts=texts[:_PARITY_TEXTS], replace=True, key=key)


def _quantized(plain: Artifact, scheme: str, texts: Sequence[str]) -> Artifact:
    target = plain.folder.with_name(plain.folder.name.removesuffix("fp32") + scheme)
    key = digest([plain.history[-1].key, scheme])
    if found := _existing(target, key):
        return found
    from edgecompress.export.quantize import quantize

    return quantize(plain, target, scheme=scheme, texts=texts, replace=True, key=key)


def _existing(folder: Path, key: str) -> Artifact | None:
    """Return the artifact at ``folder`` if it was made from the same input; a damaged one is made again."""
    if not folder.is_dir():
        return None
    try:
        artifact = open_artifact(folder)
    except ArtifactError:
        return None
    return artifact if artifact.history and artifact.history[-1].key == key else None


def bench(subjects: Artifacts, tests: Mapping[str, Sequence[Example]], *, threads: int = 1) -> list[Measurement]:
    """Measure every subject: score on each task's examples, size, and latency of its first task's graph.

    Latency is onnxruntime's on ``threads`` threads, subjects interleaved. Raises InputError when no subject has a task
    of ``tests``.
    """
    from edgecompress.bench.latency import latencies
    from edgecompress.bench.quality import measure
    from edgecompress.bench.size import sizes

    measured = []
    for task, examples in tests.items():
        having = {name: by_task[task] for name, by_task in subjects.items() if task in by_task}
        found = [*sizes(having), *measure(having, examples)]
        measured += [replace(m, task=task, settings={**m.settings, "kind": m.task}) for m in found]
    if not measured:
        raise InputError(f"no subject is made for {', '.join(tests) or 'any task'}: give --task and its test file")
    first = {name: next(iter(by_task.values())) for name, by_task in subjects.items()}
    return [*measured, *latencies(first, threads=threads)]


def tests_of(recipe: Recipe) -> dict[str, Sequence[Example]]:
    """Return the test examples of every task of the recipe that has a test split."""
    return {name: read_examples(t.test, TASKS[t.kind]) for name, t in recipe.tasks.items() if t.test}


def write_results(path: Path, measurements: Sequence[Measurement], host: Host, **more: Any) -> None:
    """Write measurements and the machine they were made on as JSON."""
    rows = [dataclasses.asdict(m) for m in measurements]
    write_json(path, {"format": 1, **more, "host": dataclasses.asdict(host), "measurements": rows})


def read_results(path: Path) -> list[Measurement]:
    """Read measurements back. Raises InputError for a file that is not such JSON."""
    try:
        return [Measurement(**row) for row in json.loads(path.read_text(encoding="utf-8"))["measurements"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} holds no measurements ({error}): give a file that `bench --json` wrote") from error
