"""Schemes, the ladder, tuning, verifying and inspecting, on tiny artifacts; and through the command line."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from tiny_models import SENTENCES, bundle, task_files

from edgecompress.artifact import open_artifact, seal
from edgecompress.encoder.bundle import save
from edgecompress.errors import CheckError, InputError
from edgecompress.export import quantize as quantizing
from edgecompress.export import transform as transforming
from edgecompress.export.ladder import Judge, climb
from edgecompress.export.ledger import ledger
from edgecompress.export.onnx import export
from edgecompress.export.quantize import quantize
from edgecompress.export.schemes import SCHEMES
from edgecompress.export.tune import VARIANTS, tune
from edgecompress.export.verify import open_side, verify
from edgecompress.records import Step
from edgecompress.runtime.predictor import load
from edgecompress.tasks.examples import Example

TEXTS = tuple(SENTENCES)
QUICK = ("optimized", "int8", "int8-tables4", "fp16")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A model folder and its fp32 artifact, by family and kind of task."""
    folder, cache = tmp_path_factory.mktemp("made"), {}

    def get(family="xlm-roberta", kind="text"):
        if (family, kind) not in cache:
            torch.manual_seed(0)
            one = bundle(family, kind, layers=1)
            task = {"text": "topic", "token": "pos"}[kind]
            one = replace(one, history=(Step("finetune", {"task": {"kind": task}}),))
            save(one, folder / f"{family}-{kind}")
            cache[family, kind] = folder / f"{family}-{kind}", export(one, folder / f"{family}-{kind}-fp32")
        return cache[family, kind]

    return get


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "lines.txt"
    path.write_text("\n".join(SENTENCES) + "\n")
    return path


@pytest.mark.parametrize(("family", "kind"), [("xlm-roberta", "text"), ("bert", "token")])
@pytest.mark.parametrize("scheme", list(SCHEMES))
def test_every_scheme_says_nearly_the_same(made, tmp_path, monkeypatch, scheme, family, kind):
    _, plain = made(family, kind)
    monkeypatch.setattr(quantizing, "MAX_ERROR", 1.5)  # 24 random dimensions do not average 4-bit errors out
    small = quantize(plain, tmp_path / "small", scheme=scheme, texts=TEXTS, min_agreement=0.6)
    details = small.history[-1].details
    assert small.scheme == scheme
    assert details["error"] < {"optimized": 1e-3, "fp16": 1e-2, "int4": 1.2, "weight-int4": 1.2}.get(scheme, 0.5)
    assert details["agreement"] >= 0.6
    assert len(load(small.folder)(list(TEXTS))) == len(TEXTS)


@pytest.mark.parametrize(("family", "kind"), [("modernbert", "text"), ("deberta-v2", "token")])
def test_the_newer_architectures_climb_too(made, tmp_path, monkeypatch, family, kind):
    _, plain = made(family, kind)
    monkeypatch.setattr(quantizing, "MAX_ERROR", 1.5)
    found = climb(plain, tmp_path / "best", Judge(texts=TEXTS), max_drop=100.0)
    assert {rung.scheme: rung.refused for rung in found.rungs if rung.refused} == {}
    errors = {rung.scheme: rung.error for rung in found.rungs}
    assert errors["optimized"] < 1e-3
    assert errors["fp16"] < 2e-2
    assert errors["weight-int8"] < 0.1


def test_small_means_small(made, tmp_path, monkeypatch):
    _, plain = made()
    monkeypatch.setattr(quantizing, "MAX_ERROR", 1.5)
    size = {PLAIN: stored(plain)}
    for scheme in ("int8", "int8-tables4", "int4", "fp16"):
        size[scheme] = stored(quantize(plain, tmp_path / scheme, scheme=scheme, min_agreement=0.5))
    assert size["int4"] < size["int8-tables4"] < size["int8"] < size["fp16"] < size[PLAIN]


PLAIN = "fp32"


def stored(artifact):
    """Bytes of the weights alone: a tiny graph's nodes outweigh them."""
    return sum(entry.bytes for entry in ledger(artifact.model_path).entries)


def test_a_scheme_that_destroys_the_embeddings_is_refused(made, tmp_path, monkeypatch, run):
    _, plain = made()

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


