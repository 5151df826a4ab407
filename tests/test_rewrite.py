"""Rewritten graphs give the same logits, do less, and leave alone what they do not recognise."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import pytest
import torch
from tiny_artifact import table, write_graph
from tiny_models import bundle

from edgecompress.errors import ArtifactError
from edgecompress.export.compare import batches, compare
from edgecompress.export.graph import read, write
from edgecompress.export.onnx import to_onnx
from edgecompress.export.parity import vocabulary_of
from edgecompress.export.rewrite import REWRITES, rewrite
from edgecompress.export.schemes import FASTER
from edgecompress.runtime.session import open_run

PAIRS = [
    ("bert", "text"),
    ("xlm-roberta", "text"),
    ("xlm-roberta", "token"),
    ("distilbert", "text"),
    ("distilbert", "token"),
]
LAYERS = 2


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The plain graph of each family and kind, exported once, and the ids to try it on."""
    folder, cache = tmp_path_factory.mktemp("graphs"), {}

    def get(family, kind):
        if (family, kind) not in cache:
            torch.manual_seed(0)
            one, path = bundle(family, kind, layers=LAYERS), folder / f"{family}-{kind}.onnx"
            to_onnx(one.model, path)
            cache[family, kind] = path, vocabulary_of(one)
        return cache[family, kind]

    return get


def rewritten(path, target, names):
    model = read(path)
    done = rewrite(model, names)
    write(model, target)
    return done, Counter(node.op_type for node in model.graph)


@pytest.mark.parametrize(("family", "kind"), PAIRS)
def test_the_same_logits_from_a_graph_that_does_less(exported, tmp_path, family, kind):
    path, words = exported(family, kind)
    before = Counter(node.op_type for node in onnx.load(str(path)).graph.node)
    done, after = rewritten(path, tmp_path / "fast.onnx", tuple(REWRITES))
    texts = [[5, 6, 7], list(range(5, 25)), [5]]
    found = compare(open_run(path), open_run(tmp_path / "fast.onnx"), batches(words, texts))
    assert found.largest < 2e-3  # tanh Gelu
    assert found.agreement == 1.0
    plain, _ = rewritten(path, tmp_path / "plain.onnx", FASTER)
    assert compare(open_run(path), open_run(tmp_path / "plain.onnx"), batches(words, texts)).largest < 1e-5
    assert {name for name, count in done.items() if not count} <= {
        "first-token",
        "nan-guards",
    }  # transformers 4: no guards
    assert done["first-token"] == plain["first-token"] == (kind == "text")
    assert (done["keys"], done["qkv"]) == (LAYERS, LAYERS)
    assert done["sums"] == 2 * LAYERS + 1  # two residuals a layer, and the embeddings
    assert after["IsNaN"] == after["Gelu"] == 0
    assert sum(after.values()) < sum(before.values())
    onnx.checker.check_model(str(tmp_path / "plain.onnx"))


def test_a_classifier_computes_its_last_layer_for_one_token(exported, tmp_path):
    path, _ = exported("bert", "text")
    rewritten(path, tmp_path / "fast.onnx", FASTER)
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    model = onnx.load(str(tmp_path / "fast.onnx"))
    gelus = [node.output[0] for node in model.graph.node if node.op_type == "Gelu"]
    model.graph.output.extend(onnx.helper.make_tensor_value_info(name, 1, None) for name in gelus)
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    ids = np.full((3, 9), 7)
    shapes = [array.shape[:2] for array in session.run(gelus, {"input_ids": ids, "attention_mask": np.ones_like(ids)})]
    assert shapes == [(3, 9), (3, 1)]


def test_a_foreign_graph_is_left_as_it_is(tmp_path):
    write_graph(tmp_path / "a.onnx", table("topic"), "text")
    before = Counter(node.op_type for node in onnx.load(str(tmp_path / "a.onnx")).graph.node)
    done, after = rewritten(tmp_path / "a.onnx", tmp_path / "b.onnx", tuple(REWRITES))
    assert not any(done.values())
    assert before == after


def test_files_that_are_not_graphs_or_reach_outside(tmp_path):
    (tmp_path / "a.onnx").write_bytes(b"\xff\xff\xff no protobuf")
    with pytest.raises(ArtifactError, match="is not an ONNX file"):
        read(tmp_path / "a.onnx")
    write_graph(tmp_path / "b.onnx", table("topic"), "text")
    model = onnx.load(str(tmp_path / "b.onnx"))
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../secret")
    (tmp_path / "b.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ArtifactError, match="outside its folder"):
        read(tmp_path / "b.onnx")


def test_no_path_of_the_exporting_machine_is_in_the_file(exported):
    path, _ = exported("bert", "token")
    assert b"site-packages" not in path.read_bytes()
    names = {tensor.name for tensor in onnx.load(str(path)).graph.initializer}
    assert "bert.encoder.layer.1.intermediate.dense.weight" in names
    assert "bert.embeddings.word_embeddings.weight" in names
