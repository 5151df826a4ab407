"""The same artifact as other hosts want it: transformers.js, ORT format, other opsets."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace

import onnx
import pytest
import torch
from test_transformers_js import PACKAGE
from tiny_models import SENTENCES, bundle

from edgecompress.artifact import open_artifact
from edgecompress.bench.describe import sizes
from edgecompress.bench.subjects import entries
from edgecompress.errors import ArtifactError, CheckError, InputError, MissingExtraError
from edgecompress.export import graph, layouts
from edgecompress.export.layouts import LAYOUTS, OPERATORS, convert
from edgecompress.export.onnx import Format, export
from edgecompress.export.quantize import quantize
from edgecompress.extras import require
from edgecompress.records import Step
from edgecompress.runtime.predictor import load

SCRIPT = """
const path = require("path");
const { createRequire } = require("module");
const [pkg, folder, task, dtype, text] = process.argv.slice(1);
const { pipeline, env } = createRequire(path.join(pkg, "package.json"))(pkg);
env.allowRemoteModels = false;
env.localModelPath = path.dirname(folder);
(async () => {
  const run = await pipeline(task, path.basename(folder), { dtype });
  const found = [];
  for (const line of JSON.parse(text)) found.push((await run(line))[0]);
  console.log(JSON.stringify(found));
})();
"""


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    torch.manual_seed(0)
    one = replace(bundle("xlm-roberta", "text", layers=1), history=(Step("finetune", {"task": {"kind": "topic"}}),))
    return export(one, tmp_path_factory.mktemp("made") / "fp32")


@pytest.mark.parametrize("layout", list(LAYOUTS))
@pytest.mark.parametrize("scheme", ["fp32", "int8-tables4"])
def test_the_same_answers_in_every_layout(plain, tmp_path, layout, scheme):
    artifact = plain if scheme == "fp32" else quantize(plain, tmp_path / "small", scheme=scheme)
    made = convert(artifact, tmp_path / "out", layout=layout)
    names = {"optimum": "model.onnx", "ort": "model.ort"}
    quantized = "" if scheme == "fp32" else "_quantized"
    assert made.model_file == names.get(layout, f"onnx/model{quantized}.onnx")
    assert (made.scheme, made.history[-1].options) == (scheme, {"layout": layout})
    assert [one.label for one in load(made.folder)(SENTENCES)] == [
        one.label for one in load(artifact.folder)(SENTENCES)
    ]
    assert (OPERATORS in made.checksums) == (layout == "ort")
    if layout == "ort":
        assert "MatMul" in (made.folder / OPERATORS).read_text()
        with pytest.raises(InputError, match="is in ORT format"):
            convert(made, tmp_path / "back", layout="optimum")
        with pytest.raises(ArtifactError, match=r"is in \.ort format|is already"):
            quantize(made, tmp_path / "back", scheme="int8")
    else:
        assert (convert(made, tmp_path / "back", layout="optimum")).model_path.read_bytes() == (
            artifact.model_path.read_bytes()
        )


@pytest.mark.parametrize("layout", list(LAYOUTS))
def test_a_graph_with_its_weights_beside_it_is_not_converted(plain, tmp_path, monkeypatch, layout):
    monkeypatch.setattr(graph, "ONE_FILE", 1000)
    large = quantize(plain, tmp_path / "large", scheme="optimized")
    assert (large.folder / "model.onnx.data").exists()
    with pytest.raises(InputError, match="keeps its weights in files of their own: quantize it first"):
        convert(large, tmp_path / "out", layout=layout)


def test_weights_behind_a_link_are_told(plain, tmp_path, monkeypatch):
    """As in the cache of a model hub: onnxruntime follows the link, onnx does not."""
    monkeypatch.setattr(graph, "ONE_FILE", 1000)
    large = quantize(plain, tmp_path / "large", scheme="optimized")
    (large.folder / "model.onnx.data").rename(tmp_path / "blob")
    (large.folder / "model.onnx.data").symlink_to(tmp_path / "blob")
    with pytest.raises(ArtifactError, match=r"keeps weights in model\.onnx\.data, a link: copy the folder"):
        graph.read(large.model_path)


def test_what_cannot_be_converted_is_told(plain, tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"layout 'tflite': choose from optimum, transformers\.js, ort"):
        convert(plain, tmp_path / "out", layout="tflite")
    monkeypatch.setattr(layouts, "TOLERANCE", -1.0)
    with pytest.raises(CheckError, match="nothing was written"):
        convert(plain, tmp_path / "out", layout="transformers.js")
    monkeypatch.setattr(layouts, "_CONVERTER", "no.such.module")
    with pytest.raises(CheckError, match="could not convert fp32 to ORT format"):
        convert(plain, tmp_path / "out", layout="ort")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("opset", [18, 21])
def test_other_opsets(tmp_path, opset):
    one = replace(bundle("bert", "token", layers=1), history=(Step("finetune", {"task": {"kind": "pos"}}),))
    made = export(one, tmp_path / "out", form=Format(opset=opset))
    assert {entry.domain: entry.version for entry in onnx.load(str(made.model_path)).opset_import}[""] == opset
    assert made.history[-1].options["opset"] == opset
    assert quantize(made, tmp_path / "small", scheme="int8-tables4").history[-1].details["error"] < 0.5


def test_an_opset_that_onnx_lacks_is_told_before_anything_is_written(tmp_path):
    one = replace(bundle("bert", "token", layers=1), history=(Step("finetune", {"task": {"kind": "pos"}}),))
    with pytest.raises(InputError, match="opset 99: the installed onnx knows 18 to"):
        export(one, tmp_path / "out", form=Format(opset=99))
    assert not list(tmp_path.iterdir())


def test_an_opset_that_the_runtime_lacks_is_one_line(plain, tmp_path, run):
    folder = tmp_path / "new"
    shutil.copytree(plain.folder, folder)
    model = onnx.load(str(folder / "model.onnx"))
    model.opset_import[0].version = 99
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    from edgecompress.artifact import seal

    seal(replace(open_artifact(plain.folder), folder=folder))
    code, _, err = run("predict", folder, "x")
    assert (code, err.count("\n")) == (2, 1)
    assert "opset" in err.lower()


def test_a_graph_in_ort_format_has_a_size_but_no_parts(plain, tmp_path, run):
    made = convert(plain, tmp_path / "out", layout="ort")
    (small,) = entries([(f"small={made.folder}", "student")], {"topic": "topic"})
    found = {row.metric: row.value for row in sizes(small)}
    folder_bytes = sum(path.stat().st_size for path in made.folder.iterdir())
    assert found == {"parameters": plain.parameters, "model_bytes": made.model_bytes, "folder_bytes": folder_bytes}
    code, _, err = run("inspect", made.folder)
    assert (code, err.count("\n")) == (2, 1)
    assert "is in ORT format" in err


def test_the_command(plain, tmp_path, run):
    code, out, err = run("convert", plain.folder, "-o", tmp_path / "js", "--to", "transformers.js")
    assert (code, err) == (0, "")
    assert "onnx/model.onnx" in out
    assert run("predict", tmp_path / "js", SENTENCES[0])[0] == 0


def test_an_extra_that_is_missing_below_a_package_that_is_there():
    with pytest.raises(MissingExtraError, match=r"pip install '\.\[optimum\]'"):
        require("json.nothing.below", extra="optimum")


@pytest.mark.parametrize(("scheme", "dtype"), [("fp32", "fp32"), ("int8-tables4", "q8")])
def test_the_same_labels_in_javascript(plain, tmp_path, scheme, dtype):
    node = shutil.which("node")
    if node is None or not (PACKAGE / "package.json").is_file():
        pytest.skip("needs node and the npm package @huggingface/transformers")
    artifact = plain if scheme == "fp32" else quantize(plain, tmp_path / "small", scheme=scheme)
    made = convert(artifact, tmp_path / "js", layout="transformers.js")
    words = [
        node,
        "-e",
        SCRIPT,
        str(PACKAGE),
        str(made.folder),
        "text-classification",
        dtype,
        json.dumps(list(SENTENCES)),
    ]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    found, mine = json.loads(done.stdout), load(made.folder, threads=1)
    for text, theirs in zip(SENTENCES, found, strict=True):
        assert theirs["label"] == mine(text).label
        assert theirs["score"] == pytest.approx(mine(text).probability, abs=2e-2)
