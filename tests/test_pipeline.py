"""What is done is not done again; what a stopped run left is swept or continued."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys

import pytest
from rich.console import Console
from tiny_models import SLOVAK, bundle, corpus, task_files
from tiny_recipes import small_home, small_recipe

from edgecompress import deliver, pipeline
from edgecompress.bench.results import read
from edgecompress.commands import run as commands
from edgecompress.encoder import sources
from edgecompress.encoder.bundle import save
from edgecompress.errors import CheckError, InputError, OutputError
from edgecompress.pipeline import run

STAGES = [
    {"stage": "trim", "corpora": ["slk"]},
    {
        "stage": "distill",
        "corpora": ["slk"],
        "teacher": "trim",
        "layers": 2,
        "objective": {"relation_heads": 4},
        "training": {"steps": 2, "batch_size": 4, "max_length": 16, "precision": "fp32"},
    },
    {"stage": "prune", "corpora": ["more"], "ffn": 30, "tokens": 256},
    {"stage": "finetune", "name": "student", "tasks": ["topic"], "training": {"epochs": 1, "precision": "fp32"}},
]
NAMES = ["trim", "distill", "prune", "student-topic"]


@pytest.fixture
def home(tmp_path):
    return small_home(tmp_path)


def recipe(home, stages=STAGES, **more):
    return small_recipe(home, stages, **more)


def changed(number, **options):
    return [{**stage, **(options if at == number else {})} for at, stage in enumerate(STAGES)]


def reused(results):
    return [name for name, result in results.items() if result.reused]


def weights(home):
    return {path.parent.name: path.read_bytes() for path in (home / "out/stages").glob("*/model.safetensors")}


def test_a_second_run_does_nothing_and_a_change_only_what_follows(home):
    first = run(recipe(home), home / "out")
    assert list(first) == NAMES
    assert not reused(first)
    before = weights(home)
    again = run(recipe(home), home / "out")
    assert reused(again) == NAMES
    assert [result.key for result in again.values()] == [result.key for result in first.values()]
    assert not list((home / "out/.work").glob("*"))
    for name, result in first.items():
        made = sources.load(str(result.folder))
        assert made.history[-1].key == result.key
        assert len(made.history) == NAMES.index(name) + 1
        assert str(home) not in (result.folder / "edgecompress.json").read_text()
    assert reused(run(recipe(home, changed(2, ffn=29)), home / "out")) == NAMES[:2]
    assert reused(run(recipe(home, changed(2, ffn=29)[:3]), home / "out")) == NAMES[:3]
    assert not reused(run(recipe(home, changed(0, min_count=2)), home / "out"))
    run(recipe(home), home / "out")
    assert weights(home) == before  # the same recipe gives the same bytes


def test_a_changed_file_reruns_what_reads_it(home):
    run(recipe(home), home / "out")
    corpus(home, "more", lines=SLOVAK[:-1], repeat=6)
    assert reused(run(recipe(home), home / "out")) == NAMES[:2]
    task_files(home, "topic", 11)
    assert reused(run(recipe(home), home / "out")) == NAMES[:3]
    corpus(home, lines=SLOVAK[:-1])
    assert not reused(run(recipe(home), home / "out"))


def test_a_changed_data_set_in_a_folder_reruns_what_reads_it(home):
    folder = home / "set"
    folder.mkdir()
    (folder / "train.jsonl").write_text("".join(f'{{"text": "{line}"}}\n' for line in SLOVAK), encoding="utf-8")
    corpora = {name: {"files": [f"{name}.txt"]} for name in ("slk", "more")}
    corpora["more"]["datasets"] = [f"hf:{folder}:text"]
    run(recipe(home, corpora=corpora), home / "out")
    assert reused(run(recipe(home, corpora=corpora), home / "out")) == NAMES
    with (folder / "train.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"text": "Celkom iný text."}\n')
    assert reused(run(recipe(home, corpora=corpora), home / "out")) == NAMES[:2]


def test_the_seconds_of_a_stopped_run_count_as_far_as_its_checkpoint(home):
    work = home / "out" / ".work" / "key"
    assert pipeline._seconds_before(work) == 0.0
    assert pipeline._seconds_before(work) == 0.0  # it stopped before a checkpoint: nothing of it is left
    (work / "checkpoint-10").mkdir()
    state = work / "checkpoint-10" / "trainer_state.json"
    state.write_text("{}")

    def written_after(seconds):
        began = json.loads((work / "began.json").read_text())["at"]
        os.utime(state, (began + seconds, began + seconds))

    written_after(70)
    assert pipeline._seconds_before(work) == pytest.approx(70, abs=0.1)
    written_after(5)
    assert pipeline._seconds_before(work) == pytest.approx(75, abs=0.1)
    written_after(-40)  # nothing was written since
    assert pipeline._seconds_before(work) == pytest.approx(75, abs=0.1)


def test_a_changed_teacher_reruns_everything(home):
    run(recipe(home, STAGES[:1]), home / "out")
    save(bundle("bert", seed=1), home / "teacher-model")
    assert not reused(run(recipe(home, STAGES[:1]), home / "out"))


def test_a_damaged_result_is_told_or_made_again(home):
    folder = run(recipe(home, STAGES[:1]), home / "out")["trim"].folder
    (folder / "edgecompress.json").unlink()
    assert not reused(run(recipe(home, STAGES[:1]), home / "out"))


def test_leftovers_of_a_killed_run_are_swept(home):
    out = home / "out"
    for left in ("stages/.trim.1234abcd.part", "stages/.trim.1234abcd.old", "artifacts/.x.1234abcd.part"):
        (out / left).mkdir(parents=True)
        (out / left / "model.safetensors").write_bytes(b"half")
    own = [out / name for name in ("proj/.venv.old", "stages/.mine.old", "proj/.x.1234abcd.part")]
    for folder in own:
        folder.mkdir(parents=True)
    run(recipe(home, STAGES[:1]), out)
    assert sorted([*out.rglob("*.part"), *out.rglob("*.old")]) == sorted(own)
    assert sorted(path.name for path in (out / "stages").iterdir()) == [".mine.old", "trim"]


def test_a_stage_that_fails_leaves_nothing(home, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pipeline, "save", full)
    with pytest.raises(OutputError, match="the disk is full: free some space"):
        run(recipe(home, STAGES[:1]), home / "out")
    assert not list((home / "out/stages").iterdir())
    monkeypatch.undo()
    assert list(run(recipe(home, STAGES[:1]), home / "out")) == ["trim"]


HOLD = """
import sys
from filelock import FileLock
lock = FileLock(sys.argv[1])
lock.acquire()
print("held", flush=True)
input()
"""


def test_two_runs_cannot_share_an_output(home):
    (home / "out").mkdir()
    command = [sys.executable, "-c", HOLD, str(home / "out" / ".lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(OutputError, match="is in use by another run"):
            run(recipe(home, STAGES[:1]), home / "out")
        other.communicate("\n")
    with pipeline.exclusive(home / "out"):  # one process may enter twice: a run, and the delivery around it
        assert list(run(recipe(home, STAGES[:1]), home / "out")) == ["trim"]


def test_an_output_below_a_file_is_told(home):
    with pytest.raises(OutputError, match="is a file, not a folder"):
        run(recipe(home, STAGES[:1]), home / "slk.txt" / "out")


def test_a_refused_quantization_takes_nothing_else_along(home, monkeypatch):
    def refusing(*_):
        raise CheckError("int8 changes 15.0 % of the decisions")

    monkeypatch.setattr(deliver, "_quantized", refusing)
    ends = {"export": {"stages": ["student"], "schemes": ["int8", "int4"]}, "bench": {"students": ["student"]}}
    whole = recipe(home, **ends)
    made, refused = deliver.artifacts(whole, run(whole, home / "out"), home / "out")
    assert list(made) == ["student fp32"]
    assert refused == ("int8 changes 15.0 % of the decisions",) * 2
    with pytest.raises(CheckError, match=r"int8 changes 15\.0 %"):
        commands._work(Console(quiet=True), whole, home / "out")
    assert [subject.name for subject in read(home / "out" / "bench.json").subjects] == ["student fp32"]


def test_no_artifact_of_an_earlier_model_stays_beside_a_new_one(home, monkeypatch):
    """A quantization that is refused now, or that the recipe names no longer, would be taken for the new model's."""
    whole = recipe(home, export={"stages": ["student"], "schemes": ["optimized"]})
    results = run(whole, home / "out")
    deliver.artifacts(whole, results, home / "out")
    (named,) = whole.schemes
    first = {path.name for path in (home / "out" / "artifacts").iterdir()}
    assert {name for name in first if name.endswith(named)}
    monkeypatch.setattr(deliver, "_EXPORT_CODE", ("export",))  # then every key is another one
    deliver.artifacts(dataclasses.replace(whole, schemes=()), results, home / "out")
    assert {path.name for path in (home / "out" / "artifacts").iterdir()} == {
        name for name in first if name.endswith("fp32")
    }


