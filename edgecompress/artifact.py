"""An exported student: a folder with one ONNX file, its tokenizer, and a manifest that says what it is.

The manifest (``edgecompress-artifact.json``) names every other file with its SHA-256, so that a damaged or foreign
folder is refused by name before anything in it is used. Nothing here unpickles, and nothing needs torch.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgecompress.errors import ArtifactError
from edgecompress.files import write_json
from edgecompress.manifest import (
    FILE_FIELDS,
    FORMAT,
    HEAD_FIELDS,
    MANIFEST,
    PACK_FORMAT,
    TOKENIZER_FILE,
    Manifest,
    check_fields,
    check_files,
    check_head,
    check_named,
    checksums_of,
    read_history,
    read_manifest,
)
from edgecompress.records import Step, to_json
from edgecompress.tasks import TASKS, Task
from edgecompress.words import DEFAULT_WORD_PATTERN

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["DEFAULT_WORD_PATTERN", "FORMAT", "MANIFEST", "TOKENIZER_FILE", "Artifact", "open_artifact", "seal"]


@dataclass(frozen=True)
class Artifact:
    """What is known about an exported student.

    ``labels`` are in the order of the logits; ``max_length`` counts tokens, specials included; ``scheme`` says how the
    weights are stored ("fp32", "dynamic-int8"); ``word_pattern`` cuts raw text into words, which are read joined by
    single spaces, and is set for token tasks; ``checksums`` maps every file, relative to ``folder`` and with "/"
    between its parts, to its SHA-256; ``output`` is the graph's output with the logits.
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
    output: str = "logits"

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
    sealed = replace(draft, checksums=checksums_of(draft.folder))
    manifest = to_manifest(sealed)
    _check(draft.folder, manifest)
    write_json(draft.folder / MANIFEST, manifest)
    return sealed


def open_artifact(folder: Path | str) -> Artifact:
    """Return the artifact in ``folder`` after checking its manifest and every file's checksum. Raises ArtifactError."""
    folder = Path(folder)
    manifest = read_manifest(folder)
    if manifest["format"] == PACK_FORMAT:
        raise ArtifactError(f"{folder} is a pack of several heads, and this takes one artifact: give one of those that "
                            f"were packed")  # fmt: skip
    return from_manifest(folder, manifest)


def from_manifest(folder: Path, manifest: Manifest) -> Artifact:
    """Return what a manifest of format 1 describes, after checking every field and file. Raises ArtifactError."""
    _check(folder, manifest)
    check_files(folder, manifest["checksums"])
    files = {name: manifest[name] for name in FILE_FIELDS}
    return Artifact(folder=folder, **read_head(folder, manifest), **files)


def read_head(folder: Path, data: Manifest) -> Manifest:
    """Return the values of HEAD_FIELDS as an Artifact holds them. Raises ArtifactError for a history of the future."""
    fields = {name: data[name] for name in HEAD_FIELDS}
    own = {"task": TASKS[data["task"]], "labels": tuple(data["labels"])}
    return {**fields, **own, "history": read_history(folder, data["history"])}


def to_manifest(artifact: Artifact) -> Manifest:
    """Return the manifest of an artifact, in format 1."""
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


def _check(folder: Path, manifest: Manifest) -> None:
    check_head(folder, manifest)
    check_fields(folder, manifest, FILE_FIELDS)
    check_named(folder, manifest)
