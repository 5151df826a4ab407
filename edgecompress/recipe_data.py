"""The data that a recipe names: its corpora and its tasks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgecompress.binding import Context, expand, near
from edgecompress.corpus import Corpus, dataset_parts
from edgecompress.errors import CorpusError
from edgecompress.options import TaskFiles
from edgecompress.tasks import TASKS


def _files(value: Any, root: Path, where: str, context: Context) -> tuple[Path, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(item, str) for item in value):
        said = "is missing: give it" if value is None else f"is {value!r}: give"
        context.problem(f"{where} {said} a list of file names")
        return ()
    paths = tuple(root / expand(item, context) for item in value)
    for path in paths:
        if not path.is_file():
            context.problem(f"{where}: no file {path}")
    return paths


def corpora_of(tables: Mapping[str, Mapping[str, Any]], root: Path, context: Context) -> dict[str, Corpus]:
    """Return the corpora of [corpora.NAME], whose files are relative to ``root``; what is wrong goes to ``context``."""
    found = {}
    for name, table in tables.items():
        where = f"corpora.{name}"
        for key in table.keys() - {"files", "datasets", "weight"}:
            context.problem(f"{where}: no option {key!r}{near(key, ('files', 'datasets', 'weight'))}")
        weight = table.get("weight", 1.0)
        if isinstance(weight, bool) or not isinstance(weight, int | float) or weight <= 0:
            context.problem(f"{where}: weight {weight!r} is not a number above 0")
            weight = 1.0
        datasets = _datasets(table.get("datasets", []), f"{where}.datasets", context)
        files = () if datasets and "files" not in table else _files(table.get("files"), root, f"{where}.files", context)
        found[name] = Corpus(name, files, float(weight), datasets)
    return found


def _datasets(value: Any, where: str, context: Context) -> tuple[str, ...]:
    """Return the names of data sets, hf:NAME[:CONFIGURATION]:COLUMN."""
    names = value if isinstance(value, list) else [value]
    for name in names:
        try:
            dataset_parts(str(name))
        except CorpusError as error:
            context.problem(f"{where}: {error}")
    return tuple(map(str, names))


def tasks_of(tables: Mapping[str, Mapping[str, Any]], root: Path, context: Context) -> dict[str, TaskFiles]:
    """Return the tasks of [tasks.NAME], whose files are relative to ``root``; what is wrong goes to ``context``."""
    found = {}
    for name, table in tables.items():
        where, kind = f"tasks.{name}", str(table.get("kind", name))
        if kind not in TASKS:
            context.problem(f"{where}: no task kind {kind!r}{near(kind, TASKS)}")
        for key in table.keys() - {"kind", "train", "validation", "test"}:
            context.problem(f"{where}: no option {key!r}{near(key, ('kind', 'train', 'validation', 'test'))}")
        splits = {
            split: _files(table.get(split), root, f"{where}.{split}", context)
            for split in ("train", "validation", "test")
            if split in table or split != "test"
        }
        found[name] = TaskFiles(kind, **splits)
    return found
