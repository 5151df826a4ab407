"""Several graphs become one that computes once what they have in common. No torch here.

Nothing is known of encoders: constants of equal type and content are one, and so are nodes of one operator with equal
attributes and inputs, from the inputs down to where the graphs part. A classifier's last layer for its first token
alone is such a place, and so is a product that one task's scheme has spared.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgecompress.errors import InputError
from edgecompress.export.graph import nodes, unused_name
from edgecompress.runtime.running import OUTPUT

if TYPE_CHECKING:
    from onnx_ir import Model, Node

_ANY_SIZE = 1 << 62  # of the constants that are compared


@dataclass(frozen=True)
class Sharing:
    """``nodes`` and ``constants`` before and after; ``products`` by head: matrix products it needs, those it shares;
    ``all_products`` are those of the one graph.
    """

    nodes: tuple[int, int]
    constants: tuple[int, int]
    products: Mapping[str, tuple[int, int]]
    all_products: int

    def share(self, head: str) -> float:
        """Return which part of the head's matrix products is computed for another head, too."""
        own, shared = self.products[head]
        return shared / own if own else 0.0


def merge(models: Mapping[str, Model], outputs: Mapping[str, str]) -> tuple[Model, Sharing]:
    """Join the models, read for this, and return the one graph with what was shared; head → ``outputs`` names logits.

    Raises InputError where they take other inputs or speak other versions of an operator set.
    """
    first, *others = models
    into = models[first]
    before = sum(len(model.graph) for model in models.values()), sum(map(_constants, models.values()))
    for name, model in models.items():
        _name_output(model, outputs[name])
    for name in others:
        _check_alike(into, models[name], (first, name))
        _join(into, models[name])
    _share(into)
    after = len(into.graph), _constants(into)
    products = _products(into, {output: name for name, output in outputs.items()})
    total = sum(map(_is_product, into.graph))
    return into, Sharing((before[0], after[0]), (before[1], after[1]), products, total)


def _name_output(model: Model, name: str) -> None:
    """Call the logits ``name``, and give out nothing beside them."""
    logits = next(value for value in model.graph.outputs if value.name == OUTPUT)
    model.graph.outputs[:] = [logits]
    logits.name = name


def _constants(model: Model) -> int:
    return len(model.graph.initializers)


def _check_alike(one: Model, other: Model, names: tuple[str, str]) -> None:
    both = f"{names[0]} and {names[1]}"
    inputs = [sorted(f"{value.name} {value.dtype}" for value in model.graph.inputs) for model in (one, other)]
    if inputs[0] != inputs[1]:
        raise InputError(
            f"{both} take other inputs ({', '.join(inputs[0])}; {', '.join(inputs[1])}): export both alike"
        )
    for domain in one.graph.opset_imports.keys() & other.graph.opset_imports.keys():
        versions = [model.graph.opset_imports[domain] for model in (one, other)]
        if versions[0] != versions[1]:
            raise InputError(f"{both} have the operators {domain or 'ai.onnx'} in the versions {versions[0]} and "
                             f"{versions[1]}: export both with one --opset")  # fmt: skip
    if one.functions or other.functions:
        raise InputError(f"{both} hold functions of their own, which cannot be joined: export with --backend torch")


def _join(into: Model, other: Model) -> None:
    """Move everything of ``other`` into ``into``, on the same inputs."""
    import onnx_ir

    held, inputs = into.graph.initializers, {value.name: value for value in into.graph.inputs}
    for value in other.graph.inputs:
        onnx_ir.convenience.replace_all_uses_with(value, inputs[value.name])
    for name in list(other.graph.initializers):
        value = other.graph.initializers.pop(name)
        value.name = unused_name(held, name)
        into.graph.register_initializer(value)
    outputs, moved = list(other.graph.outputs), list(other.graph)
    other.graph.outputs.clear()
    other.graph.remove(moved)
    into.graph.extend(moved)
    into.graph.outputs.extend(outputs)
    into.graph.opset_imports.update(other.graph.opset_imports)
    into.ir_version = max(into.ir_version, other.ir_version)


def _share(model: Model) -> None:
    """Let equal constants be one, then equal nodes; and give every value a name of its own."""
    import onnx_ir.passes.common as passes

    passes.NameFixPass()(model)
    passes.DeduplicateHashedInitializersPass(_ANY_SIZE)(model)
    passes.CommonSubexpressionEliminationPass(_ANY_SIZE)(model)
    passes.RemoveUnusedNodesPass()(model)


def _products(model: Model, heads: Mapping[str, str]) -> dict[str, tuple[int, int]]:
    """Count, by head, the matrix products that its logits need, and those of them that another's need, too."""
    needed_by: dict[int, set[str]] = {id(value): {heads[value.name or ""]} for value in model.graph.outputs}
    own: Counter[str] = Counter()
    shared: Counter[str] = Counter()
    for node in reversed(list(nodes(model))):
        users = set().union(*(needed_by.get(id(value), set()) for value in node.outputs))
        for value in node.inputs:
            needed_by.setdefault(id(value), set()).update(users)
        if _is_product(node):
            own.update(users)
            shared.update(users if len(users) > 1 else ())
    return {name: (own[name], shared[name]) for name in heads.values()}


def _is_product(node: Node) -> bool:
    return "MatMul" in node.op_type or node.op_type in ("Gemm", "Attention")
