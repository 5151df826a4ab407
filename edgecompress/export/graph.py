"""ONNX graphs as onnx_ir objects: read, search, write. No torch here."""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgecompress.errors import ArtifactError, MissingExtraError
from edgecompress.extras import install

if TYPE_CHECKING:
    from onnx_ir import Model, Node, Value

Array = NDArray[Any]
MICROSOFT = "com.microsoft"
ONE_FILE = 1_800_000_000  # bytes of weights; a protobuf file holds 2 GB at most
_OUTSIDE = ("..", "/", "\\", ":")


def read(path: Path) -> Model:
    """Return the model in ``path``. Raises ArtifactError when it is not ONNX, or keeps weights outside its folder or
    behind links.
    """
    import onnx
    from google.protobuf.message import DecodeError

    if path.suffix == ".ort":
        raise ArtifactError(f"{path} is in ORT format, which onnxruntime alone reads: give the artifact it is of")
    try:
        proto = onnx.load(str(path), format="protobuf", load_external_data=False)
    except DecodeError as error:
        raise ArtifactError(f"{path} is not an ONNX file ({error}): restore it, or export again") from error
    if not proto.graph.node:
        raise ArtifactError(f"{path} is not an ONNX file (it holds no graph): restore it, or export again")
    for tensor in proto.graph.initializer:
        for entry in (one for one in tensor.external_data if one.key == "location"):
            if any(part in entry.value for part in _OUTSIDE):
                raise ArtifactError(
                    f"{path} keeps weights in {entry.value!r}, outside its folder: do not use this file, get it again"
                )
            if (path.parent / entry.value).is_symlink():  # as in the hub's cache; onnx does not follow it
                raise ArtifactError(
                    f"{path} keeps weights in {entry.value}, a link: copy the folder with the files that it links to "
                    f"(cp -rL) and give the copy"
                )
    del proto
    model: Model = _ir().load(str(path), format="protobuf")
    return model


def write(model: Model, path: Path) -> None:
    """Write ``model`` to ``path``: one file, or with its weights beside it where one file cannot hold them."""
    ir = _ir()
    for node in model.graph:
        for value in node.outputs:
            if not value.is_graph_output():
                value.shape = (
                    None  # noted by the exporter; a rewrite may have made it wrong, and the runtime finds it out
                )
    size = sum(value.const_value.nbytes for value in model.graph.initializers.values() if value.const_value is not None)
    if size <= ONE_FILE:
        ir.external_data.load_to_model(model)  # what was read from beside another file
    ir.save(model, str(path), external_data=f"{path.name}.data" if size > ONE_FILE else None)


def _ir() -> Any:
    try:
        import onnx_ir
    except ImportError as error:
        raise MissingExtraError(f"changing a graph needs onnx_ir: {install('compress')}") from error
    return onnx_ir


def constant(value: Value | None) -> Array | None:
    """Return the array of an initializer or a Constant's output; None for a value that depends on the input."""
    found = None if value is None else _ir().convenience.get_const_tensor(value)
    return None if found is None else np.asarray(found.numpy())


def attribute(node: Node, name: str, default: Any = None) -> Any:
    """Return an attribute's value, or ``default`` where the node does not have it."""
    return node.attributes[name].value if name in node.attributes else default


def producer(value: Value | None, *kinds: str) -> Node | None:
    """Return the node that makes ``value`` if it is one of ``kinds``."""
    node = None if value is None else value.producer()
    return node if node is not None and node.op_type in kinds else None


def only_use(value: Value) -> bool:
    """Say whether exactly one node reads ``value``, and the graph does not give it out."""
    return len(value.uses()) == 1 and not value.is_graph_output()


def nodes(model: Model, *kinds: str) -> Iterator[Node]:
    """Yield the nodes of these kinds (all without any), as they are now: the graph may be changed meanwhile."""
    yield from [node for node in model.graph if not kinds or node.op_type in kinds]


def unused_name(held: Container[str], name: str) -> str:
    """Return ``name``, or with a number behind it where it is held already."""
    return next(one for one in chain([name], (f"{name}_{i}" for i in count(1))) if one not in held)


class Builder:
    """Adds constants and nodes to ``model``: new nodes stand before ``at``."""

    def __init__(self, model: Model, at: Node) -> None:
        self.model, self.at = model, at

    def constant(self, array: Array, name: str) -> Value:
        """Return a new initializer, named after ``name``."""
        ir, unused = _ir(), unused_name(self.model.graph.initializers, name)
        tensor = ir.tensor(array.copy(order="C"), name=unused)
        value: Value = ir.Value(name=unused, shape=ir.Shape(array.shape), type=ir.TensorType(tensor.dtype))
        value.const_value = tensor
        self.model.graph.register_initializer(value)
        return value

    def node(self, kind: str, inputs: Sequence[Value | None], domain: str = "", **attributes: Any) -> Value:
        """Return the output of a new node."""
        return self.nodes(kind, inputs, 1, domain, **attributes)[0]

    def nodes(
        self, kind: str, inputs: Sequence[Value | None], outputs: int, domain: str = "", **attributes: Any
    ) -> Sequence[Value]:
        """Return the outputs of a new node with several."""
        made = _ir().node(kind, inputs, attributes, domain=domain, num_outputs=outputs)
        self.model.graph.insert_before(self.at, made)
        if domain:
            self.model.graph.opset_imports.setdefault(domain, 1)
        return list(made.outputs)


def swap(model: Model, old: Value, new: Value) -> None:
    """Let everything that reads ``old`` read ``new``, and drop what nobody reads any more."""
    _ir().convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)
    clean(model)


def clean(model: Model) -> None:
    """Drop nodes and initializers that nothing reads."""
    import onnx_ir.passes.common as passes

    passes.RemoveUnusedNodesPass()(model)
    held = model.graph.initializers
    for name in [name for name, value in held.items() if not value.uses() and not value.is_graph_output()]:
        del held[name]
