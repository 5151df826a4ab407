"""Schemes, the ladder and tuning, on tiny artifacts."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import onnx
import pytest
from tiny_models import SENTENCES

from edgecompress.artifact import open_artifact, seal
from edgecompress.errors import CheckError, InputError, MissingExtraError, OutputError
from edgecompress.export import ladder as climbing
from edgecompress.export import quantize as quantizing
from edgecompress.export import transform as transforming
from edgecompress.export.ladder import Judge, climb
from edgecompress.export.ledger import ledger
from edgecompress.export.quantize import quantize
from edgecompress.export.schemes import SCHEMES
from edgecompress.export.tune import VARIANTS, tune
from edgecompress.runtime.predictor import load
from edgecompress.tasks.examples import Example

TEXTS = tuple(SENTENCES)
QUICK = ("optimized", "int8", "int8-tables4", "fp16")


@pytest.mark.parametrize(("family", "kind"), [("xlm-roberta", "text"), ("bert", "token")])
@pytest.mark.parametrize("scheme", list(SCHEMES))
def test_every_scheme_says_nearly_the_same(exported, tmp_path, monkeypatch, scheme, family, kind):
    _, plain = exported(family, kind)
    monkeypatch.setattr(quantizing, "MAX_ERROR", 1.5)  # 24 random dimensions do not average 4-bit errors out
    small = quantize(plain, tmp_path / "small", scheme=scheme, texts=TEXTS, min_agreement=0.6)
    details = small.history[-1].details
    assert small.scheme == scheme
    assert details["error"] < {"optimized": 1e-3, "fp16": 1e-2, "int4": 1.2, "weight-int4": 1.2}.get(scheme, 0.5)
    assert details["agreement"] >= 0.6
    assert len(load(small.folder)(list(TEXTS))) == len(TEXTS)


@pytest.mark.parametrize(("family", "kind"), [("modernbert", "text"), ("deberta-v2", "token")])
def test_the_newer_architectures_climb_too(exported, tmp_path, monkeypatch, family, kind):
    _, plain = exported(family, kind)
    monkeypatch.setattr(quantizing, "MAX_ERROR", 1.5)
    found = climb(plain, tmp_path / "best", Judge(texts=TEXTS), max_drop=100.0)
    assert {rung.scheme: rung.refused for rung in found.rungs if rung.refused} == {}
    errors = {rung.scheme: rung.error for rung in found.rungs}
    assert errors["optimized"] < 1e-3
    assert errors["fp16"] < 2e-2
    assert errors["weight-int8"] < 0.1


def test_small_means_small(exported, tmp_path, monkeypatch):
    _, plain = exported()
    monkeypatch.setattr(quantizing, "MAX_ERROR", 1.5)
    size = {PLAIN: stored(plain)}
    for scheme in ("int8", "int8-tables4", "int4", "fp16"):
        size[scheme] = stored(quantize(plain, tmp_path / scheme, scheme=scheme, min_agreement=0.5))
    assert size["int4"] < size["int8-tables4"] < size["int8"] < size["fp16"] < size[PLAIN]


PLAIN = "fp32"


def stored(artifact):
    """Bytes of the weights alone: a tiny graph's nodes outweigh them."""
    return sum(entry.bytes for entry in ledger(artifact.model_path).entries)


def test_a_scheme_that_destroys_the_embeddings_is_refused(exported, tmp_path, monkeypatch, run):
    _, plain = exported()

    def destroy(model, bits):
        value = model.graph.initializers["roberta.embeddings.word_embeddings.weight"]
        import onnx_ir

        value.const_value = onnx_ir.tensor(np.zeros(value.const_value.shape, np.float32), name=value.name)
        return bits

    monkeypatch.setattr(transforming, "quantize_tables", destroy)
    with pytest.raises(CheckError, match="destroys the logits"):
        quantize(plain, tmp_path / "small", scheme="int8")
    code, _, err = run("quantize", plain.folder, "-o", tmp_path / "small", "--scheme", "int8")
    assert (code, err.count("\n")) == (1, 1)
    assert "nothing was written" in err
    found = climb(plain, tmp_path / "best", Judge(texts=TEXTS), schemes=("int8", "optimized"))
    assert [bool(rung.refused) for rung in found.rungs] == [False, True, False]
    assert found.chosen == "optimized"
    assert [path.name for path in tmp_path.iterdir()] == ["best"]


def test_a_rewrite_that_changes_the_logits_is_refused(exported, tmp_path, monkeypatch):
    _, plain = exported()

    def wrong(model, names):
        bias = model.graph.initializers["classifier.out_proj.bias"]
        import onnx_ir

        bias.const_value = onnx_ir.tensor(np.ones(bias.const_value.shape, np.float32), name=bias.name)
        return dict.fromkeys(names, 1)

    monkeypatch.setattr(transforming, "rewrite", wrong)
    with pytest.raises(CheckError, match="rewriting moves the logits"):
        quantize(plain, tmp_path / "small", scheme="optimized")
    assert not list(tmp_path.iterdir())


