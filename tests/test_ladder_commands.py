"""quantize, tune, verify and inspect through the command line."""

from __future__ import annotations

import json

from tiny_models import SENTENCES, task_files

from edgecompress.export.quantize import quantize

TEXTS = tuple(SENTENCES)
QUICK = ("optimized", "int8", "int8-tables4", "fp16")


def test_the_commands(exported, tmp_path, lines_file, run):
    folder, plain = exported()
    code, out, err = run("verify", folder, plain.folder, "--text", lines_file, "--json", tmp_path / "v.json")
    assert (code, err) == (0, "")
    assert "mixed padding" in out
    assert json.loads((tmp_path / "v.json").read_text())["agreement"] == 1.0
    assert run("quantize", plain.folder, "-o", tmp_path / "small", "--scheme", "int8")[0] == 0
    code, out, err = run("verify", folder, tmp_path / "small", "--tolerance", "1e-6")
    assert code == 1
    assert "1e-06 is allowed (--tolerance)" in err
    for odd in ("1.1", "nan"):
        code, out, err = run("verify", folder, tmp_path / "small", "--min-agreement", odd)
        assert (code, "--min-agreement" in err) == (2, True)
    code, out, err = run("inspect", tmp_path / "small")
    assert (code, err) == (0, "")
    assert all(word in out for word in ("embeddings", "attention", "FFN", "head", "int8", "MatMulInteger", "quantize"))
    code, json_out, err = run("inspect", tmp_path / "small" / "model.onnx", "--json")
    out, shapes = " ".join(out.split()), json.loads(json_out)["inputs"]
    assert all("[" in shape and shape in out for shape in shapes)
    assert json.loads(json_out)["operators"]["MatMulInteger"] > 0
    assert run("tune", plain.folder, "-o", tmp_path / "tuned", "--length", "8", "--scheme", "int8")[0] == 0
    data = task_files(tmp_path / "data", "topic")
    code, out, err = run(
        "quantize", plain.folder, "-o", tmp_path / "best", "--ladder", "--text", lines_file, "--max-drop", "100"
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


def test_what_only_a_command_line_can_get_wrong(exported, tmp_path, lines_file, run):
    _, plain = exported()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("")
    code, _, err = run("quantize", plain.folder, "-o", tmp_path / "full", "--ladder", "--text", lines_file)
    assert (code, "exists and is not empty" in err) == (2, True)
    code, _, err = run("quantize", plain.folder, "-o", tmp_path / "x", "--prefer", "fast")
    assert (code, "--prefer belongs to --ladder" in err) == (2, True)
    code, _, err = run(
        "quantize", plain.folder, "-o", tmp_path / "x", "--ladder", "--scheme", "int8", "--text", lines_file
    )
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
