"""Where the bytes of a file are."""

from __future__ import annotations

import onnx
from tiny_models import SENTENCES

from edgecompress.export.ledger import ledger
from edgecompress.export.quantize import quantize

TEXTS = tuple(SENTENCES)
QUICK = ("optimized", "int8", "int8-tables4", "fp16")


def test_a_ledger_adds_up_to_the_file(exported, tmp_path):
    _, plain = exported("bert", "token")
    small = quantize(plain, tmp_path / "small", scheme="int8-tables4")
    for artifact in (plain, small):
        found = ledger(artifact.model_path)
        assert sum(entry.bytes for entry in found.entries) + found.graph_bytes == artifact.model_path.stat().st_size
        assert found.operators == dict(ops(artifact).most_common())
    assert ledger(plain.model_path).floats["MatMul"] > ledger(small.model_path).floats["MatMul"]
    by_part = {entry.part: entry for entry in ledger(plain.model_path).entries}
    assert by_part["embeddings"].numbers > by_part["attention"].numbers
    assert {"embeddings", "attention", "FFN", "head"} <= set(by_part)


def ops(artifact):
    from collections import Counter

    return Counter(node.op_type for node in onnx.load(str(artifact.model_path)).graph.node)
