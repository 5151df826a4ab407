"""The quantization schemes: one row each, from the plainest to the smallest. The ladder tries them all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

# Rewrites of ``export.rewrite`` that were faster wherever they were measured, or no slower.
FASTER = ("nan-guards", "shapes", "keys", "scales", "first-token", "sums")


UNQUANTIZED = ("fp32", "optimized")  # what an artifact with float weights says its scheme is


@dataclass(frozen=True)
class Scheme:
    """How numbers are stored and multiplied.

    ``weights`` is a row of ``export.weights.WEIGHTS`` and ``options`` its options; ``tables`` the bits of the embedding
    tables (32: left alone); ``packed`` stores int8 weights in 4 bits; ``rewrites`` are done to the graph first;
    ``calibrates`` says that text is needed.
    """

    does: str
    weights: str = "float"
    tables: int = 32
    packed: bool = False
    rewrites: tuple[str, ...] = FASTER
    options: Mapping[str, Any] = field(default_factory=dict)
    calibrates: bool = False


_PER_CHANNEL = {"per_channel": True}
# onnxruntime would quantize the embedding Gather per tensor, which wrecks multilingual encoders: rows do it themselves.
SCHEMES: Mapping[str, Scheme] = {
    "optimized": Scheme("float32, graph rewritten for CPUs"),
    "dynamic-int8": Scheme("int8 products, per channel; tables float32", "dynamic", rewrites=(), options=_PER_CHANNEL),
    "dynamic-int8-tensor": Scheme("int8 products, one scale a matrix; tables float32", "dynamic"),
    "dynamic-int8-reduced": Scheme(
        "7-bit weights, for x86 without VNNI; tables float32", "dynamic", options={**_PER_CHANNEL, "reduced": True}
    ),
    "dynamic-uint8": Scheme("unsigned weights; tables float32", "dynamic", options={**_PER_CHANNEL, "unsigned": True}),
    "int8": Scheme("int8 products and tables, tables per row", "dynamic", 8, options=_PER_CHANNEL),
    "int8-tables4": Scheme("int8 products, 4-bit tables in blocks of rows", "dynamic", 4, options=_PER_CHANNEL),
    "int8-tables4-reduced": Scheme(
        "as int8-tables4, 7-bit weights, for x86 without VNNI",
        "dynamic",
        4,
        options={**_PER_CHANNEL, "reduced": True},
    ),
    "int8-mixed": Scheme(
        "as int8-tables4, its most sensitive tenth in float32",
        "dynamic",
        4,
        options={**_PER_CHANNEL, "spared": 0.1},
        calibrates=True,
    ),
    "int4": Scheme("4-bit weights, multiplied in int8; 4-bit tables", "dynamic", 4, packed=True, options=_PER_CHANNEL),
    "static-int8": Scheme("QDQ, activations calibrated on text; int8 tables", "static", 8, calibrates=True),
    "weight-int8": Scheme("MatMulNBits, 8 bits in blocks of 32; int8 tables", "blocks", 8, options={"bits": 8}),
    "weight-int4": Scheme("MatMulNBits, 4 bits in blocks of 32; 4-bit tables", "blocks", 4, options={"bits": 4}),
    "fp16": Scheme("float16 inside, for GPUs and size; slow on most CPUs", "half"),
}
