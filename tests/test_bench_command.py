"""`edgecompress bench`, from the command line to the file, with all three kinds of subjects."""

import importlib
import json
from dataclasses import replace

import numpy as np
import onnxruntime
import pytest
import torch
from tiny_artifact import write_artifact
from tiny_models import bundle, task_files

from edgecompress.bench import harness, results
from edgecompress.bench.opening import How, ids_of, open_target
from edgecompress.bench.subjects import Target
from edgecompress.encoder.bundle import save
from edgecompress.errors import InputError, SourceError
from edgecompress.export.onnx import export
from edgecompress.records import Step
from edgecompress.tasks.examples import read_examples

QUICK = ("--batch", 1, "--length", "4,real", "--seconds", 0, "--rounds", 1, "--iterations", 2)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A fine-tuned model folder, its artifact, its ONNX file as somebody else's, and a test split."""
    home = tmp_path_factory.mktemp("subjects")
    torch.manual_seed(0)
    one = replace(bundle("xlm-roberta", "text", layers=1), history=(Step("finetune", {"task": {"kind": "topic"}}),))
    one.model.config.id2label = {0: "sk", 1: "sw", 2: "other"}
    save(one, home / "model")
    artifact = export(one, home / "artifact")
    (home / "peer").mkdir()
    for name in ("model.onnx", "tokenizer.json", "config.json"):
        (home / "peer" / name).write_bytes((artifact.folder / name).read_bytes())
    task_files(home, "topic", 8)
    return home


def test_three_kinds_of_subjects_stand_beside_each_other(run, made, tmp_path):
    test = made / "topic-test.jsonl"
    code, out, err = run(
        "bench", f"art={made / 'artifact'}", f"peer={made / 'peer' / 'model.onnx'}",
        "--teacher", f"torch={made / 'model'}", "--test", f"topic={test}", *QUICK, "-o", tmp_path / "r.json",
    )  # fmt: skip
    assert (code, err) == (0, "")
    found = results.read(tmp_path / "r.json")
    assert [(s.name, s.role, s.models["topic"].kind) for s in found.subjects] == [
        ("torch", "teacher", "torch"), ("art", "student", "artifact"), ("peer", "student", "onnx"),
    ]  # fmt: skip
    assert not found.failures
    scores = {m.subject: m.value for m in found.measurements if m.metric == "macro_f1"}
    assert len(scores) == 3
    assert len(set(scores.values())) == 1  # one model, three ways to run it
    parameters = {m.subject: m.value for m in found.measurements if m.metric == "parameters"}
    assert parameters["torch"] == parameters["art"]
    assert "Median latency in ms, 1 thread" in out
    assert f"next: edgecompress report {tmp_path / 'r.json'}" in out
    assert str(made) not in (tmp_path / "r.json").read_text()
    assert run("report", tmp_path / "r.json", "-o", tmp_path / "r.html")[0] == 0
    assert "<svg" in (tmp_path / "r.html").read_text()
    code, out, _ = run("compare", tmp_path / "r.json", tmp_path / "r.json", "--max-regression", 1)
    assert code == 0


def test_a_model_folder_gives_the_logits_of_its_artifact(made):
    kinds = {"model": "torch", "artifact": "artifact"}
    opened = [open_target(Target(made / name, kind, "topic"), How()) for name, kind in kinds.items()]
    feed = ids_of(opened[0], (2, 9))
    mine, theirs = (one.session.run(["logits"], feed)[0] for one in opened)
    np.testing.assert_allclose(mine, theirs, atol=1e-4)
    assert (opened[0].artifact.labels, opened[0].artifact.max_length) == (
        opened[1].artifact.labels, opened[1].artifact.max_length,
    )  # fmt: skip
    texts = [" ".join(one.words) for one in read_examples([made / "topic-test.jsonl"], opened[0].artifact.task)]
    assert opened[0].predictor(2).labels(texts) == opened[1].predictor(2).labels(texts)


def test_a_model_without_a_head_is_refused(tmp_path):
    save(bundle("bert"), tmp_path / "model")
    with pytest.raises(SourceError, match="give a fine-tuned model, which has labels"):
        open_target(Target(tmp_path / "model", "torch", "topic"), How())


def test_a_file_without_labels_is_timed_but_not_scored(made, tmp_path):
    (tmp_path / "model.onnx").write_bytes((made / "peer" / "model.onnx").read_bytes())
    opened = open_target(Target(tmp_path / "model.onnx", "onnx", ""), How())
    assert ids_of(opened, (1, 4))["input_ids"].max() < 32
    with pytest.raises(InputError, match=r"needs the tokenizer\.json and the config\.json"):
        opened.predictor(1)