def test_a_rewrite_that_changes_the_logits_is_refused(made, tmp_path, monkeypatch):
    _, plain = made()

    def wrong(model, names):
        bias = model.graph.initializers["classifier.out_proj.bias"]
        import onnx_ir

        bias.const_value = onnx_ir.tensor(np.ones(bias.const_value.shape, np.float32), name=bias.name)
        return dict.fromkeys(names, 1)

    monkeypatch.setattr(transforming, "rewrite", wrong)
    with pytest.raises(CheckError, match="rewriting moves the logits"):
        quantize(plain, tmp_path / "small", scheme="optimized")
    assert not list(tmp_path.iterdir())


def test_the_ladder_keeps_the_smallest_that_scores(made, tmp_path):
    _, plain = made()
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


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"judge": Judge()}, "give --validation FILE"),
        ({"prefer": "pretty"}, "prefer 'pretty': choose from small, fast"),
        ({"schemes": ("int3",)}, "scheme 'int3': choose from optimized, dynamic-int8"),
    ],
)
def test_what_a_ladder_cannot_do(made, tmp_path, options, said):
    _, plain = made()
    with pytest.raises(InputError, match=said):
        climb(plain, tmp_path / "best", **{"judge": Judge(texts=TEXTS), **options})
    with pytest.raises(InputError, match="is fitted on text: give --text FILE"):
        quantize(plain, tmp_path / "best", scheme="static-int8")
    assert not list(tmp_path.iterdir())


def test_tuning_times_every_variant_and_keeps_the_fastest(made, tmp_path):
    _, plain = made()
    found = tune(plain, tmp_path / "tuned", scheme="int8", texts=TEXTS, shapes=((1, 8), (1, 400)))
    assert set(found.times) == set(VARIANTS)
    assert found.chosen == min(found.times, key=lambda name: found.times[name][1, 8])
    step = open_artifact(tmp_path / "tuned").history[-1]
    assert (step.stage, step.options["variant"]) == ("tune", found.chosen)
    assert set(step.details["milliseconds"]) == set(VARIANTS)
    with pytest.raises(InputError, match="no shape is within the artifact's 128 tokens"):
        tune(plain, tmp_path / "no", shapes=((1, 400),))


def test_verifying_a_folder_and_an_artifact(made, tmp_path):
    folder, plain = made()
    small = quantize(plain, tmp_path / "small", scheme="int8")
    torch_side, plain_side, small_side = (open_side(path) for path in (folder, plain.folder, small.folder))
    assert verify(torch_side, plain_side, TEXTS).largest < 1e-4
    found = verify(plain_side, small_side, TEXTS)
    assert [row.where for row in found.rows[:5]] == ["1×1", "1×3", "1×128", "3×17", "mixed padding"]
    assert found.largest > 1e-3
    assert found.padding[0] < 1e-5 < found.padding[1]  # a dynamic scheme scales over the whole batch
    with pytest.raises(InputError, match="compare two of one task"):
        verify(plain_side, replace(small_side, labels=("x", "y")))
    _, other = made("bert", "text")
    with pytest.raises(InputError, match="do not cut texts into the same tokens"):
        verify(plain_side, open_side(other.folder), TEXTS)