def test_artifacts_are_delivered_measured_and_reused(home, monkeypatch):
    ends = {"export": {"stages": ["student"], "schemes": []}, "bench": {"students": ["student"]}}
    whole = recipe(home, **ends)
    results = run(whole, home / "out")
    made, refused = deliver.artifacts(whole, results, home / "out")
    assert not refused
    assert list(made) == ["student fp32"]
    artifact = made["student fp32"]["topic"]
    stamp = artifact.model_path.stat().st_mtime_ns
    assert [step.stage for step in artifact.history] == ["trim", "distill", "prune", "finetune", "export"]
    assert deliver.artifacts(whole, results, home / "out") == (made, ())
    assert artifact.model_path.stat().st_mtime_ns == stamp
    artifact.model_path.write_bytes(b"damaged")
    again = deliver.artifacts(whole, results, home / "out")[0]["student fp32"]["topic"]
    assert again.model_path.stat().st_size > 1000
    found = deliver.bench(whole, made, deliver.tests_of(whole))
    assert [(s.name, s.role, list(s.models)) for s in found.subjects] == [("student fp32", "student", ["topic"])]
    lengths = [m.settings["length"] for m in found.measurements if m.metric == "throughput"]
    assert lengths == [length for length in (32, 128, "real") if length == "real" or length <= artifact.max_length]
    assert [m.task for m in found.measurements if m.metric == "macro_f1"] == ["topic"]
    assert not found.failures
    assert "as a page in" in commands._page(found, home)
    assert "<svg" in (home / "report.html").read_text()
    monkeypatch.setattr(commands, "is_there", lambda *_: False)
    assert "pip install '.[report]' in a clone of edgecompress" in commands._page(found, home)
    with pytest.raises(InputError, match="names nothing to measure"):
        deliver.bench(whole, {}, {})