def test_sizes_alone_and_a_preset(run, made, tmp_path):
    test = made / "topic-test.jsonl"
    code, out, _ = run("bench", made / "artifact", "--test", test, "--preset", "offline", "--seconds", 0, "--rounds", 1,
                       "--iterations", 1, "--json", tmp_path / "r.json")  # fmt: skip
    assert code == 0
    assert "Throughput in texts/s" in out
    found = json.loads((tmp_path / "r.json").read_text())
    timed = [m["settings"] for m in found["measurements"] if m["metric"] == "throughput"]
    assert [(one["batch"], one["length"]) for one in timed] == [(32, "real")]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--batch", "0"], "--batch '0': give whole numbers from 1"),
        (["--length", "32,reel"], "--length 'reel': give whole numbers from 1, separated by commas, or real"),
        (["--tasks", "mood"], "--tasks 'mood': choose from topic, sentiment, ner, pos"),
        (["--test", "mood=x.jsonl"], "--test mood=x.jsonl: for which task is not known"),
        (["--test", "topic=absent.jsonl"], "absent.jsonl does not exist"),
        (["--length", "real"], "give --test topic=FILE"),
        (["--teacher", "nothing-here"], "nothing-here is neither an artifact"),
        (["--preset", "edge", "--batch", "8"], "--preset edge sets --batch itself: give one or the other"),
        (["--seconds", "nan"], "'--seconds': nan is not a finite number"),
        (["--time-limit", "inf"], "'--time-limit': inf is not a finite number"),
    ],
)
def test_what_cannot_be_measured_is_said_in_one_line(run, made, tmp_path, words, says):
    code, _, err = run("bench", made / "artifact", *words, "-o", tmp_path / "r.json")
    assert code == 2
    assert says in err
    assert err.count("\n") == 1
    assert not (tmp_path / "r.json").exists()


def test_a_place_that_cannot_be_written_is_told_before_the_work(run, made, tmp_path):
    code, _, err = run("bench", made / "artifact", "-o", tmp_path)
    assert code == 2
    assert "is a folder" in err


def test_without_a_gpu_it_skips_with_one_plain_line(run, made, monkeypatch):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    code, out, err = run("bench", made / "artifact", "--device", "cuda")
    assert (code, err) == (0, "")
    assert out == "skipped: no CUDA device here that torch or onnxruntime can use; nothing was measured\n"
    with pytest.raises(InputError, match="torch finds no CUDA device"):
        open_target(Target(made / "model", "torch", "topic"), How(device="cuda"))
    with pytest.raises(InputError, match="no CUDA provider"):
        open_target(Target(made / "artifact", "artifact", "topic"), How(device="cuda"))


def test_a_subject_that_fails_everywhere_is_an_error(run, tmp_path):
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "model.onnx").write_bytes(b"not ONNX at all")
    code, _, err = run("bench", tmp_path / "bad" / "model.onnx", *QUICK[:2], "--length", 4)
    assert code == 2
    assert "model.onnx" in err


def test_figures_are_written_even_where_nothing_could_be_timed(run, made, tmp_path):
    words = ("bench", f"[/x]={made / 'artifact'}", "--batch", 1, "--length", 99999, "-o", tmp_path / "r.json")
    code, out, err = run(*words)
    assert code == 2
    assert "nothing could be measured: [/x] at 1×99999: its longest input is shorter" in err
    assert "left out: [/x] at 1×99999" in out
    assert results.read(tmp_path / "r.json").settings["left_out"]


def test_a_stopped_benchmark_says_that_it_keeps_nothing(run, made, tmp_path, monkeypatch):
    def stopped(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(harness, "measure", stopped)
    code, _, err = run("bench", made / "artifact", "-o", tmp_path / "r.json")
    assert (code, err) == (130, "edgecompress: stopped; a benchmark keeps nothing of what was not finished\n")


def test_the_command_line_runs_as_a_module():
    assert importlib.import_module("edgecompress.__main__").main


def test_an_artifact_may_be_called_by_a_path_with_an_equals_sign(run, tmp_path):
    folder = write_artifact(tmp_path / "a=b").folder
    code, out, err = run("bench", folder, *QUICK[:2], "--length", 4, *QUICK[4:])
    assert (code, err) == (0, "")
    assert "a=b" in out
