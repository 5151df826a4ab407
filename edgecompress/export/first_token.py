"""A classifier reads the first token alone: the last layer's queries, FFN and norms are computed for no other.

Keys and values of all tokens stay. In a graph this is a Gather of place 0 that moves up, through everything that treats
places alike, until it meets a value that other places need too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgecompress.export.graph import Builder, attribute, constant, nodes

if TYPE_CHECKING:
    from onnx_ir import Model, Node, Value

_ALIKE = ("Add", "Sum", "Mul", "Sub", "Div", "Gelu", "FastGelu", "Relu", "Tanh", "Erf", "Sigmoid", "Cast")
_LAST_AXIS = ("LayerNormalization", "Softmax")
Axes = dict[int, int]  # id of a value → the axis along which only place 0 is needed


def first_token(model: Model) -> int:
    """Compute the last layer for place 0 alone where nothing else is read; return 1 if that was found, else 0."""
    for gather in nodes(model, "Gather"):
        index = constant(gather.inputs[1])
        read = gather.inputs[0]
        if index is None or index.shape != () or index.item() != 0 or attribute(gather, "axis", 0) != 1:
            continue
        if read is None or constant(read) is not None or len(read.uses()) != 1:
            continue
        inside, axes = _region(model, read)
        if inside:
            _cut(model, inside, axes)
            return 1
    return 0


def _region(model: Model, read: Value) -> tuple[list[Node], Axes]:
    """Return the nodes of which only place 0 is needed, last first, and along which axis for each value they read."""
    axes: Axes = {id(read): 1}
    inside: list[Node] = []
    allowed: set[int] = {id(use.node) for use in read.uses()}
    for node in reversed(list(model.graph)):
        output = node.outputs[0]
        if id(output) not in axes or len(node.outputs) > 1 or output.is_graph_output():
            continue
        if not all(id(use.node) in allowed and not _is_second_factor(*use) for use in output.uses()):
            continue
        above = _above(node, axes[id(output)])
        if above is None or any(axes.get(id(value), axis) != axis for value, axis in above):
            continue
        axes.update({id(value): axis for value, axis in above})
        inside.append(node)
        allowed.add(id(node))
    return inside, axes


def _is_second_factor(node: Node, place: int) -> bool:
    return node.op_type == "MatMul" and place == 1


def _above(node: Node, axis: int) -> list[tuple[Value, int]] | None:
    """Return what ``node`` needs for place 0 along ``axis`` of its output: (input, axis). None: it needs all places."""
    varying = [value for value in node.inputs if value is not None and constant(value) is None]
    if node.op_type in _ALIKE:
        small = all((array := constant(value)) is None or array.ndim <= 1 for value in node.inputs)
        return [(value, axis) for value in varying] if small else None
    if node.op_type in _LAST_AXIS:
        return [(value, axis) for value in varying] if attribute(node, "axis", -1) == -1 else None
    if node.op_type == "MatMul":  # rows come from the first factor: (batch, length, …), or (batch, heads, length, …)
        rows = node.inputs[0] is varying[0] and axis == len(varying)
        return [(value, axis) for value in varying[:1]] if rows else None
    if node.op_type == "Transpose":
        return [(value, int(attribute(node, "perm")[axis])) for value in varying]
    if node.op_type == "Reshape":
        shape = constant(node.inputs[1])
        alike = shape is not None and axis == 1 and shape[:2].tolist() == [0, 0] and not attribute(node, "allowzero", 0)
        return [(value, 1) for value in varying] if alike else None
    return None


def _cut(model: Model, inside: list[Node], axes: Axes) -> None:
    """Let the nodes ``inside`` read place 0 of what comes from outside."""
    made = {id(output) for node in inside for output in node.outputs}
    cuts: dict[int, Value] = {}
    for node in reversed(inside):
        needed = _above(node, axes[id(node.outputs[0])]) or []
        for value, axis in needed:
            if id(value) in made:
                continue
            if id(value) not in cuts:
                cuts[id(value)] = _first(model, node, value, axis)
            for place, given in enumerate(node.inputs):
                if given is value and not (node.op_type == "MatMul" and place > 0):
                    node.replace_input_with(place, cuts[id(value)])


def _first(model: Model, at: Node, value: Value, axis: int) -> Value:
    build = Builder(model, at)
    begin, end, along = (build.constant(np.array([n], np.int64), "place") for n in (0, 1, axis))
    return build.node("Slice", [value, begin, end, along])
