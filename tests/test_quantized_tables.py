"""Tables and weights in fewer bits: what comes out of the graph is what the codes say, and near what went in."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgecompress.export.graph import read, write
from edgecompress.export.packed import blocks_of, pack_weights
from edgecompress.export.tables import block_size, blocks4, pack, quantize_tables, rows8

RANDOM = np.random.default_rng(0)


def rows(count=64, width=24):
    """Rows of very different sizes, as a multilingual table has."""
    return (RANDOM.standard_normal((count, width)) * 10.0 ** RANDOM.uniform(-3, 1, (count, 1))).astype(np.float32)


def lookup(path, values):
    nodes = [helper.make_node("Gather", ["t", "ids"], ["out"])]
    given = [helper.make_tensor_value_info("ids", TensorProto.INT64, ["b", "l"])]
    out = [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["b", "l", values.shape[1]])]
    graph = helper.make_graph(nodes, "g", given, out, [numpy_helper.from_array(values, "t")])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9), str(path))


def run(path, **given):
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"]).run(None, given)[0]


@pytest.mark.parametrize(
    ("bits", "width", "allowed"), [(8, 24, 0.012), (8, 25, 0.012), (4, 24, 0.12), (4, 25, 0.12), (4, 260, 0.14)]
)
def test_every_row_keeps_its_own_size(tmp_path, bits, width, allowed):
    values = rows(width=width)
    lookup(tmp_path / "a.onnx", values)
    model = read(tmp_path / "a.onnx")
    assert quantize_tables(model, bits) == 1
    write(model, tmp_path / "b.onnx")
    ids = np.array([[0, 5, 63], [7, 7, 1]])
    found = run(tmp_path / "b.onnx", ids=ids)
    assert found.shape == (2, 3, width)
    off = np.linalg.norm(found - values[ids], axis=-1) / np.linalg.norm(values[ids], axis=-1)
    assert off.max() < allowed
    per_tensor = np.round(values / np.abs(values).max() * 127) * np.abs(values).max() / 127
    assert np.median(np.linalg.norm(per_tensor - values, axis=1) / np.linalg.norm(values, axis=1)) > allowed
    stored = sum(t.nbytes for name, t in ((v.name, v.const_value) for v in model.graph.initializers.values()))
    assert stored < values.nbytes * bits / 32 + 8 * len(values) + 200


def test_small_tables_and_other_lookups_stay(tmp_path):
    lookup(tmp_path / "a.onnx", rows(count=2))
    assert quantize_tables(read(tmp_path / "a.onnx"), 8) == 0


def test_codes_and_scales_are_what_the_docstrings_say():
    values = rows()
    codes, scales = rows8(values)
    assert np.abs(codes).max(axis=1).tolist() == [127] * len(values)
    assert (np.abs(codes * scales - values) <= 0.501 * scales).all()
    four, blocks = blocks4(values)
    assert four.min() >= 0
    assert four.max() <= 15
    assert np.array_equal(pack(four, axis=1) & 15, four[:, :12])
    assert np.array_equal(pack(four, axis=1) >> 4, four[:, 12:])
    assert [block_size(width) for width in (156, 312, 128, 131, 768)] == [78, 104, 128, 131, 128]
    assert blocks.shape == (64, 1)


def test_packed_weights_are_the_int8_weights_that_the_blocks_can_say(tmp_path):
    weight = np.clip(np.round(RANDOM.standard_normal((64, 16)) * 40), -127, 127).astype(np.int8)
    codes, factors = blocks_of(weight)
    said = ((codes.astype(int) - 8).reshape(2, 32, 16) * factors[:, None]).reshape(64, 16)
    assert np.abs(said).max() <= 127
    assert np.sqrt(((said - weight) ** 2).mean() / (weight.astype(float) ** 2).mean()) < 0.12
    nodes = [helper.make_node("MatMulInteger", ["x", "w"], ["y"])]
    given = [helper.make_tensor_value_info("x", TensorProto.UINT8, [2, 64])]
    out = [helper.make_tensor_value_info("y", TensorProto.INT32, [2, 16])]
    graph = helper.make_graph(nodes, "g", given, out, [numpy_helper.from_array(weight, "w")])
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9), str(tmp_path / "a.onnx")
    )
    model = read(tmp_path / "a.onnx")
    assert pack_weights(model) == 1
    write(model, tmp_path / "b.onnx")
    x = RANDOM.integers(0, 255, (2, 64)).astype(np.uint8)
    assert np.array_equal(run(tmp_path / "b.onnx", x=x), x.astype(int) @ said)
    assert max(v.const_value.nbytes for v in model.graph.initializers.values()) == weight.nbytes // 2
