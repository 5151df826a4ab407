"""ONNX files that load and do not work: what a benchmark has to survive."""

import onnx
from onnx import TensorProto, helper


def graph(path, nodes, initializers=()):
    """An ONNX file of these nodes, from ids to logits (batch, 2)."""
    made = helper.make_graph(
        nodes,
        "broken",
        [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "length"])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 2])],
        list(initializers),
    )
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    return path


def nan_graph(path):
    """Logits that are 0 / 0."""
    return graph(path, [
        helper.make_node("Cast", ["input_ids"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["floats", "axis"], ["mean"], keepdims=1),
        helper.make_node("Sub", ["mean", "mean"], ["zero"]),
        helper.make_node("Div", ["zero", "zero"], ["nan"]),
        helper.make_node("Concat", ["nan", "nan"], ["logits"], axis=1),
    ], [helper.make_tensor("axis", TensorProto.INT64, [1], [1])])  # fmt: skip


def endless_graph(path):
    """A loop that nobody lives to see the end of."""
    info, truth = helper.make_tensor_value_info, TensorProto.BOOL
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Add", ["sum", "sum"], ["next"])],
        "body",
        [info("i", TensorProto.INT64, []), info("go", truth, []), info("sum", TensorProto.FLOAT, None)],
        [info("on", truth, []), info("next", TensorProto.FLOAT, None)],
    )
    return graph(path, [
        helper.make_node("Cast", ["input_ids"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["floats", "axis"], ["mean"], keepdims=1),
        helper.make_node("Loop", ["count", "yes", "mean"], ["end"], body=body),
        helper.make_node("Concat", ["end", "end"], ["logits"], axis=1),
    ], [helper.make_tensor("axis", TensorProto.INT64, [1], [1]),
        helper.make_tensor("count", TensorProto.INT64, [], [1 << 62]),
        helper.make_tensor("yes", TensorProto.BOOL, [], [True])])  # fmt: skip
