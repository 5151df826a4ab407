"""Embedding tables in 8 or 4 bits, every row with scales of its own, in plain ONNX operators.

onnxruntime's own quantizer gives a table one scale, and a multilingual table's rows differ so much in size that most
are rounded to nothing (onnxruntime issue 9599). Here a row, or a block of a row, has its own; only the rows that a text
needs are turned back into floats.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from edgecompress.export.graph import Array, Builder, attribute, constant, nodes, swap

if TYPE_CHECKING:
    from onnx_ir import Model, Node, Value

FEWEST_ROWS = 32  # smaller tables (token types) are not worth a node
BLOCK = 128  # values of a row that share a 4-bit scale, at most
_FLOAT, _SHRINK = 1, (1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7)  # onnx.TensorProto.FLOAT; parts of the range to try


def quantize_tables(model: Model, bits: int) -> int:
    """Store every table that is looked up by ids in ``bits`` (8 or 4) and return how many there were."""
    done = 0
    for node in nodes(model, "Gather"):
        table = constant(node.inputs[0])
        if table is None or table.ndim != 2 or len(table) < FEWEST_ROWS or attribute(node, "axis", 0) != 0:  # noqa: PLR2004
            continue
        if table.dtype == np.float32:
            swap(model, node.outputs[0], _LOOKUP[bits](model, node, table))
            done += 1
    return done


def _lookup8(model: Model, node: Node, table: Array) -> Value:
    codes, scales = rows8(table)
    build, ids, name = Builder(model, node), node.inputs[1], node.inputs[0].name if node.inputs[0] else "table"
    row = build.node("Cast", [build.node("Gather", [build.constant(codes, f"{name}_int8"), ids])], to=_FLOAT)
    return build.node("Mul", [row, build.node("Gather", [build.constant(scales, f"{name}_scale"), ids])])


def rows8(table: Array) -> tuple[Array, Array]:
    """Return int8 codes (rows, width) and float32 scales (rows, 1): a row is its codes times its scale."""
    scales = np.maximum(np.abs(table).max(axis=1, keepdims=True), 1e-12).astype(np.float32) / 127
    return np.round(table / scales).astype(np.int8), scales


def _lookup4(model: Model, node: Node, table: Array) -> Value:
    width = table.shape[1]
    even = np.pad(table, ((0, 0), (0, width % 2)))  # two codes share a byte
    codes, scales = blocks4(even)
    build, ids, name = Builder(model, node), node.inputs[1], node.inputs[0].name if node.inputs[0] else "table"
    both = build.node("Gather", [build.constant(pack(codes, axis=1), f"{name}_int4"), ids])
    row = build.node("Cast", [unpack(build, both, axis=-1)], to=_FLOAT)
    row = build.node("Sub", [row, build.constant(np.array(8, np.float32), "zero_point")])
    scale = build.node("Gather", [build.constant(scales.astype(np.float16), f"{name}_scale"), ids])
    blocks = scales.shape[1]
    shape = build.constant(np.array([-1, blocks, codes.shape[1] // blocks], np.int64), "blocks")
    apart = build.node("Reshape", [row, shape])
    scale = build.node("Reshape", [scale, build.constant(np.array([-1, blocks, 1], np.int64), "each")])
    last = build.constant(np.array([-1], np.int64), "last")
    scaled = build.node("Mul", [apart, build.node("Cast", [scale], to=_FLOAT)])
    row = build.node("Reshape", [scaled, build.node("Concat", [build.node("Shape", [ids]), last], axis=0)])
    if width % 2:
        begin, end = (build.constant(np.array([n], np.int64), "bound") for n in (0, width))
        row = build.node("Slice", [row, begin, end, last])
    return row


def blocks4(table: Array) -> tuple[Array, Array]:
    """Return codes 0…15 (rows, width) and scales (rows, blocks): a value is (code − 8) times its block's scale.

    A scale is the one of a few that gives the least squared error; it is rounded to float16, as it is stored.
    """
    rows, width = table.shape
    parts = table.reshape(rows, -1, block_size(width)).astype(np.float32)
    largest = np.maximum(np.abs(parts).max(axis=2, keepdims=True), 1e-6)
    best, error = np.zeros_like(largest), np.full_like(largest, np.inf)
    for part in _SHRINK:
        scale = (largest * part / 7).astype(np.float16).astype(np.float32)
        off = (np.clip(np.round(parts / scale), -8, 7) * scale - parts) ** 2
        new = off.sum(axis=2, keepdims=True)
        best, error = np.where(new < error, scale, best), np.minimum(new, error)
    codes = np.clip(np.round(parts / best), -8, 7) + 8
    return codes.astype(np.uint8).reshape(rows, width), best[..., 0]


def block_size(width: int, most: int = BLOCK) -> int:
    """Return the largest divisor of ``width`` up to ``most``, or ``width`` where that would be tiny."""
    largest = max(n for n in range(1, most + 1) if width % n == 0)
    return largest if largest >= most // 4 else width


def pack(codes: Array, axis: int) -> Array:
    """Return two codes 0…15 a byte: the first half along ``axis`` in the low bits, the second in the high ones."""
    low, high = np.split(codes, 2, axis=axis)
    packed: Array = low | (high << 4)
    return packed


def unpack(build: Builder, packed: Value, axis: int) -> Value:
    """Return the uint8 codes of :func:`pack`, in the graph."""
    low = build.node("BitwiseAnd", [packed, build.constant(np.array(15, np.uint8), "low_bits")])
    high = build.node("BitShift", [packed, build.constant(np.array(4, np.uint8), "shift")], direction="RIGHT")
    return build.node("Concat", [low, high], axis=axis)


_LOOKUP: Mapping[int, Callable[[Model, Node, Array], Value]] = {8: _lookup8, 4: _lookup4}
