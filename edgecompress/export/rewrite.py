"""Rewrites of an exported encoder's graph that give the same logits in less time on CPUs.

Each is a plain function that changes a model that was read for it and returns how many places it changed; none looks
at names. What one gains depends on the CPU: ``tune`` times them. Whoever applies them compares the logits afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from edgecompress.export.first_token import first_token
from edgecompress.export.graph import MICROSOFT, Builder, attribute, clean, constant, nodes, only_use, producer, swap
from edgecompress.export.schemes import FASTER

if TYPE_CHECKING:
    from onnx_ir import Model, Node, Value

_HEADS_FIRST = (0, 2, 1, 3)  # (batch, length, heads, width) → (batch, heads, length, width), and back


def drop_nan_guards(model: Model) -> int:
    """Softmax → IsNaN → Where becomes Softmax: it is NaN only for a text whose mask is all 0, which is never sent."""
    done = 0
    for node in nodes(model, "Where"):
        guard = producer(node.inputs[0], "IsNaN")
        if guard is None or guard.inputs[0] is not node.inputs[2] or producer(node.inputs[2], "Softmax") is None:
            continue
        kept = node.inputs[2]
        assert kept is not None  # noqa: S101 - Where has three inputs
        swap(model, node.outputs[0], kept)
        done += 1
    return done


def constant_shapes(model: Model) -> int:
    """Reshape to (batch, length, …) read from the inputs' sizes becomes a reshape to the constant (0, 0, …)."""
    done = 0
    for node in nodes(model, "Reshape"):
        concat = producer(node.inputs[1], "Concat")
        if concat is None or not concat.inputs[2:] or not _is_size_of_input(concat.inputs[0], 0):
            continue
        length, *rest = (constant(value) for value in concat.inputs[1:])
        sizes = [int(part.item()) for part in rest if part is not None and part.size == 1]
        inferred = length is not None and length.tolist() == [-1] and min(sizes, default=0) > 0
        if len(sizes) < len(rest) or not (inferred or _is_size_of_input(concat.inputs[1], 1)):
            continue
        target = np.array([0, 0, *sizes], np.int64)
        build = Builder(model, node)
        made = build.node("Reshape", [node.inputs[0], build.constant(target, "shape")], allowzero=0)
        swap(model, node.outputs[0], made)
        done += 1
    return done


def _is_size_of_input(value: Value | None, axis: int) -> bool:
    """Say whether ``value`` is the size of a graph input along ``axis``, and of nothing more."""
    shape = producer(value, "Shape")
    if shape is None or shape.inputs[0] is None or not shape.inputs[0].is_graph_input():
        return False
    return bool((attribute(shape, "start", 0), attribute(shape, "end")) == (axis, axis + 1))


def plain_keys(model: Model) -> int:
    """Keys that the exporter transposes through three dimensions are transposed once: (0, 2, 3, 1)."""
    done = 0
    for last in nodes(model, "Reshape"):
        swapped = producer(last.inputs[0], "Transpose")
        flat = producer(swapped.inputs[0], "Reshape") if swapped else None
        heads = producer(flat.inputs[0], "Transpose") if flat else None
        if swapped is None or heads is None or tuple(attribute(swapped, "perm", ())) != (0, 2, 1):
            continue
        if tuple(attribute(heads, "perm", ())) != _HEADS_FIRST:
            continue
        made = Builder(model, last).node("Transpose", [heads.inputs[0]], perm=[0, 2, 3, 1])
        swap(model, last.outputs[0], made)
        done += 1
    return done


def fold_scales(model: Model) -> int:
    """Put the number that queries and keys are multiplied by into the weights and the bias that make them."""
    done = 0
    for node in nodes(model, "Mul"):
        data, factor = _with_constant(node)
        linear = _linear_above(data) if data is not None and factor is not None and factor.size == 1 else None
        if data is None or factor is None or linear is None:
            continue
        add, matmul = linear
        for owner, place in ((matmul, 1), (add, _constant_place(add))):
            value = owner.inputs[place]
            array = constant(value)
            assert value is not None and array is not None  # noqa: S101, PT018 - _linear_above found them
            scaled = (array * factor.reshape(()).astype(np.float64)).astype(array.dtype)
            owner.replace_input_with(place, Builder(model, owner).constant(scaled, f"{value.name}_scaled"))
        swap(model, node.outputs[0], data)
        done += 1
    return done


