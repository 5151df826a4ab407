"""Graphs equal torch, quantized graphs keep their decisions, and what fails its proof is not written."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from tiny_artifact import write_graph
from tiny_models import LABELS, SENTENCES, batch, bundle, outputs

from edgecompress.artifact import open_artifact
from edgecompress.encoder.bundle import Bundle
from edgecompress.errors import ArtifactError, CheckError, InputError, OutputError, SourceError
from edgecompress.export import onnx as exporter
from edgecompress.export.compare import batches, padded
from edgecompress.export.onnx import Format, export
from edgecompress.export.parity import check_parity, vocabulary_of
from edgecompress.export.quantize import quantize
from edgecompress.records import Step
from edgecompress.runtime.predictor import load
from edgecompress.stages.finetune import longest_input

TEXTS = SENTENCES[:6]
# RoBERTa and XLM-R share their code, so one head of each will do.
PAIRS = [("bert", "text"), ("bert", "token"), ("roberta", "text"), ("xlm-roberta", "token"), ("distilbert", "text")]
NEWER = [("distilbert", "token"), ("deberta-v2", "text"), ("modernbert", "token"), ("modernbert", "text")]
each = pytest.mark.parametrize(("family", "kind"), [*PAIRS, *NEWER])


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The fp32 artifact of each family and kind of task, exported once."""
    folder, cache = tmp_path_factory.mktemp("artifacts"), {}

    def get(family, kind):
        if (family, kind) not in cache:
            torch.manual_seed(0)
            one = bundle(family, kind, layers=1)
            one = replace(one, history=(Step("finetune", {"task": {"kind": {"text": "topic", "token": "pos"}[kind]}}),))
            cache[family, kind] = one, export(one, folder / f"{family}-{kind}", texts=TEXTS, key="k")
        return cache[family, kind]

    return get


@each
def test_an_artifact_computes_what_torch_computes(made, family, kind):
    one, artifact = made(family, kind)
    assert artifact.history[-1].details["difference"] < 1e-4
    assert artifact.history[-1].key == "k"
    assert (artifact.labels, artifact.max_length, artifact.scheme) == (
        tuple(f"LABEL_{i}" for i in range(3)),
        128,
        "fp32",
    )
    assert artifact.parameters == one.parameters
    session = onnxruntime.InferenceSession(str(artifact.model_path), providers=["CPUExecutionProvider"])
    inputs = batch(family, 5)
    (logits,) = session.run(["logits"], {name: tensor.numpy() for name, tensor in inputs.items()})
    given = torch.from_numpy(logits)
    given = given if kind == "text" else given[inputs["attention_mask"].bool()]
    torch.testing.assert_close(given, outputs(one.model, inputs), rtol=1e-4, atol=1e-4)
    predictor = load(artifact.folder, threads=1)
    said = predictor(list(TEXTS))
    alone = [predictor(text) for text in TEXTS]
    if kind == "text":
        with torch.no_grad():
            best = [one.model(**_ids(one, text)).logits.argmax().item() for text in TEXTS]
        assert (
            [label.label for label in said] == [artifact.labels[at] for at in best] == [label.label for label in alone]
        )
    else:
        assert [[word.tag for word in one.words] for one in said] == [[word.tag for word in one.words] for one in alone]


def _ids(one, text):
    """Without token types: transformers 4 gives them for every model."""
    encoded = one.tokenizer(text, return_tensors="pt")
    return {name: encoded[name] for name in ("input_ids", "attention_mask")}


def test_a_folder_that_other_tools_read(made):
    _, artifact = made("bert", "text")
    config = json.loads((artifact.folder / "config.json").read_text())
    assert config["id2label"] == {str(at): f"LABEL_{at}" for at in range(len(LABELS))}
    onnx.checker.check_model(str(artifact.model_path), full_check=True)
    graph = onnx.load(str(artifact.model_path)).graph
    assert [node.name for node in graph.input] == ["input_ids", "attention_mask"]
    assert [node.name for node in graph.output] == ["logits"]
    assert {"tokenizer.json", "tokenizer_config.json", "config.json"} <= set(artifact.checksums)


