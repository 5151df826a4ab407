"""What a subject is and how big, found out without running it."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

from edgecompress.artifact import open_artifact
from edgecompress.bench.results import Model
from edgecompress.bench.subjects import Entry, Target
from edgecompress.errors import SourceError
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
        return Model("onnx", f"{target.path.absolute().parent.name}/{target.path.name}", sha256(target.path))
    from edgecompress.encoder.bundle import read_history

    joined = "".join(sha256(path) for path in _weights(target.path))
    digest = hashlib.sha256(joined.encode()).hexdigest()
    return Model("torch", target.path.absolute().name, digest, "torch", read_history(target.path))


def sizes(entry: Entry) -> list[Measurement]:
    """Return parameters, bytes of the model, of its folder and of its parts, for every task of a row.

    The parts need the package onnx_ir (extra `compress`); where only the runtime is installed they are left out.
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
    parts = _ledger(artifact.model_path)[1] if find_spec("onnx_ir") else Parts()
    return artifact.parameters, artifact.model_bytes, _total(path.rglob("*")), parts


def _of_onnx(path: Path) -> tuple[int, int, int, Parts]:
    model = _total(path.parent.glob(f"{path.name}*"))
    numbers, parts = _ledger(path) if find_spec("onnx_ir") else (0, Parts())
    return numbers, model, _total(path.parent.rglob("*")), parts


def _of_torch(path: Path) -> tuple[int, int, int, Parts]:
    from safetensors import safe_open

    from edgecompress.export.naming import part

    parts, numbers = Parts(), 0
    for file in _weights(path):
        with safe_open(file, "np") as held:
            for name in held.keys():  # noqa: SIM118 - not a mapping
                tensor = held.get_slice(name)
                count, dtype = _product(tensor.get_shape()), str(tensor.get_dtype())
                numbers += count
                parts[part(name), dtype.lower()] += count * int("".join(c for c in dtype if c.isdigit())) // 8
    return numbers, _total(_weights(path)), _total(path.rglob("*")), parts


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


def _product(shape: list[int]) -> int:
    product = 1
    for size in shape:
        product *= size
    return product


def _total(paths: Iterable[Path]) -> int:
    return sum(path.stat().st_size for path in paths if path.is_file())