def _with_constant(node: Node) -> tuple[Value | None, np.ndarray | None]:
    """Return the input of a two-input node that varies, and the array of the other."""
    place = _constant_place(node)
    return (None, None) if place < 0 else (node.inputs[1 - place], constant(node.inputs[place]))


def _constant_place(node: Node) -> int:
    return next((place for place, value in enumerate(node.inputs[:2]) if constant(value) is not None), -1)


def _linear_above(value: Value) -> tuple[Node, Node] | None:
    """Return the (Add, MatMul) with constant bias and weight that alone feed ``value`` through reshapes."""
    while (through := producer(value, "Reshape", "Transpose")) and only_use(value) and through.inputs[0] is not None:
        value = through.inputs[0]
    add = producer(value, "Add")
    return None if add is None or not only_use(value) else _linear(add)


def _linear(add: Node) -> tuple[Node, Node] | None:
    """Return (Add, MatMul) where ``add`` adds a constant bias to a product with constant weights."""
    product, bias = _with_constant(add)
    matmul = producer(product, "MatMul")
    if product is None or bias is None or bias.ndim != 1 or matmul is None or not only_use(product):
        return None
    weight = constant(matmul.inputs[1])
    return (add, matmul) if weight is not None and weight.ndim == 2 else None  # noqa: PLR2004


def plain_sums(model: Model) -> int:
    """Residual additions become Sum: onnxruntime fuses Add with LayerNormalization into a slower operator on CPUs."""
    done = 0
    for node in nodes(model, "Add"):
        users = [use.node.op_type for use in node.outputs[0].uses()]
        if "LayerNormalization" not in users or _constant_place(node) >= 0:
            continue
        swap(model, node.outputs[0], Builder(model, node).node("Sum", list(node.inputs)))
        done += 1
    return done


def fuse_qkv(model: Model) -> int:
    """Products of one input with several constant weights become one product, split afterwards."""
    together: dict[int, list[tuple[Node, Node]]] = {}
    for add in nodes(model, "Add"):
        if pair := _linear(add):
            together.setdefault(id(pair[1].inputs[0]), []).append(pair)
    groups = [group for group in together.values() if len(group) > 1]
    for group in groups:
        _fuse(model, group)
    return len(groups)


def _fuse(model: Model, group: Sequence[tuple[Node, Node]]) -> None:
    weights = [_array(matmul.inputs[1]) for _, matmul in group]
    biases = [_array(add.inputs[_constant_place(add)]) for add, _ in group]
    build = Builder(model, group[0][1])
    weight = build.constant(np.concatenate(weights, axis=1), "fused_weight")
    bias = build.constant(np.concatenate(biases), "fused_bias")
    added = build.node("Add", [build.node("MatMul", [group[0][1].inputs[0], weight]), bias])
    widths = build.constant(np.array([w.shape[1] for w in weights], np.int64), "fused_widths")
    parts = build.nodes("Split", [added, widths], len(group), axis=-1)
    for (add, _), part in zip(group, parts, strict=True):
        swap(model, add.outputs[0], part)


def _array(value: Value | None) -> np.ndarray:
    found = constant(value)
    assert found is not None  # noqa: S101 - only called where a constant was found before
    return found


def fast_gelu(model: Model) -> int:
    """Gelu by the error function becomes its tanh form (arXiv 1606.08415, eq. 3): logits move by about 1e-3."""
    found = [node for node in nodes(model, "Gelu") if attribute(node, "approximate", "none") == "none"]
    for node in found:
        swap(model, node.outputs[0], Builder(model, node).node("FastGelu", list(node.inputs), MICROSOFT))
    return len(found)


Rewrite = Callable[["Model"], int]
# In the order in which they are applied; first-token reads the shapes and the transposes that those before it leave.
REWRITES: Mapping[str, Rewrite] = {
    "nan-guards": drop_nan_guards,
    "shapes": constant_shapes,
    "keys": plain_keys,
    "scales": fold_scales,
    "first-token": first_token,
    "sums": plain_sums,
    "qkv": fuse_qkv,
    "fast-gelu": fast_gelu,
}
ALWAYS = FASTER


def rewrite(model: Model, names: Sequence[str] = ALWAYS) -> dict[str, int]:
    """Apply these rewrites, in the table's order, and return how many places each changed."""
    done = {name: REWRITES[name](model) for name in REWRITES if name in names}
    clean(model)
    return done