def test_the_commands(made, tmp_path, text, run):
    folder, plain = made()
    code, out, err = run("verify", folder, plain.folder, "--text", text, "--json", tmp_path / "v.json")
    assert (code, err) == (0, "")
    assert "mixed padding" in out
    assert json.loads((tmp_path / "v.json").read_text())["agreement"] == 1.0
    assert run("quantize", plain.folder, "-o", tmp_path / "small", "--scheme", "int8")[0] == 0
    code, out, err = run("verify", folder, tmp_path / "small", "--tolerance", "1e-6")
    assert code == 1
    assert "1e-06 is allowed (--tolerance)" in err
    code, out, err = run("verify", folder, tmp_path / "small", "--min-agreement", "1.1")
    assert (code, "are allowed (--min-agreement)" in err) == (1, True)
    code, out, err = run("inspect", tmp_path / "small")
    assert (code, err) == (0, "")
    assert all(word in out for word in ("embeddings", "attention", "FFN", "head", "int8", "MatMulInteger", "quantize"))
    code, out, err = run("inspect", tmp_path / "small" / "model.onnx", "--json")
    assert json.loads(out)["operators"]["MatMulInteger"] > 0
    assert run("tune", plain.folder, "-o", tmp_path / "tuned", "--length", "8", "--scheme", "int8")[0] == 0
    data = task_files(tmp_path / "data", "topic")
    code, out, err = run(
        "quantize", plain.folder, "-o", tmp_path / "best", "--ladder", "--text", text, "--max-drop", "100"
    )
    assert (code, err) == (0, "")
    assert sum(line.strip().startswith("* ") for line in out.splitlines()) == 2  # the chosen rung, and the caption
    code, out, err = run("quantize", plain.folder, "-o", tmp_path / "x", "--validation", data.validation[0])
    assert (code, "belongs to --ladder" in err) == (2, True)
    (tmp_path / "empty.txt").write_text("\n\n")
    code, out, err = run(
        "quantize", plain.folder, "-o", tmp_path / "x", "--scheme", "static-int8", "--text", tmp_path / "empty.txt"
    )
    assert (code, err.count("\n")) == (2, 1)
    code, out, err = run("inspect", tmp_path / "nothing")
    assert (code, "does not exist" in err) == (2, True)
    code, out, err = run("verify", plain.folder, tmp_path / "nothing")
    assert (code, "is not a folder" in err) == (2, True)
    assert not (tmp_path / "x").exists()


def test_a_ledger_adds_up_to_the_file(made, tmp_path):
    _, plain = made("bert", "token")
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


def test_what_only_a_command_line_can_get_wrong(made, tmp_path, text, run):
    _, plain = made()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("")
    code, _, err = run("quantize", plain.folder, "-o", tmp_path / "full", "--ladder", "--text", text)
    assert (code, "exists and is not empty" in err) == (2, True)
    code, _, err = run("quantize", plain.folder, "-o", tmp_path / "x", "--prefer", "fast")
    assert (code, "--prefer belongs to --ladder" in err) == (2, True)
    code, _, err = run("quantize", plain.folder, "-o", tmp_path / "x", "--ladder", "--scheme", "int8", "--text", text)
    assert (code, "--scheme has no use with --ladder" in err) == (2, True)
    code, _, err = run("tune", plain.folder, "-o", tmp_path / "x", "--scheme", "static-int8")
    assert (code, err.count("\n"), "is fitted on text" in err) == (2, 1, True)
    small = quantize(plain, tmp_path / "small", scheme="int8")
    code, _, err = run("tune", small.folder, "-o", tmp_path / "x")
    assert (code, "is already int8" in err) == (2, True)
    for name, content in (
        ("empty.onnx", b""),
        ("config.json", b"{}"),
        ("model[1].onnx", plain.model_path.read_bytes()),
    ):
        (tmp_path / name).write_bytes(content)
        code, _, err = run("inspect", tmp_path / name)
        assert (code, err.count("\n")) == ((2, 1) if name != "model[1].onnx" else (0, 0)), name
    assert not (tmp_path / "x").exists()


def test_a_model_whose_weights_lie_beside_it(made, tmp_path, monkeypatch):
    """As above 2 GB: sizes count every file, and no file of another graph is left behind."""
    from edgecompress.export import graph
    from edgecompress.export.graph import read, write

    _, plain = made()
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


def test_a_model_that_gives_nan_is_not_verified(made):
    folder, plain = made()
    good = open_side(plain.folder)
    broken = replace(open_side(folder), run=lambda ids, mask: good.run(ids, mask) * np.nan)
    for pair, who in (((broken, good), "first"), ((good, broken), "second")):
        with pytest.raises(CheckError, match=f"the {who} model gives a value that is not finite"):
            verify(*pair, TEXTS)


def test_what_another_exporter_wrote_beside_the_graph_is_not_handed_on(made, tmp_path):
    folder = shutil.copytree(made()[1].folder, tmp_path / "noted")
    model = onnx.load(folder / "model.onnx")
    for node in model.graph.node:
        node.doc_string = "File /home/somebody/model.py, line 1"
        node.metadata_props.add(key="stack", value="/home/somebody/model.py")
    onnx.save(model, folder / "model.onnx")
    small = quantize(
        seal(replace(made()[1], folder=folder)), tmp_path / "small", scheme="int8-tables4", min_agreement=0
    )
    assert b"/home/somebody" not in small.model_path.read_bytes()
