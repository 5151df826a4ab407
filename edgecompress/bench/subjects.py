"""What is measured: named rows of artifacts (onnxruntime), model folders (torch) and ONNX files of others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgecompress.artifact import MANIFEST, open_artifact
from edgecompress.bench.results import Role
from edgecompress.errors import InputError
from edgecompress.files import named_path
from edgecompress.tasks import TASKS

PLACE = "{task}"


@dataclass(frozen=True)
class Target:
    """A file or folder that can be opened: ``kind`` "artifact", "onnx" (somebody else's file) or "torch" (a model
    folder); ``task`` is the row of TASKS it is for.
    """

    path: Path
    kind: str
    task: str


@dataclass(frozen=True)
class Entry:
    """One row: the targets by task name."""

    name: str
    role: Role
    targets: Mapping[str, Target]


def entries(specs: Sequence[tuple[str, Role]], tasks: Mapping[str, str]) -> tuple[Entry, ...]:
    """Return a row for each specification, ``[NAME=]PATH``; ``tasks`` maps task names to rows of TASKS.

    "{task}" in a path stands for every task name in turn; a path without it is for the one task that it was made for,
    or for the first of ``tasks`` where that is not written down. Rows without a name are called after their folder,
    with as much of its parents as tells them apart. Raises InputError for paths that hold nothing to measure, or one
    name for two rows.
    """
    split = [named_path(spec) for spec, _ in specs]
    named = _named(split)
    if len(set(named)) < len(named):
        twice = max(named, key=named.count)
        raise InputError(f"two subjects are called {twice!r}: name them apart, NAME=PATH")
    return tuple(
        Entry(name, role, _targets(path, tasks)) for name, (_, path), (_, role) in zip(named, split, specs, strict=True)
    )


def task_of(spec: str) -> str:
    """Return the task that the subject of a specification was made for, empty where that is not written down."""
    path = named_path(spec)[1]
    return "" if PLACE in path else _target(Path(path), "").task


def _named(split: Sequence[tuple[str | None, str]]) -> list[str]:
    paths = [Path(path).absolute() for _, path in split]
    short = [path.parent.name if path.suffix == ".onnx" else path.name for path in paths]
    names = []
    for (given, _), path, name in zip(split, paths, short, strict=True):
        default = name if short.count(name) == 1 else "/".join(path.parts[-2:])
        names.append(given or default.replace(PLACE, "").replace("--", "-").strip("-"))
    return names


def _targets(path: str, tasks: Mapping[str, str]) -> dict[str, Target]:
    if PLACE not in path:
        target = _target(Path(path), "")
        wanted = target.task or (next(iter(tasks.values())) if tasks else "")
        name = next((name for name, kind in tasks.items() if kind == wanted), wanted)
        if tasks and name not in tasks:
            raise InputError(
                f"{path} is made for {wanted}, and only {', '.join(tasks)} is measured: give its test split, "
                f"--test {wanted}=FILE, and name it in --tasks, where that is given"
            )
        return {name: Target(target.path, target.kind, wanted)}
    if not tasks:
        raise InputError(f"{path}: which tasks {PLACE} stands for is not known: give --tasks or --test TASK=FILE")
    found = {name: _target(Path(path.replace(PLACE, name)), kind) for name, kind in tasks.items()}
    return {name: Target(one.path, one.kind, one.task or tasks[name]) for name, one in found.items()}


def _target(path: Path, task: str) -> Target:
    """Return what lies at ``path``, and the task it was made for, or ``task``."""
    if (path / MANIFEST).is_file():
        made_for = open_artifact(path).task.name
        if task and made_for != task:
            raise InputError(f"{path} is made for {made_for}, not {task}: give a folder for each task with {PLACE}")
        return Target(path, "artifact", made_for)
    if (path / "config.json").is_file():
        return Target(path, "torch", task or _trained(path))
    if path.is_file() and path.suffix == ".onnx":
        return Target(path, "onnx", task)
    raise InputError(f"{path} is neither an artifact, nor a model folder, nor an ONNX file: check the path")


def _trained(folder: Path) -> str:
    """Return the task that edgecompress fine-tuned a model folder for, empty when it did not."""
    from edgecompress.encoder.bundle import read_history

    trained = [step.options["task"]["kind"] for step in read_history(folder) if step.stage == "finetune"]
    return str(trained[-1]) if trained and trained[-1] in TASKS else ""
