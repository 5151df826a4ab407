"""An exported student: a folder with one ONNX file, its tokenizer, and a manifest that says what it is.

The manifest (``edgecompress-artifact.json``) names every other file with its SHA-256, so that a damaged or foreign
folder is refused by name before anything in it is used. Nothing here unpickles, and nothing needs torch.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from edgecompress.errors import ArtifactError
from edgecompress.files import sha256, write_json
from edgecompress.records import Step, step_from_json, to_json
from edgecompress.tasks import TASKS, Task
from edgecompress.words import DEFAULT_WORD_PATTERN

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["DEFAULT_WORD_PATTERN", "FORMAT", "MANIFEST", "Artifact", "open_artifact", "seal"]

MANIFEST = "edgecompress-artifact.json"
FORMAT = 1
TOKENIZER_FILE = "tokenizer.json"


@dataclass(frozen=True)
class Artifact:
    """What is known about an exported student.

    ``labels`` are in the order of the logits; ``max_length`` counts tokens, specials included; ``scheme`` says how the
    weights are stored ("fp32", "dynamic-int8"); ``word_pattern`` cuts raw text into words and is set for token tasks;
    ``checksums`` maps every file, relative to ``folder`` and with "/" between its parts, to its SHA-256.
    """

    folder: Path
    task: Task
    labels: tuple[str, ...]
    max_length: int
    scheme: str
    parameters: int
    history: tuple[Step, ...] = ()
    pad_id: int = 0
    word_pattern: str | None = None
    checksums: Mapping[str, str] = field(default_factory=dict)
    model_file: str = "model.onnx"

    @property
    def model_path(self) -> Path:
        """Where the ONNX file lies."""
        return self.folder / self.model_file

    @property
    def model_bytes(self) -> int:
        """How many bytes the graph and its weights take, in one file or several."""
        beside = f"{self.model_file}."
        files = [name for name in self.checksums if name == self.model_file or name.startswith(beside)]
        return sum((self.folder / name).stat().st_size for name in files)

    @property
    def tokenizer_path(self) -> Path:
        """Where ``tokenizer.json`` lies."""
        return self.folder / TOKENIZER_FILE


def seal(draft: Artifact) -> Artifact:
    """Write the manifest of ``draft.folder`` and return the artifact with the checksums of every file in the folder.

    Whatever ``draft.checksums`` held is replaced; files added later are not covered. Raises ArtifactError when the
    fields contradict each other or the model or tokenizer file is missing, OutputError when the folder cannot be
    written.
    """
    folder = draft.folder
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / MANIFEST)
    sealed = replace(draft, checksums={path.relative_to(folder).as_posix(): sha256(path) for path in files})
    manifest = _to_manifest(sealed)
    _check_fields(folder, manifest)
    write_json(folder / MANIFEST, manifest)
    return sealed


def open_artifact(folder: Path | str) -> Artifact:
    """Return the artifact in ``folder`` after checking its manifest and every file's checksum. Raises ArtifactError."""
    folder = Path(folder)
    manifest = _read_manifest(folder)
    _check_fields(folder, manifest)
    _check_files(folder, manifest["checksums"])
    return _from_manifest(folder, manifest)


def _to_manifest(artifact: Artifact) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "task": artifact.task.name,
        "labels": list(artifact.labels),
        "max_length": artifact.max_length,
        "scheme": artifact.scheme,
        "parameters": artifact.parameters,
        "pad_id": artifact.pad_id,
        "word_pattern": artifact.word_pattern,
        "model_file": artifact.model_file,
        "checksums": dict(artifact.checksums),
        "history": [to_json(step) for step in artifact.history],
    }


def _from_manifest(folder: Path, manifest: Mapping[str, Any]) -> Artifact:
    fields = {name: value for name, value in manifest.items() if name in _FIELDS}
    fields["task"], fields["labels"] = TASKS[manifest["task"]], tuple(manifest["labels"])
    try:
        fields["history"] = tuple(step_from_json(step) for step in manifest["history"])
    except TypeError as error:
        raise _bad(folder, f"its history cannot be read ({error}): upgrade edgecompress, or export again") from error
    return Artifact(folder=folder, **fields)


