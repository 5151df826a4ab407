"""Names in an exported graph: the weights' own, and none of the machine that exported it. No torch here."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from edgecompress.export.graph import Builder, constant, nodes, swap

if TYPE_CHECKING:
    from onnx_ir import Model

_SCOPES = "pkg.torch.onnx.name_scopes"
_WRAPPER = "model."  # the module that the exporter was given holds the model under this name

# What a parameter is for, by its name in torch; the first row that fits.
PARTS: Mapping[str, tuple[str, ...]] = {
    "embeddings": ("embeddings.", "tok_embeddings"),
    "head": ("classifier", "pooler", "pre_classifier", "head."),
    "attention": ("attention", "attn", "q_lin", "k_lin", "v_lin", "out_lin"),
    "FFN": ("intermediate", "output.dense", "output.LayerNorm", "ffn", "mlp", "output_layer_norm"),
}


def name_weights(model: Model) -> None:
    """Name transposed weights after their parameters, and drop the exporter's notes: they hold paths of its machine."""
    for node in nodes(model, "MatMul", "Gemm"):
        scopes, value = node.metadata_props.get(_SCOPES), node.inputs[1]
        if scopes is None or value is None or constant(value) is None or len(value.uses()) != 1:
            continue
        rename(model, value.name or "", f"{ast.literal_eval(scopes)[-2]}.weight")
    for name in list(model.graph.initializers):
        rename(model, name, name.removeprefix(_WRAPPER))
    without_notes(model)


def without_notes(model: Model) -> None:
    """Drop what exporters write beside the graph: stack traces with paths of their machine, several kB a node."""
    import onnx_ir.passes.common as passes

    passes.ClearMetadataAndDocStringPass()(model)


def without_token_types(model: Model) -> None:
    """Replace an input of token types by zeros: a text alone is all of type 0."""
    inputs = {value.name: value for value in model.graph.inputs}
    types = inputs.get("token_type_ids")
    if types is None:
        return
    build = Builder(model, next(iter(model.graph)))
    zeros = build.node("Mul", [inputs["input_ids"], build.constant(np.array(0, np.int64), "zero")])
    model.graph.inputs.remove(types)
    swap(model, types, zeros)


def rename(model: Model, old: str, new: str) -> None:
    """Give an initializer another name, unless that is taken."""
    held = model.graph.initializers
    if old in held and new not in held:
        held[old].name = new


def part(name: str) -> str:
    """Return which part of the network an initializer belongs to: a row of PARTS, or "other"."""
    return next((what for what, marks in PARTS.items() if any(mark in name for mark in marks)), "other")