@each
def test_quantized_artifacts_keep_their_decisions_or_are_not_written(made, tmp_path, family, kind):
    _, artifact = made(family, kind)
    small = quantize(artifact, tmp_path / "int8", scheme="dynamic-int8", texts=SENTENCES, min_agreement=0.7, key="q")
    step = small.history[-1]
    assert (small.scheme, step.stage, step.key) == ("dynamic-int8", "quantize", "q")
    assert 0.7 <= step.details["agreement"] <= 1
    assert step.details["texts"] == len(SENTENCES)
    assert open_artifact(tmp_path / "int8") == small
    assert small.history[:-1] == artifact.history
    kinds = {node.op_type for node in onnx.load(str(small.model_path)).graph.node}
    assert kinds & {"MatMulInteger", "DynamicQuantizeMatMul", "DynamicQuantizeLinear"}
    with pytest.raises(ArtifactError, match="is already dynamic-int8: quantize the fp32 artifact"):
        quantize(small, tmp_path / "again", scheme="dynamic-int8")
    with pytest.raises(CheckError, match="nothing was written"):
        quantize(artifact, tmp_path / "strict", scheme="dynamic-int8", texts=SENTENCES, min_agreement=1.01)
    assert [path.name for path in tmp_path.iterdir()] == ["int8"]


def test_quantizing_without_texts_compares_logits_alone(made, tmp_path):
    _, artifact = made("bert", "text")
    small = quantize(artifact, tmp_path / "int8", scheme="dynamic-int8")
    assert set(small.history[-1].details) == {"difference", "error"}
    with pytest.raises(InputError, match="scheme 'int3': choose from optimized"):
        quantize(artifact, tmp_path / "int3", scheme="int3")
    with pytest.raises(OutputError, match="exists and is not empty"):
        quantize(artifact, tmp_path / "int8", scheme="dynamic-int8")


@pytest.mark.parametrize("fault", ["weights", "shape", "nan", "padding"])
def test_a_wrong_graph_is_not_written(made, tmp_path, monkeypatch, fault):
    one, _ = made("bert", "token")
    real = exporter.to_onnx

    def planted(model, path, _form):
        labels = 4 if fault == "shape" else 3
        if fault == "weights":
            broken = bundle("bert", "token", layers=1).model
            with torch.no_grad():
                broken.classifier.weight[0] += 0.05
            real(broken, path)
        elif fault == "padding":  # a graph that does not look at the mask
            real(_Maskless(model), path)
        else:
            rows = np.full((len(one.tokenizer), labels), np.nan if fault == "nan" else 0, np.float32)
            write_graph(path, rows, "token")

    monkeypatch.setattr(exporter, "to_onnx", planted)
    if fault == "padding":
        monkeypatch.setattr(exporter, "copy_of", lambda model: model)
    with pytest.raises(CheckError, match=r"differs from torch|is not finite|the second model gives logits of"):
        export(one, tmp_path / "a", texts=TEXTS)
    assert not list(tmp_path.iterdir())


class _Maskless(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids, attention_mask):
        return self.model(input_ids=input_ids, attention_mask=torch.ones_like(attention_mask))


def test_parity_measures_the_largest_difference(made, tmp_path):
    one, artifact = made("bert", "token")
    assert check_parity(one, artifact.model_path, TEXTS) < 1e-4
    with pytest.raises(CheckError, match="1e-12 is allowed"):
        check_parity(one, artifact.model_path, TEXTS, tolerance=1e-12)
    ids, mask = padded([[5, 6], [7]], one.tokenizer.pad_token_id)
    assert ids.tolist() == [[5, 6], [7, one.tokenizer.pad_token_id]]
    assert mask.tolist() == [[1, 1], [1, 0]]
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_exported_is_told(tmp_path):
    with pytest.raises(SourceError, match="which task the model is for is not known"):
        export(bundle("bert", "text"), tmp_path / "a")
    with pytest.raises(SourceError, match="but task 'ner' needs a …ForTokenClassification"):
        export(bundle("bert", "text"), tmp_path / "a", task="ner")
    for task in ("topic", ""):
        with pytest.raises(SourceError, match="BertForMaskedLM, which has no head for a task: run `edgecompress fine"):
            export(bundle("bert"), tmp_path / "a", task=task)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x").write_text("")
    with pytest.raises(OutputError, match="exists and is not empty"):
        export(bundle("bert", "text"), tmp_path / "a", task="topic")