def _read_manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    if not folder.is_dir():
        raise ArtifactError(f"{folder} is not a folder: give the folder that an export or a build wrote")
    if not path.is_file():
        raise ArtifactError(f"{folder} holds no {MANIFEST}: it is not an edgecompress artifact, export one first")
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise _bad(folder, f"it is not UTF-8 JSON ({error}): restore the folder, or export again") from error
    except OSError as error:
        raise _bad(folder, f"it cannot be read ({error.strerror}): check the permissions") from error
    if not isinstance(manifest, dict):
        raise _bad(folder, "it is not a JSON object: restore the folder, or export again")
    return manifest


def _bad(folder: Path, why: str) -> ArtifactError:
    return ArtifactError(f"{folder / MANIFEST}: {why}")


def _is_count(value: object, least: int = 0) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value != ""


def _are_labels(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(map(_is_text, value)) and len(set(value)) == len(value)


def _are_checksums(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(digest, str) for digest in value.values())


def _is_pattern(value: object) -> bool:
    if value is None:
        return True
    try:
        return isinstance(value, str) and bool(re.compile(value))
    except re.error:
        return False


_FIELDS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "task": (lambda value: _is_text(value) and value in TASKS, f"one of {', '.join(TASKS)}"),
    "labels": (_are_labels, "a list of different texts, at least one"),
    "max_length": (lambda value: _is_count(value, 1), "a whole number from 1"),
    "scheme": (_is_text, "a text such as 'fp32'"),
    "parameters": (_is_count, "a whole number from 0"),
    "pad_id": (_is_count, "a whole number from 0"),
    "word_pattern": (_is_pattern, "a regular expression or null"),
    "model_file": (_is_text, "a file name"),
    "checksums": (_are_checksums, "an object of file names and SHA-256 digests"),
    "history": (lambda value: isinstance(value, list) and all(isinstance(step, dict) for step in value), "a list"),
}


def _check_fields(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Raise ArtifactError for the first field that is missing, of a wrong type, or contradicts another."""
    version = manifest.get("format")
    if not _is_count(version, 1):
        raise _bad(folder, f"'format' is {version!r}, not a whole number from 1: restore the folder, or export again")
    if version != FORMAT:
        raise _bad(folder, f"format {version} is newer than this edgecompress knows ({FORMAT}): upgrade edgecompress")
    for name, (is_good, allowed) in _FIELDS.items():
        if name not in manifest:
            raise _bad(folder, f"{name!r} is missing: restore the folder, or export again")
        if not is_good(manifest[name]):
            raise _bad(
                folder, f"{name!r} is {_short(manifest[name])}, not {allowed}: restore the folder, or export again"
            )
    if TASKS[manifest["task"]].kind == "token" and manifest["word_pattern"] is None:
        raise _bad(folder, f"task {manifest['task']!r} needs a 'word_pattern': export again with one")
    for name in (manifest["model_file"], TOKENIZER_FILE):
        if name not in manifest["checksums"]:
            raise _bad(folder, f"{name} has no checksum, so it cannot be trusted: restore the folder, or export again")


def _short(value: object, limit: int = 60) -> str:
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _check_files(folder: Path, checksums: Mapping[str, str]) -> None:
    """Raise ArtifactError for the first listed file that lies outside the folder, is missing, or has changed."""
    for name, expected in checksums.items():
        path = _inside(folder, name)
        if not path.is_file():
            raise ArtifactError(f"{folder} lacks {name}: restore the folder, or export again")
        try:
            actual = sha256(path)
        except OSError as error:
            raise ArtifactError(f"{path} cannot be read ({error.strerror}): check the permissions") from error
        if actual != expected:
            raise ArtifactError(f"{path} has changed since the export: restore it, or export again")


def _inside(folder: Path, name: str) -> Path:
    """Return the path of a listed file; a manifest is not trusted to name files elsewhere, not even through a link.

    The model hub's cache is trusted: there every file of snapshots/REVISION is a link into blobs, beside snapshots.
    """
    parts = PurePosixPath(name).parts
    path, home = folder / name, folder.resolve()
    plain = bool(parts) and ".." not in parts and not name.startswith("/") and not set(name) & set("\\:\0")
    allowed = [home, home.parents[1] / "blobs"] if home.parent.name == "snapshots" else [home]
    if not plain or not any(path.resolve().is_relative_to(place) for place in allowed):
        raise _bad(
            folder, f"{name!r} points outside the folder: do not use this artifact, get it again from its source"
        )
    return path
