"""Where an artifact's bytes are, and how it computes. No torch here."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgecompress.export.graph import attribute, constant, read
from edgecompress.export.naming import PARTS, part

if TYPE_CHECKING:
    from onnx_ir import Model, Node

# Operators that multiply or look up in floats, where a quantized graph would not.
_HEAVY = ("MatMul", "Gemm", "Gather", "Attention", "FusedMatMul")


@dataclass(frozen=True)
class Entry:
    """One part of the network: how many numbers it stores, in how many bytes, by stored type."""

    part: str
    numbers: int
    bytes: int
    types: Mapping[str, int]


@dataclass(frozen=True)
class Ledger:
    """``entries`` cover every initializer, ``graph_bytes`` is the rest of the ``files``; ``floats`` counts products and
    lookups in floats by operator, ``operators`` all nodes.
    """

    entries: tuple[Entry, ...]
    file_bytes: int
    graph_bytes: int
    files: tuple[str, ...]
    operators: Mapping[str, int]
    floats: Mapping[str, int]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    opsets: Mapping[str, int]


def ledger(path: Path) -> Ledger:
    """Return what the ONNX file at ``path`` holds. Raises ArtifactError when it is not ONNX."""
    import onnx_ir

    model = read(path)
    tensors = [value.const_value for value in model.graph.initializers.values()]
    files = {path, *(Path(str(tensor.path)) for tensor in tensors if isinstance(tensor, onnx_ir.ExternalTensor))}
    size = sum([file.stat().st_size for file in files])
    entries = _entries(model)
    operators = Counter(node.op_type for node in model.graph)
    floats = Counter(node.op_type for node in model.graph if _is_float(node))
    return Ledger(
        entries,
        size,
        size - sum(entry.bytes for entry in entries),
        tuple(sorted(os.path.relpath(file, path.parent) for file in files)),
        dict(operators.most_common()),
        dict(floats.most_common()),
        tuple(f"{value.name} {_type(value.dtype)} {_shape(value.shape)}" for value in model.graph.inputs),
        tuple(f"{value.name} {_type(value.dtype)} {_shape(value.shape)}" for value in model.graph.outputs),
        {name or "ai.onnx": version for name, version in model.graph.opset_imports.items()},
    )


def _entries(model: Model) -> tuple[Entry, ...]:
    numbers: Counter[str] = Counter()
    stored: Counter[str] = Counter()
    types: dict[str, Counter[str]] = {}
    for name, value in model.graph.initializers.items():
        tensor, what = value.const_value, part(name)
        if tensor is None:
            continue
        numbers[what] += tensor.size
        stored[what] += tensor.nbytes
        types.setdefault(what, Counter())[_type(tensor.dtype)] += tensor.nbytes
    return tuple(
        Entry(what, numbers[what], stored[what], dict(types[what].most_common()))
        for what in (*PARTS, "other")
        if what in types
    )


def _is_float(node: Node) -> bool:
    if node.op_type not in _HEAVY:
        return False
    weights = [array for value in node.inputs if (array := constant(value)) is not None and array.ndim > 1]
    if node.op_type == "Gather":
        return attribute(node, "axis", 0) == 0 and any(array.dtype.kind == "f" for array in weights)
    return all(array.dtype.kind == "f" for array in weights)


def _type(dtype: object) -> str:
    return str(getattr(dtype, "name", dtype)).lower()


def _shape(shape: object) -> str:
    return "" if shape is None else str(shape).replace("'", "")
