"""Content hashes: what a result depends on, so that equal work is recognised and stale results are not."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from edgecompress.corpus import Corpus, dataset_parts
from edgecompress.files import sha256
from edgecompress.stages.record import plain
from edgecompress.training.steps import processes

_CODE = ("encoder", "stages", "tasks", "training", "runtime/encoding.py", "corpus.py", "options.py", "words.py")
_LIBRARIES = ("torch", "transformers", "tokenizers", "accelerate", "seqeval", "scikit-learn", "gflanguages")


def digest(content: Any) -> str:
    """Return the SHA-256 of plain JSON content."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def teachers_of(arguments: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the models that a stage with these arguments learns from: none, one, or one a task."""
    teacher = arguments.get("teacher") or ()
    return (teacher,) if isinstance(teacher, str) else tuple(teacher)


def stage_key(stage: str, arguments: Mapping[str, Any], before: str, teachers: Sequence[str] = ()) -> str:
    """Return the key of ``stage`` with these arguments: options, content of every file they name, code, libraries.

    ``before`` is the key of the model that it works on, ``teachers`` those of the ones it learns from.
    """
    options = {name: plain(value) for name, value in arguments.items() if name != "teacher"}
    files = [sha256(path) for path in _files([value for _, value in sorted(arguments.items())])]
    return digest([stage, options, files, before, list(teachers), code_digest(_CODE)])


def work_name(key: str) -> str:
    """Return the name of the folder where what makes the result of this key keeps its checkpoints.

    How many processes trained is part of it: steps and epochs of other batches are no place to go on from.
    """
    return key[:16] if processes() == 1 else f"{key[:16]}-{processes()}"


def model_key(ref: str) -> str:
    """Return the key of a model that is not a result of ours: the content of a folder, the name of the packaged teacher
    (whose digest is checked when it is loaded), or a hub id with its commit. Raises SourceError for a hub id that can
    neither be asked for nor is in the cache.
    """
    folder = Path(ref).expanduser()
    if not folder.is_dir():
        return _with_commit(ref)
    return digest({path.name: sha256(path) for path in sorted(folder.iterdir()) if path.is_file()})


@cache
def _with_commit(ref: str) -> str:
    from edgecompress.encoder import sources

    commit = sources.commit(ref)
    return f"{ref}@{commit}" if commit else ref


@cache
def code_digest(parts: tuple[str, ...], libraries: tuple[str, ...] = _LIBRARIES) -> str:
    """Return a hash of these files and folders of the package, and of the versions of the libraries that they call."""
    root = Path(__file__).parent
    files = [path for part in parts for path in ([root / part] if part.endswith(".py") else (root / part).glob("*.py"))]
    versions = {name: _version(name) for name in libraries}
    return digest([versions, [[str(p.relative_to(root)), sha256(p)] for p in sorted(files)]])


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:  # an extra's, which only some options call
        return ""


def _files(value: Any) -> list[Path]:
    """Return every file that an option names, however deep; of a local data set's folder those within it."""
    if isinstance(value, Path):
        return [value]
    if isinstance(value, Corpus):
        folders = [Path(dataset_parts(name)[0]) for name in value.datasets]
        return [*value.files, *(path for one in folders for path in sorted(one.rglob("*")) if path.is_file())]
    if isinstance(value, list | tuple):
        return [path for item in value for path in _files(item)]
    return [path for item in vars(value).values() for path in _files(item)] if hasattr(value, "__dict__") else []
