"""The end of a recipe: artifacts exported, quantized and measured, teacher beside student."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from edgecompress.artifact import Artifact, open_artifact
from edgecompress.bench.cells import REAL, Length, Plan
from edgecompress.bench.harness import measure
from edgecompress.bench.results import Results, Role
from edgecompress.bench.subjects import Entry, Target
from edgecompress.bench.timing import timed_with
from edgecompress.errors import ArtifactError, CheckError, InputError
from edgecompress.export.schemes import SCHEMES
from edgecompress.keys import code_digest, digest
from edgecompress.pipeline import Result
from edgecompress.progress import report
from edgecompress.recipe import Recipe
from edgecompress.tasks import TASKS
from edgecompress.tasks.examples import Example, read_examples

Artifacts = dict[str, dict[str, Artifact]]  # subject → task name → artifact
_PARITY_TEXTS, _AGREEMENT_TEXTS = 32, 200
_EXPORT_CODE = ("export", "artifact.py", "manifest.py", "runtime")
_EXPORT_LIBRARIES = ("torch", "transformers", "tokenizers", "onnx", "onnx-ir", "onnxscript", "onnxruntime", "numpy")


def artifacts(recipe: Recipe, results: Mapping[str, Result], out: Path) -> tuple[Artifacts, tuple[str, ...]]:
    """Export and quantize what the recipe's [export] and [bench] name; what is there for the same input is reused.

    Subjects are named "GROUP fp32" or "GROUP SCHEME"; the bench teacher comes first and is exported in fp32 only.
    With them comes a line for each quantization that was refused, as it keeps too little of a model: the others are
    made all the same.
    """
    groups = [recipe.bench_teacher] if recipe.bench_teacher else []
    groups += [name for name in (*recipe.exports, *recipe.students, *recipe.baselines) if name not in groups]
    groups = list(dict.fromkeys(groups))
    todo = [(g, task, result) for g in groups for task, result in _results(recipe, g, results).items()]
    made: Artifacts = {}
    refused: list[str] = []
    for done, (group, task, result) in enumerate(todo):
        report("export", done, len(todo), result.name)
        texts = _texts(recipe, task)
        plain = _exported(result, out, texts)
        made.setdefault(f"{group} fp32", {})[task] = plain
        for scheme in recipe.schemes if group in recipe.exports else ():
            try:
                made.setdefault(f"{group} {scheme}", {})[task] = _quantized(plain, scheme, texts)
            except CheckError as error:
                refused.append(str(error))
    report("export", len(todo), len(todo), "done")
    return {subject: of for subject, of in made.items() if of}, tuple(refused)


def _results(recipe: Recipe, group: str, results: Mapping[str, Result]) -> dict[str, Result]:
    return {task: results[node.name] for task, node in recipe.group(group).items()}


def _texts(recipe: Recipe, task: str) -> list[str]:
    files = recipe.tasks[task]
    return [" ".join(e.words) for e in read_examples(files.validation, TASKS[files.kind])[:_AGREEMENT_TEXTS]]


def _exported(result: Result, out: Path, texts: Sequence[str]) -> Artifact:
    target = out / "artifacts" / f"{result.name}-fp32"
    key = digest([result.key, "fp32", code_digest(_EXPORT_CODE, _EXPORT_LIBRARIES)])
    if found := _existing(target, key):
        return found
    for scheme in ("fp32", *SCHEMES):  # of another model, which nobody is to take for this one's
        shutil.rmtree(target.with_name(f"{result.name}-{scheme}"), ignore_errors=True)
    from edgecompress.encoder import sources
    from edgecompress.export.onnx import export

    return export(sources.load(str(result.folder)), target, texts=texts[:_PARITY_TEXTS], replace=True, key=key)


def _quantized(plain: Artifact, scheme: str, texts: Sequence[str]) -> Artifact:
    target = plain.folder.with_name(plain.folder.name.removesuffix("fp32") + scheme)
    key = digest([plain.history[-1].key, scheme])
    if found := _existing(target, key):
        return found
    shutil.rmtree(target, ignore_errors=True)  # it may be refused now
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


def bench(recipe: Recipe, subjects: Artifacts, tests: Mapping[str, Sequence[Example]]) -> Results:
    """Measure every subject on the tests: score, size, memory, and latency on one thread at 32 and 128 tokens and,
    where the task that is timed has a test split, on real texts. Raises InputError when there is nothing to measure.
    """
    if not subjects:
        raise InputError(f"recipe {recipe.name} names nothing to measure: list finetune stages in [bench]")
    rows = tuple(Entry(name, _role(recipe, name), _targets(of)) for name, of in subjects.items())
    real: tuple[Length, ...] = (REAL,) if all(task in tests for task, _ in timed_with(rows).values()) else ()
    return measure(rows, tests, Plan(batches=(1,), lengths=(32, 128, *real)), name=recipe.name)


def _targets(by_task: Mapping[str, Artifact]) -> dict[str, Target]:
    return {task: Target(one.folder, "artifact", one.task.name) for task, one in by_task.items()}


def _role(recipe: Recipe, subject: str) -> Role:
    group = subject.rpartition(" ")[0]
    if group == recipe.bench_teacher:
        return "teacher"
    return "baseline" if group in recipe.baselines else "student"


def tests_of(recipe: Recipe) -> dict[str, Sequence[Example]]:
    """Return the test examples of every task of the recipe that has a test split."""
    return {name: read_examples(t.test, TASKS[t.kind]) for name, t in recipe.tasks.items() if t.test}
