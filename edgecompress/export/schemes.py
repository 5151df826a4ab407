"""The quantization schemes: one row each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Scheme:
    """``operators`` are quantized dynamically; weights per output channel where ``per_channel``."""

    operators: tuple[str, ...]
    per_channel: bool = True


# The embedding Gather stays in fp32: onnxruntime would quantize it per tensor, which wrecks multilingual encoders.
SCHEMES: Mapping[str, Scheme] = {"dynamic-int8": Scheme(("MatMul", "Gemm"))}