def test_the_ladder_keeps_the_smallest_that_scores(exported, tmp_path):
    _, plain = exported()
    said = [one.label for one in load(plain.folder)(list(TEXTS))]
    judge = Judge(tuple(Example((text,), (label,)) for text, label in zip(TEXTS, said, strict=True)))
    found = climb(plain, tmp_path / "best", judge, schemes=QUICK, max_drop=0.0)
    scores = {rung.scheme: rung.score for rung in found.rungs}
    assert scores["fp32"] == scores["optimized"] == max(scores.values())
    good = [rung for rung in found.rungs if rung.score == scores["fp32"]]
    assert found.chosen == min(good, key=lambda rung: rung.bytes).scheme
    assert all(len(rung.latency) == 2 and min(rung.latency) > 0 for rung in found.rungs)
    best = open_artifact(tmp_path / "best")
    assert [rung["scheme"] for rung in best.history[-1].details["rungs"]] == ["fp32", *QUICK]
    assert best.history[-1].details["cpu"]
    fast = climb(plain, tmp_path / "fast", judge, schemes=QUICK, max_drop=100.0, prefer="fast")
    assert fast.chosen == min(fast.rungs, key=lambda rung: rung.latency[-1]).scheme


@pytest.mark.parametrize("error", [OutputError("no room"), MissingExtraError("needs onnx")])
def test_what_is_no_fault_of_a_scheme_ends_the_ladder(exported, tmp_path, monkeypatch, error):
    _, plain = exported()

    def fails(*_, **__):
        raise error

    monkeypatch.setattr(climbing, "quantize", fails)
    with pytest.raises(type(error), match=str(error)):
        climb(plain, tmp_path / "best", Judge(texts=TEXTS), schemes=QUICK)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"judge": Judge()}, "give --validation FILE"),
        ({"prefer": "pretty"}, "prefer 'pretty': choose from small, fast"),
        ({"schemes": ("int3",)}, "scheme 'int3': choose from optimized, dynamic-int8"),
    ],
)
def test_what_a_ladder_cannot_do(exported, tmp_path, options, said):
    _, plain = exported()
    with pytest.raises(InputError, match=said):
        climb(plain, tmp_path / "best", **{"judge": Judge(texts=TEXTS), **options})
    with pytest.raises(InputError, match="is fitted on text: give --text FILE"):
        quantize(plain, tmp_path / "best", scheme="static-int8")
    assert not list(tmp_path.iterdir())


def test_tuning_times_every_variant_and_keeps_the_fastest(exported, tmp_path):
    _, plain = exported()
    found = tune(plain, tmp_path / "tuned", scheme="int8", texts=TEXTS, shapes=((1, 8), (1, 400)))
    assert set(found.times) == set(VARIANTS)
    assert found.chosen == min(found.times, key=lambda name: found.times[name][1, 8])
    step = open_artifact(tmp_path / "tuned").history[-1]
    assert (step.stage, step.options["variant"]) == ("tune", found.chosen)
    assert set(step.details["milliseconds"]) == set(VARIANTS)
    with pytest.raises(InputError, match="no shape is within the artifact's 128 tokens"):
        tune(plain, tmp_path / "no", shapes=((1, 400),))


def test_a_model_whose_weights_lie_beside_it(exported, tmp_path, monkeypatch):
    """As above 2 GB: sizes count every file, and no file of another graph is left behind."""
    from edgecompress.export import graph
    from edgecompress.export.graph import read, write

    _, plain = exported()
    big = tmp_path / "big"
    shutil.copytree(plain.folder, big)
    monkeypatch.setattr(graph, "ONE_FILE", 1000)
    write(read(plain.model_path), big / "model.onnx")
    sealed = seal(replace(open_artifact(plain.folder), folder=big))
    assert (big / "model.onnx.data").is_file()
    assert sealed.model_bytes > plain.model_bytes * 0.9
    monkeypatch.setattr(graph, "ONE_FILE", 10**9)
    for scheme in ("dynamic-int8", "int8-tables4", "optimized"):
        small = quantize(sealed, tmp_path / scheme, scheme=scheme)
        assert "model.onnx.data" not in small.checksums
        assert small.model_bytes == small.model_path.stat().st_size
        assert load(small.folder)(TEXTS[0]).label
    assert ledger(big / "model.onnx").file_bytes == sealed.model_bytes


def test_what_another_exporter_wrote_beside_the_graph_is_not_handed_on(exported, tmp_path):
    folder = shutil.copytree(exported()[1].folder, tmp_path / "noted")
    model = onnx.load(folder / "model.onnx")
    for node in model.graph.node:
        node.doc_string = "File /home/somebody/model.py, line 1"
        node.metadata_props.add(key="stack", value="/home/somebody/model.py")
    onnx.save(model, folder / "model.onnx")
    small = quantize(
        seal(replace(exported()[1], folder=folder)), tmp_path / "small", scheme="int8-tables4", min_agreement=0
    )
    assert b"/home/somebody" not in small.model_path.read_bytes()