def test_exporting_leaves_the_model_as_it_was(made):
    one, _ = made("xlm-roberta", "token")
    assert isinstance(one, Bundle)
    fresh = bundle("xlm-roberta", "token", layers=1).model
    assert all(torch.equal(a, b) for a, b in zip(fresh.parameters(), one.model.parameters(), strict=True))
    assert all(parameter.requires_grad for parameter in one.model.parameters())


@pytest.mark.parametrize(
    ("kind", "task", "labels", "problem", "says"),
    [
        ("text", "topic", ("a", "b"), "multi_label_classification", r"of multi label classification: only one label"),
        ("text", "topic", ("score",), "regression", "only one label of several can be exported"),
        ("text", "topic", ("score",), None, "only one label of several can be exported"),
        ("token", "ner", ("O", "B-PER", "I-PER", "E-PER", "S-PER"), None, "the label E-PER is of another scheme"),
        ("token", "ner", ("O", "B-PER", "I-PER", "L-PER", "U-PER"), None, "the label L-PER is of another scheme"),
    ],
)
def test_a_head_that_would_be_read_wrongly_is_refused(tmp_path, kind, task, labels, problem, says):
    one = bundle("bert", kind, layers=1)
    one.model.config.id2label = dict(enumerate(labels))
    one.model.config.problem_type = problem
    with pytest.raises(SourceError, match=says):
        export(one, tmp_path / "a", task=task)
    assert not list(tmp_path.iterdir())


def test_an_opset_that_the_runtime_lacks_is_told_as_that(tmp_path, monkeypatch):
    """The installed onnx knows newer operators than the installed onnxruntime runs."""

    def cannot(*_args, **_more):
        raise ArtifactError("model.onnx cannot be opened by onnxruntime")

    monkeypatch.setattr("edgecompress.export.onnx.check_parity", cannot)
    with pytest.raises(InputError, match="opset 21: the installed onnxruntime cannot run the graph; the default is 20"):
        export(bundle("bert", "text", layers=1), tmp_path / "a", task="topic", form=Format(opset=21))
    with pytest.raises(ArtifactError):
        export(bundle("bert", "text", layers=1), tmp_path / "a", task="topic")
    assert not list(tmp_path.iterdir())


def test_a_tokenizer_without_an_unknown_token_has_ids_to_try():
    one = bundle("roberta", "text", layers=1)
    one.tokenizer.unk_token = None
    words = vocabulary_of(one)
    assert words.other not in (None, words.pad)
    assert all((ids != words.pad).all() for where, ids, _ in batches(words) if where[0].isdigit())


def test_what_is_read_at_once_is_what_was_trained_on(tmp_path):
    """A student of short texts answers worse on long ones: they are read in windows, unless the user says otherwise."""
    one = bundle("bert", "token", layers=1)
    tuned = replace(one, history=(Step("finetune", {"task": {"kind": "pos"}, "training": {"max_length": 8}}),))
    assert load(export(tuned, tmp_path / "a").folder).artifact.max_length == 8
    assert load(export(tuned, tmp_path / "b", form=Format(max_length=12)).folder).artifact.max_length == 12
    assert export(one, tmp_path / "c", task="pos").max_length == longest_input(one)
    with pytest.raises(InputError, match=r"max_length 999: the model takes at most \d+ tokens, and .* on 8"):
        export(tuned, tmp_path / "d", form=Format(max_length=999))
