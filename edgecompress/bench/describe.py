"""What a subject is and how big, found out without running it."""

from __future__ import annotations

import hashlib
import json
import struct
from collections import Counter
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from math import prod
from pathlib import Path

from edgecompress.artifact import open_artifact
from edgecompress.bench.results import Model
from edgecompress.bench.subjects import Entry, Target
from edgecompress.errors import SourceError
from edgecompress.export.naming import part
from edgecompress.files import sha256
from edgecompress.records import Measurement

Parts = Counter[tuple[str, str]]  # (part, stored type) → bytes


def describe(target: Target) -> Model:
    """Return what ``target`` is, with the digest of its weights. Raises ArtifactError or SourceError."""
    if target.kind == "artifact":
        artifact = open_artifact(target.path)
        digest = artifact.checksums[artifact.model_file]
        return Model("artifact", target.path.name, digest, artifact.scheme, artifact.history)
    if target.kind == "onnx":
        name = f"{target.path.absolute().parent.name}/{target.path.name}"
        return Model("onnx", name, _joint(_files(target.path)))
    from edgecompress.encoder.bundle import read_history

    return Model(
        "torch", target.path.absolute().name, _joint(_weights(target.path)), "torch", read_history(target.path)
    )


def _joint(files: Sequence[Path]) -> str:
    """Return the digest of one file, or of the digests of several."""
    if len(files) == 1:
        return sha256(files[0])
    return hashlib.sha256("".join(sha256(path) for path in files).encode()).hexdigest()


def sizes(entry: Entry) -> list[Measurement]:
    """Return parameters, bytes of the model, of its folder and of its parts, for every task of a row.

    The parts need the package onnx_ir (extra `compress`) and a graph in ONNX, not ORT format; else they are left out.
    """
    rows = []
    for task, target in entry.targets.items():
        settings = {"kind": target.task}
        parameters, model, folder, parts = _SIZES[target.kind](target.path)
        rows += [
            Measurement(entry.name, task, "parameters", parameters, "parameters", settings),
            Measurement(entry.name, task, "model_bytes", model, "bytes", settings),
            Measurement(entry.name, task, "folder_bytes", folder, "bytes", settings),
        ]
        rows += [
            Measurement(entry.name, task, "part_bytes", size, "bytes", {**settings, "part": part, "dtype": dtype})
            for (part, dtype), size in sorted(parts.items())
        ]
    return rows


def _of_artifact(path: Path) -> tuple[int, int, int, Parts]:
    artifact = open_artifact(path)
    readable = find_spec("onnx_ir") and artifact.model_path.suffix == ".onnx"
    parts = _ledger(artifact.model_path)[1] if readable else Parts()
    return artifact.parameters, artifact.model_bytes, _total(path.rglob("*")), parts


def _of_onnx(path: Path) -> tuple[int, int, int, Parts]:
    numbers, parts = _ledger(path) if find_spec("onnx_ir") else (0, Parts())
    model = _total(_files(path))
    return numbers, model, model, parts


def _files(path: Path) -> list[Path]:
    """Return an ONNX file and the files beside it that hold its weights, as far as onnx_ir is there to tell."""
    if not find_spec("onnx_ir"):
        return [path]
    from edgecompress.export.ledger import ledger

    return [path.parent / name for name in ledger(path).files]


def _of_torch(path: Path) -> tuple[int, int, int, Parts]:
    parts, numbers = Parts(), 0
    for file in _weights(path):
        for name, (dtype, shape, size) in _header(file).items():
            numbers += prod(shape)
            parts[part(name), dtype.lower()] += size
    return numbers, _total(_weights(path)), _total(path.rglob("*")), parts


def _header(file: Path) -> dict[str, tuple[str, list[int], int]]:
    """Return type, shape and bytes of every tensor, as the head of a safetensors file says. Raises SourceError."""
    try:
        with file.open("rb") as handle:
            (length,) = struct.unpack("<Q", handle.read(8))
            entries = json.loads(handle.read(length)) if length < file.stat().st_size else {}
        return {
            name: (one["dtype"], one["shape"], one["data_offsets"][1] - one["data_offsets"][0])
            for name, one in entries.items()
            if name != "__metadata__"
        }
    except (struct.error, ValueError, KeyError, TypeError) as error:
        raise SourceError(f"{file} is no safetensors file ({error}): save the model again") from error


_SIZES = {"artifact": _of_artifact, "onnx": _of_onnx, "torch": _of_torch}


def _ledger(path: Path) -> tuple[int, Parts]:
    from edgecompress.export.ledger import ledger

    found = ledger(path)
    parts = Parts({(entry.part, dtype): size for entry in found.entries for dtype, size in entry.types.items()})
    parts["graph", "protobuf"] += found.graph_bytes
    return sum(entry.numbers for entry in found.entries), parts


def _weights(folder: Path) -> list[Path]:
    found = sorted(folder.glob("*.safetensors"))
    if not found:
        raise SourceError(f"{folder} holds no *.safetensors: save the model with transformers' save_pretrained")
    return found


def _total(paths: Iterable[Path]) -> int:
    return sum(path.stat().st_size for path in paths if path.is_file())
