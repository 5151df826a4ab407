"""The command line: one line an error, exit codes, and nothing half-written."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from tiny_artifact import table, write_artifact
from tiny_models import RECIPE, model, names, task_files

from edgecompress import cli
from edgecompress.artifact import open_artifact
from edgecompress.commands.show import sizes
from edgecompress.encoder import sources
from edgecompress.training import trainer


def test_version(run):
    code, out, _ = run("--version")
    assert code == 0
    assert out.startswith("edgecompress, version 0")


def test_a_stage_writes_a_model_folder(run, source, tmp_path):
    words = (
        "trim",
        source / "model",
        "-o",
        tmp_path / "out",
        "--corpus",
        f"slk={source / 'slk.txt'}",
        "--min-count",
        2,
    )
    code, out, err = run(*words)
    assert (code, err) == (0, "")
    assert "parameters (" in out
    made = sources.load(str(tmp_path / "out"))
    assert made.history[-1].options["min_count"] == 2
    assert names(tmp_path) == ["out"]
    code, _, err = run(*words)
    assert (code, err.count("\n")) == (2, 1)
    assert "exists and is not empty: choose another -o" in err


def test_training_options_reach_the_stage(run, source, tmp_path):
    more = (
        "--layers",
        2,
        "--steps",
        2,
        "--batch-size",
        4,
        "--max-length",
        16,
        "--relation-heads",
        4,
        "--precision",
        "fp32",
    )
    code, _, err = run("distill", source / "model", "-o", tmp_path / "out", "--corpus", source / "slk.txt", *more)
    assert (code, err) == (0, "")
    step = sources.load(str(tmp_path / "out")).history[-1]
    assert step.options["training"]["steps"] == 2
    assert step.options["objective"]["relation_heads"] == 4
    assert names(tmp_path) == ["out"]


@pytest.mark.parametrize(("word", "said"), [("trimm", "; did you mean 'trim'?"), ("xyz", "; choose from demo, run, ")])
def test_an_unknown_command_shows_a_near_miss(run, word, said):
    code, out, err = run(word)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert f"No such command {word!r}" in err
    assert said in err


def test_from_model_to_predictions(run, source, tmp_path, monkeypatch):
    splits = ("--train", source / "topic-train.jsonl", "--validation", source / "topic-validation.jsonl")
    tuned, fp32, int8 = (tmp_path / name for name in ("tuned", "fp32", "int8"))
    assert run("finetune", source / "model", "-o", tuned, "--task", "topic", *splits, "--epochs", 1)[0] == 0
    code, out, err = run("export", tuned, "-o", fp32, "--text", source / "slk.txt")
    assert (code, err) == (0, "")
    assert "differs from torch by" in out
    code, out, err = run("quantize", fp32, "-o", int8, "--text", source / "slk.txt", "--min-agreement", 0)
    assert (code, err) == (0, "")
    assert "of decisions unchanged" in out
    code, out, err = run("predict", int8, "Dnes ráno pršalo.", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["label"] in {"sk", "sw"}
    code, out, err = run("quantize", int8, "-o", tmp_path / "again")
    assert (code, err.count("\n")) == (2, 1)
    no = ("quantize", fp32, "-o", tmp_path / "no", "--text", source / "slk.txt")
    for odd in ("nan", "1.01", "-0.1"):  # a gate that lets everything pass, and one that nothing passes
        code, out, err = run(*no, "--min-agreement", odd)
        assert (code, err.count("\n")) == (2, 1), err
    monkeypatch.setattr("edgecompress.export.quantize.agreement", lambda *_: 0.89)
    code, out, err = run(*no)
    assert (code, err.count("\n")) == (1, 1)
    assert "changes 11.0 % of the decisions of fp32, 10.0 % are allowed" in err
    assert names(tmp_path) == ["fp32", "int8", "tuned"]


def test_long_texts_are_read_in_windows(run, source):
    text = "good " * 50
    artifact = open_artifact(source / "artifact")
    code, out, err = run("predict", artifact.folder, text, "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["windows"] == 5  # 14 words each, 11 apart
    assert artifact.max_length == 16
    _, out, _ = run("predict", artifact.folder, text)
    assert "read in 5 windows" in " ".join(out.split())


def test_what_users_write_is_never_markup(run, source):
    code, out, err = run("predict", source / "artifact", "[/INST] good", "bad [eur] :smile:")
    assert (code, err) == (0, "")
    assert "[/INST] good" in out
    assert "bad [eur] :smile:" in out


@pytest.mark.parametrize(
    ("words", "goes_on"),
    [
        (["run", "r.toml", "-o", "out"], True),
        (["distill", "model", "-o", "out"], True),
        (["predict", "art", "--input", "a.txt", "--output", "b.jsonl"], True),
        (["predict", "art", "a text"], False),
        (["quantize", "art", "-o", "run", "--ladder"], False),
    ],
)
def test_only_what_goes_on_says_so_when_it_is_stopped(run, monkeypatch, words, goes_on):
    def stopped(**_):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "group", stopped)
    code, _, err = run(*words)
    assert (code, "the same command goes on" in err) == (130, goes_on)


def test_texts_come_from_standard_input_too(run, source):
    import io

    def given(text, errors="strict"):
        return io.TextIOWrapper(io.BytesIO(text), "utf-8", errors)

    code, out, _ = run("predict", source / "artifact", "--json", stdin=given(b"good\r\nbad\n"))
    assert code == 0
    assert [json.loads(line)["label"] for line in out.splitlines()] == ["positive", "negative"]
    code, out, _ = run("predict", source / "artifact", "--json", stdin=given("\ufeffgood\n\ufeffbad\n".encode()))
    assert [json.loads(line)["text"] for line in out.splitlines()] == ["good", "\ufeffbad"]  # a mark is the first only
    for errors in ("strict", "surrogateescape"):  # as Python reads it in the C locale
        code, out, err = run("predict", source / "artifact", stdin=given(b"\xe8\n", errors))
        assert (code, out, err.count("\n")) == (2, "", 1)


def test_a_dry_run_prints_the_plan_and_writes_nothing(run, source, tmp_path):
    (tmp_path / "r.toml").write_text(RECIPE.replace("SOURCE", str(source)))
    code, out, err = run("run", tmp_path / "r.toml", "--dry-run")
    assert (code, err) == (0, "")
    assert f"{model('bert').num_parameters():,}" in out
    code, out, err = run("run", tmp_path / "r.toml", "-o", tmp_path / "out")
    assert (code, err) == (0, "")
    assert "1 stages in" in out
    assert names(tmp_path / "out") == [".lock", ".work", "stages"] or names(tmp_path / "out") == [".lock", "stages"]


def test_a_run_ends_with_scores_and_artifacts(run, source, tmp_path):
    """And says how to have it measured, where nothing is."""
    tune = '[[stages]]\nstage = "finetune"\nname = "student"\ntasks = ["topic"]\n'
    tune += 'training = {epochs = 2, max_length = 32, precision = "fp32"}\n[export]\nstages = ["student"]\n'
    splits = "".join(f'{split} = ["{source}/topic-{split}.jsonl"]\n' for split in ("train", "validation"))
    text = RECIPE.replace("SOURCE", str(source)) + f"[tasks.topic]\n{splits}" + tune
    (tmp_path / "r.toml").write_text(text)
    code, out, err = run("run", tmp_path / "r.toml", "-o", tmp_path / "out")
    assert (code, err) == (0, "")
    best = json.loads((tmp_path / "out/stages/student-topic/edgecompress.json").read_text())["history"][-1]["details"]
    assert re.search(rf"student-topic +validation F1 {best['best']:.1f} \(epoch [12] of 2\)", out)
    assert re.search(r"artifacts/student-topic-fp32 +\d+\.\d MB", out)
    assert "not measured: name the finetune stages of teacher and students in [bench]" in out


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [(200, 150, "25.0 % fewer"), (200, 250, "25.0 % more"), (200, 200, "as many")],
)
def test_sizes_are_compared(before, after, said):
    assert sizes(before, after) == f"{before} → {after} parameters ({said})"


def test_a_text_without_names_says_so(run, tmp_path):
    nothing = np.zeros_like(table("ner"))
    nothing[:, 0] = 9.0
    write_artifact(tmp_path / "ner", "ner", rows=nothing)
    code, out, _ = run("predict", tmp_path / "ner", "good film")
    assert code == 0
    assert "no names found" in out


def test_a_stopped_stage_goes_on_only_with_the_same_options(run, source, tmp_path, monkeypatch):
    monkeypatch.setenv("EDGECOMPRESS_CHECKPOINT_SECONDS", "0")
    options = ["--steps", "6", "--batch-size", "4", "--max-length", "16", "--precision", "fp32"]

    def adapt(name, rate, stop=None):
        real = trainer.report

        def report(task, done, *more):
            if done == stop:
                raise KeyboardInterrupt
            real(task, done, *more)

        with monkeypatch.context() as patched:
            patched.setattr(trainer, "report", report)
            words = ["adapt", source / "model", "-o", tmp_path / name, "--corpus", source / "slk.txt"]
            code = run(*words, *options, "--learning-rate", rate)[0]
        return code or (tmp_path / name / "model.safetensors").read_bytes()

    assert adapt("stopped", 1e-4, stop=5) == 130
    assert adapt("other", 1e-2, stop=5) == 130
    fresh = adapt("fresh", 1e-4)
    assert adapt("stopped", 1e-4) == fresh  # goes on
    assert adapt("other", 1e-4) == fresh  # does not go on from another learning rate's checkpoint
    assert not list(tmp_path.glob(".*.work"))


def test_a_task_student_is_taught_on_the_command_line(run, source, tmp_path):
    splits = [f"--{split}={source}/topic-{split}.jsonl" for split in ("train", "validation", "test")]
    common = ("--task", "topic", *splits, "--epochs", 1, "--max-length", 32)
    assert run("finetune", source / "model", "-o", tmp_path / "teacher", *common)[0] == 0
    taught = ("--teacher", tmp_path / "teacher", "--copies", 1, "--corpus", source / "slk.txt")
    assert run("finetune", source / "model", "-o", tmp_path / "student", *common, *taught)[0] == 0
    step = json.loads((tmp_path / "student" / "edgecompress.json").read_text())["history"][-1]
    assert (step["options"]["teacher"], step["options"]["soft"]["copies"]) == ("teacher", 1)
    assert step["options"]["task"]["test"] == ["topic-test.jsonl"]
    held_out = "".join((source / f"topic-{split}.jsonl").read_text() for split in ("validation", "test"))
    lines = {line for line in (source / "slk.txt").read_text().splitlines() if line not in held_out}
    assert step["details"]["examples"] == 12 + 12 + len(lines) > 24  # examples, copies, and lines that are not held out
    code, _, err = run("finetune", source / "model", "-o", tmp_path / "x", *common, "--corpus", source / "slk.txt")
    assert (code, "give a teacher, or no corpora" in err) == (2, True)


def test_several_tasks_on_the_command_line(run, source, tmp_path):
    task_files(tmp_path, "pos", 12)
    places = {"topic": source, "pos": tmp_path}
    given = [
        f"--{split}={task}={places[task]}/{task}-{split}.jsonl" for task in places for split in ("train", "validation")
    ]
    words = ("multitask", source / "model", *given, "--epochs", 1, "--max-length", 32, "--alpha-end", 1)
    code, _, err = run(*words, "-o", tmp_path / "shared")
    assert (code, err) == (0, "")
    step = json.loads((tmp_path / "shared" / "edgecompress.json").read_text())["history"][-1]
    assert ([task["kind"] for task in step["options"]["tasks"]], step["options"]["sampling"]["alpha_end"]) == (
        ["topic", "pos"],
        1.0,
    )
    frozen = ("--encoder", "frozen", "--head", "trained", "--epochs", 0)
    splits = [f"--{split}={tmp_path}/pos-{split}.jsonl" for split in ("train", "validation")]
    code, _, err = run("finetune", tmp_path / "shared", "-o", tmp_path / "tags", "--task", "pos", *splits, *frozen)
    assert (code, err) == (0, "")
    left = tmp_path / "left"
    for more, why in (
        (given[:2], "one encoder for several needs two or more, not 1"),
        ([*given, "--train=parse=x"], "--train parse=x: give TASK=FILE, TASK being one of topic"),
        ([*given, "--validation=ner=x"], "--validation ner=x: there is no --train ner=FILE"),
        (given[:-1], "no --validation pos=FILE: every task needs one"),
        ([*given, f"--teacher=pos={tmp_path / 'tags'}"], "no --teacher topic=FOLDER: give one for each task, or none"),
        ([*given, f"--teacher=ner={tmp_path / 'tags'}"], "give TASK=FOLDER, TASK being one of topic, pos"),
        ([*given, f"--corpus={source}/slk.txt"], "give a teacher, or no corpora"),
    ):
        code, _, err = run("multitask", source / "model", "-o", left, *more)
        assert (code, err.count("\n")) == (2, 1)
        assert why in err
    both = [f"--teacher={task}={tmp_path / 'tags'}" for task in places]
    code, _, err = run("multitask", source / "model", "-o", left, *given, *both)
    assert (code, "task topic: the teacher is a BertForTokenClassification" in err) == (2, True)
    assert not left.exists()
