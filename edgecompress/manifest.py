"""The manifest of an exported folder: read, every field checked, and every file that it names. Plain JSON.

Format 1 describes one student (``edgecompress.artifact``), format 2 several heads on one graph (``edgecompress.pack``).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from edgecompress.errors import ArtifactError
from edgecompress.files import sha256
from edgecompress.records import Step, step_from_json
from edgecompress.tasks import TASKS

MANIFEST = "edgecompress-artifact.json"
FORMAT = 1
PACK_FORMAT = 2
TOKENIZER_FILE = "tokenizer.json"
Manifest = dict[str, Any]


def checksums_of(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file in ``folder`` but its manifest."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / MANIFEST)
    return {path.relative_to(folder).as_posix(): sha256(path) for path in files}


def read_manifest(folder: Path) -> Manifest:
    """Return the manifest of a known format, its other fields unchecked. Raises ArtifactError."""
    path = folder / MANIFEST
    if not folder.is_dir():
        raise ArtifactError(f"{folder} is not a folder: give the folder that an export or a build wrote")
    if not path.is_file():
        raise ArtifactError(f"{folder} holds no {MANIFEST}: it is not an edgecompress artifact, export one first")
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise bad(folder, f"it is not UTF-8 JSON ({error}): restore the folder, or export again") from error
    except OSError as error:
        raise bad(folder, f"it cannot be read ({error.strerror}): check the permissions") from error
    if not isinstance(manifest, dict):
        raise bad(folder, "it is not a JSON object: restore the folder, or export again")
    version = manifest.get("format")
    if not _is_count(version, 1):
        raise bad(folder, f"'format' is {version!r}, not a whole number from 1: restore the folder, or export again")
    if version not in (FORMAT, PACK_FORMAT):
        raise bad(folder, f"format {version} is newer than this edgecompress knows ({PACK_FORMAT}): upgrade "
                          f"edgecompress")  # fmt: skip
    return manifest


def bad(folder: Path, why: str) -> ArtifactError:
    """Return the error of a manifest, to be raised."""
    return ArtifactError(f"{folder / MANIFEST}: {why}")


def read_history(folder: Path, steps: Sequence[Mapping[str, Any]]) -> tuple[Step, ...]:
    """Return the steps of a manifest. Raises ArtifactError for fields that this edgecompress does not know."""
    try:
        return tuple(step_from_json(step) for step in steps)
    except TypeError as error:
        raise bad(folder, f"its history cannot be read ({error}): upgrade edgecompress, or export again") from error


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


Fields = Mapping[str, tuple[Callable[[Any], bool], str]]  # name → what is good, and its description
HISTORY: Fields = {
    "history": (lambda value: isinstance(value, list) and all(isinstance(step, dict) for step in value), "a list"),
}
HEAD_FIELDS: Fields = {
    "task": (lambda value: _is_text(value) and value in TASKS, f"one of {', '.join(TASKS)}"),
    "labels": (_are_labels, "a list of different texts, at least one"),
    "max_length": (lambda value: _is_count(value, 1), "a whole number from 1"),
    "scheme": (_is_text, "a text such as 'fp32'"),
    "parameters": (_is_count, "a whole number from 0"),
    "word_pattern": (_is_pattern, "a regular expression or null"),
    **HISTORY,
}
FILE_FIELDS: Fields = {
    "pad_id": (_is_count, "a whole number from 0"),
    "model_file": (_is_text, "a file name"),
    "checksums": (_are_checksums, "an object of file names and SHA-256 digests"),
}


def check_head(folder: Path, data: Manifest, of: str = "") -> None:
    """Raise ArtifactError for a wrong field of a head, or a token task without a pattern; ``of`` says which head."""
    check_fields(folder, data, HEAD_FIELDS, of)
    if TASKS[data["task"]].kind == "token" and data["word_pattern"] is None:
        raise bad(folder, f"task {data['task']!r} needs a 'word_pattern'{of}: export again with one")


def check_fields(folder: Path, data: Manifest, fields: Fields, of: str = "") -> None:
    """Raise ArtifactError for the first field that is missing or of a wrong type."""
    for name, (is_good, allowed) in fields.items():
        if name not in data:
            raise bad(folder, f"{name!r}{of} is missing: restore the folder, or export again")
        if not is_good(data[name]):
            raise bad(folder, f"{name!r}{of} is {_short(data[name])}, not {allowed}: restore the folder, or export "
                              f"again")  # fmt: skip


def check_named(folder: Path, manifest: Manifest) -> None:
    """Raise ArtifactError unless the model and the tokenizer have checksums."""
    for name in (manifest["model_file"], TOKENIZER_FILE):
        if name not in manifest["checksums"]:
            raise bad(folder, f"{name} has no checksum, so it cannot be trusted: restore the folder, or export again")


def _short(value: object, limit: int = 60) -> str:
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def check_files(folder: Path, checksums: Mapping[str, str]) -> None:
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
        raise bad(folder, f"{name!r} points outside the folder: do not use this artifact, get it again from its source")
    return path
