"""int8 weights stored in 4 bits, and unpacked once, when the file is opened.

A weight of the int8 graph becomes a 4-bit code times a small whole number that a block of its column shares (two-level
scaling, arXiv 2102.04503). Both are constants, so that onnxruntime folds the unpacking when it opens the file, and runs
the very int8 product that it runs for an int8 file: half the bytes, the same speed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgecompress.export.graph import Array, Builder, clean, constant, nodes
from edgecompress.export.tables import block_size, pack, unpack

if TYPE_CHECKING:
    from onnx_ir import Model

_INT8, _INT32 = 3, 6  # onnx.TensorProto
BLOCK = 32  # weights of a column that share a factor, at most
_LARGEST = 18  # 18 × 7 = 126: the largest factor that a block can need


def pack_weights(model: Model) -> int:
    """Store the int8 weights of every MatMulInteger in 4 bits and return how many there were."""
    done = 0
    for node in nodes(model, "MatMulInteger"):
        weight = constant(node.inputs[1])
        if weight is None or weight.ndim != 2 or weight.dtype != np.int8 or len(weight) % 2:  # noqa: PLR2004
            continue
        codes, factors = blocks_of(weight)
        name = node.inputs[1].name if node.inputs[1] else "weight"
        build, (rows, columns), blocks = Builder(model, node), weight.shape, len(factors)
        code = build.node("Cast", [unpack(build, build.constant(pack(codes, axis=0), f"{name}_int4"), 0)], to=_INT32)
        signed = build.node("Sub", [code, build.constant(np.array(8, np.int32), "zero_point")])
        shape = build.constant(np.array([blocks, rows // blocks, columns], np.int64), "blocks")
        factor = build.node("Cast", [build.constant(factors[:, None], f"{name}_factor")], to=_INT32)
        whole = build.node("Mul", [build.node("Reshape", [signed, shape]), factor])
        flat = build.node("Reshape", [whole, build.constant(np.array([rows, columns], np.int64), "matrix")])
        node.replace_input_with(1, build.node("Cast", [flat], to=_INT8))
        done += 1
    clean(model)
    return done


def blocks_of(weight: Array) -> tuple[Array, Array]:
    """Return codes 0…15 (rows, columns) and uint8 factors (blocks, columns): a weight is (code − 8) × its factor.

    The factor is the whole number that gives a block the least squared error.
    """
    rows, columns = weight.shape
    parts = weight.astype(np.int32).reshape(-1, block_size(rows, BLOCK), columns)
    best = np.ones((len(parts), 1, columns), np.int32)
    error = np.full(best.shape, np.iinfo(np.int64).max, np.int64)
    for factor in range(1, _LARGEST + 1):
        codes = np.clip(np.round(parts / factor), -8, 7).astype(np.int32)
        fits = np.abs(codes * factor) <= 127  # noqa: PLR2004 - int8, symmetric
        off = np.where(fits, (codes * factor - parts) ** 2, 10**6).sum(axis=1, keepdims=True)
        best, error = np.where(off < error, factor, best), np.minimum(off, error)
    whole = np.clip(np.round(parts / best), -8, 7) + 8
    return whole.astype(np.uint8).reshape(rows, columns), best[:, 0].astype(np.uint8)
