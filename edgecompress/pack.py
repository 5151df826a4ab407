"""A pack: several tasks on one graph, in a folder like an artifact's. One pass through the encoder answers them all.

Its manifest has format 2. What :func:`open_artifact` says of one student, ``heads`` says of each task; the graph, the
tokenizer and the checksums are the same for all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from edgecompress.artifact import Artifact, from_manifest, read_head, to_manifest
from edgecompress.files import NAME, write_json
from edgecompress.manifest import (
    FILE_FIELDS,
    HEAD_FIELDS,
    HISTORY,
    MANIFEST,
    PACK_FORMAT,
    Fields,
    Manifest,
    bad,
    check_fields,
    check_files,
    check_head,
    check_named,
    checksums_of,
    read_history,
    read_manifest,
)
from edgecompress.records import Step, to_json

FEWEST = 2  # heads
_HEADS: Fields = {
    "heads": (lambda value: isinstance(value, list) and len(value) >= FEWEST and all(isinstance(one, dict)
              for one in value), f"a list of {FEWEST} heads or more"),
}  # fmt: skip
_NAMED: Fields = {
    "name": (
        lambda value: isinstance(value, str) and NAME.fullmatch(value) is not None,
        "letters, digits, '.', '_' and '-'",
    ),
    "output": (lambda value: isinstance(value, str) and value != "", "an output of the graph"),
}


@dataclass(frozen=True)
class Pack:
    """What is known about a pack: ``heads`` by name, each as the artifact that it is a view of.

    They share ``folder``, graph, tokenizer, padding and checksums; ``output`` tells their logits apart. ``history`` is
    of the packing, the heads' own steps are with them.
    """

    heads: Mapping[str, Artifact]
    history: tuple[Step, ...] = ()

    @property
    def whole(self) -> Artifact:
        """Any head, for what they all share."""
        return next(iter(self.heads.values()))

    @property
    def folder(self) -> Path:
        """Where the pack lies."""
        return self.whole.folder

    @property
    def checksums(self) -> Mapping[str, str]:
        """The SHA-256 of every file."""
        return self.whole.checksums

    @property
    def model_file(self) -> str:
        """The name of the ONNX file."""
        return self.whole.model_file

    @property
    def model_path(self) -> Path:
        """Where the ONNX file lies."""
        return self.whole.model_path

    @property
    def model_bytes(self) -> int:
        """How many bytes the graph and its weights take, in one file or several."""
        return self.whole.model_bytes

    @property
    def tokenizer_path(self) -> Path:
        """Where ``tokenizer.json`` lies."""
        return self.whole.tokenizer_path


def seal_pack(draft: Pack) -> Pack:
    """Write the manifest of ``draft.folder`` and return the pack with the checksums of every file in the folder.

    Raises ArtifactError when the fields contradict each other, OutputError when the folder cannot be written.
    """
    folder, checksums = draft.folder, checksums_of(draft.folder)
    heads = {name: replace(head, checksums=checksums) for name, head in draft.heads.items()}
    sealed = replace(draft, heads=heads)
    manifest = _to_manifest(sealed)
    _check(folder, manifest)
    write_json(folder / MANIFEST, manifest)
    return sealed


def open_any(folder: Path | str) -> Artifact | Pack:
    """Return the artifact or pack in ``folder`` after checking its manifest and every file. Raises ArtifactError."""
    folder = Path(folder)
    manifest = read_manifest(folder)
    if manifest["format"] != PACK_FORMAT:
        return from_manifest(folder, manifest)
    _check(folder, manifest)
    check_files(folder, manifest["checksums"])
    files = {name: manifest[name] for name in FILE_FIELDS}
    heads = {
        one["name"]: Artifact(folder=folder, output=one["output"], **read_head(folder, one), **files)
        for one in manifest["heads"]
    }
    return Pack(heads, read_history(folder, manifest["history"]))


def heads_of(opened: Artifact | Pack) -> Mapping[str, Artifact]:
    """Return the heads by name; that of an artifact alone is called after its task."""
    return opened.heads if isinstance(opened, Pack) else {opened.task.name: opened}


def tags_words(opened: Artifact | Pack) -> bool:
    """Whether a head labels words, so that sentences may come already split."""
    return any(head.task.kind == "token" for head in heads_of(opened).values())


def _to_manifest(pack: Pack) -> Manifest:
    whole = to_manifest(pack.whole)
    return {
        "format": PACK_FORMAT,
        "heads": [_head_manifest(name, head) for name, head in pack.heads.items()],
        **{name: whole[name] for name in FILE_FIELDS},
        "history": [to_json(step) for step in pack.history],
    }


def _head_manifest(name: str, head: Artifact) -> Manifest:
    fields = to_manifest(head)
    return {"name": name, "output": head.output, **{field: fields[field] for field in HEAD_FIELDS}}


def _check(folder: Path, manifest: Manifest) -> None:
    check_fields(folder, manifest, {**_HEADS, **FILE_FIELDS, **HISTORY})
    for number, head in enumerate(manifest["heads"], 1):
        of = f" of head {number}"
        check_fields(folder, head, _NAMED, of)
        check_head(folder, head, of)
    for field in _NAMED:
        values = [head[field] for head in manifest["heads"]]
        if len(set(values)) < len(values):
            twice = max(values, key=values.count)
            raise bad(folder, f"two heads have the {field} {twice!r}: restore the folder, or pack again")
    check_named(folder, manifest)
