"""Our artifacts in optimum's classes and in pipelines, our command in its command line. Skipped without optimum.

`make test-optimum` runs all tests in an environment that has it (and transformers 4.57, which it needs).
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_models import SENTENCES, bundle

from edgecompress.encoder.bundle import save
from edgecompress.export.onnx import Format, export
from edgecompress.export.quantize import quantize
from edgecompress.records import Step
from edgecompress.runtime.predictor import load
from edgecompress.runtime.session import open_run

ort = pytest.importorskip("optimum.onnxruntime", reason="needs optimum: make test-optimum")
CASES = [("xlm-roberta", "text", "fp32"), ("xlm-roberta", "token", "fp32"), ("bert", "text", "int8-tables4"),
         ("bert", "token", "int8"), ("distilbert", "text", "int4")]  # fmt: skip
CLASSES = {"text": "ORTModelForSequenceClassification", "token": "ORTModelForTokenClassification"}


def made(folder, family, kind, scheme="fp32", form=Format()):
    torch.manual_seed(0)
    task = {"text": "topic", "token": "pos"}[kind]
    one = replace(bundle(family, kind, layers=1), history=(Step("finetune", {"task": {"kind": task}}),))
    plain = export(one, folder / "fp32", form=form)
    return plain if scheme == "fp32" else quantize(plain, folder / scheme, scheme=scheme)


@pytest.mark.parametrize(("family", "kind", "scheme"), CASES)
def test_the_same_logits_in_optimum_and_in_a_pipeline(tmp_path, family, kind, scheme):
    import transformers

    artifact = made(tmp_path, family, kind, scheme)
    theirs = getattr(ort, CLASSES[kind]).from_pretrained(artifact.folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(artifact.folder)
    mine = open_run(artifact.model_path, threads=1)
    for text in SENTENCES[:4]:
        given = tokenizer(text, return_tensors="np")
        wanted = mine(given["input_ids"], given["attention_mask"])
        found = theirs(**tokenizer(text, return_tensors="pt")).logits.numpy()
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)
    name = "text-classification" if kind == "text" else "token-classification"
    pipe, predictor = transformers.pipeline(name, model=theirs, tokenizer=tokenizer), load(artifact.folder, threads=1)
    if kind == "text":
        assert [pipe(text)[0]["label"] for text in SENTENCES] == [predictor(text).label for text in SENTENCES]
        return
    for sentence in SENTENCES[:4]:
        text = " ".join(re.findall(r"\w+", sentence))  # words with spaces around them are cut alike on both sides
        found = pipe(text, ignore_labels=[])
        starts = Counter(one["start"] for one in found)  # a lone "▁" carries the place of the piece after it
        first = {one["start"]: one["entity"] for one in found if starts[one["start"]] == 1}
        tags = {word.start: word.tag for word in predictor(text).words if word.start in first}
        assert tags
        assert tags.items() <= first.items()


@pytest.mark.parametrize(("family", "kind"), [("bert", "text"), ("xlm-roberta", "token")])
def test_the_exporter_of_optimum(tmp_path, family, kind):
    artifact = made(tmp_path / "optimum", family, kind, form=Format(backend="optimum", opset=18))
    ours = made(tmp_path / "torch", family, kind)
    step = artifact.history[-1]
    assert step.options["backend"] == "optimum"
    assert step.details["difference"] < 1e-4
    ids = np.array([[5, 6, 7, 8]])
    logits = [open_run(one.model_path)(ids, np.ones_like(ids)) for one in (artifact, ours)]
    np.testing.assert_allclose(*logits, rtol=1e-4, atol=1e-4)
    assert quantize(artifact, tmp_path / "small", scheme="int8-tables4").history[-1].details["error"] < 0.5


def test_a_subcommand_of_optimum_cli(tmp_path):
    save(bundle("bert", "text", layers=1), tmp_path / "model")
    command = [str(Path(sys.executable).with_name("optimum-cli")), "edgecompress"]

    def call(*words):
        return subprocess.run([*command, *map(str, words)], capture_output=True, text=True, check=False)

    assert call("--version").stdout.startswith("edgecompress, version")
    done = call("export", tmp_path / "model", "-o", tmp_path / "out", "--task", "topic")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "model.onnx").is_file()
    wrong = call("inspect", tmp_path / "nothing")
    assert (wrong.returncode, "does not exist" in wrong.stderr) == (2, True)
