"""The benchmark in real processes: interleaved, scored, and going on when a subject does not."""

import json
import os
import time

import pytest
import torch
from safetensors.torch import save_file
from tiny_artifact import table, write_artifact, write_graph
from tiny_broken import endless_graph, nan_graph

from edgecompress.artifact import MANIFEST
from edgecompress.bench import harness, lane, worker
from edgecompress.bench.cells import REAL, Plan
from edgecompress.bench.describe import describe, sizes
from edgecompress.bench.lane import Lane, LostError
from edgecompress.bench.opening import How, Opened
from edgecompress.bench.subjects import Entry, Target, entries
from edgecompress.errors import InputError, SourceError
from edgecompress.runtime.session import core_numbers
from edgecompress.tasks.examples import Example

QUICK = Plan(batches=(1, 2), lengths=(4, REAL), seconds=0, rounds=2, iterations=4, time_limit=60)
TEXTS = [
    Example((text,), (label,)) for text, label in (("good", "positive"), ("bad", "negative"), ("film", "positive"))
]


def row(name, folder, role="student", task="sentiment"):
    return Entry(name, role, {task: Target(folder, "artifact", task)})


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    home = tmp_path_factory.mktemp("bench")
    good = write_artifact(home / "good").folder
    nan, endless = nan_graph(home / "nan.onnx"), endless_graph(home / "endless.onnx")
    rows = (
        row("teacher", good, "teacher"),
        Entry("nan", "student", {"sentiment": Target(nan, "onnx", "sentiment")}),
        Entry("endless", "student", {"sentiment": Target(endless, "onnx", "sentiment")}),
        row("student", good),
    )
    plan = Plan(batches=(1, 2), lengths=(4,), seconds=0, rounds=5, iterations=5, time_limit=6)
    return harness.measure(rows, {"sentiment": TEXTS}, plan, name="broken ones")


def test_what_fails_is_marked_and_the_rest_is_measured(measured):
    assert [s.name for s in measured.subjects] == ["teacher", "nan", "endless", "student"]
    told = {(f.subject, f.where): f.reason for f in measured.failures}
    assert "not numbers" in told["nan", "load"]
    assert "hung: no answer within 6 s" in told["endless", "load"]
    assert {s for s, _ in told} == {"nan", "endless"}
    for subject in ("teacher", "student"):
        own = {m.metric for m in measured.measurements if m.subject == subject}
        assert {"macro_f1", "latency_p50", "latency_p99", "throughput", "load", "first_prediction"} <= own


def test_figures_fit_together(measured):
    of = {(m.metric, m.settings.get("batch")): m for m in measured.measurements if m.subject == "student"}
    teacher = {(m.metric, m.settings.get("batch")): m for m in measured.measurements if m.subject == "teacher"}
    for batch in (1, 2):
        assert of["latency_p50", batch].value <= of["latency_p90", batch].value <= of["latency_p99", batch].value
        low, high = of["latency_p50", batch].interval
        assert 0 < low <= high
        assert of["latency_p50", batch].settings["iterations"] == 5
        expected = 1000 * batch / of["latency_mean", batch].value
        assert of["throughput", batch].value == pytest.approx(expected, rel=0.02)
        assert ("speedup", batch) not in teacher or teacher["speedup", batch].value == 1
    assert of["macro_f1", None].value == teacher["macro_f1", None].value == pytest.approx(200 / 3, abs=1e-3)
    assert of["macro_f1_difference", None].value == 0
    assert of["macro_f1_difference", None].interval == (0, 0)
    assert ("macro_f1_difference", None) not in teacher
    if ("memory_steady", None) in of:  # where the system tells it
        assert of["memory_idle", None].value < of["memory_steady", None].value <= of["memory_peak", None].value


def test_what_the_figures_depend_on_is_kept(measured):
    kept = measured.settings
    assert (kept["batches"], kept["lengths"], kept["threads"], kept["timed"]) == ([1, 2], [4], [1], "sentiment")
    assert kept["tests"]["sentiment"]["examples"] == 3
    assert kept["tests"]["sentiment"]["sha256"] != harness._digest(TEXTS[:2])


def test_rows_are_timed_with_a_task_that_all_have_and_never_beside_another(tmp_path):
    art = {task: write_artifact(tmp_path / task, task).folder for task in ("ner", "pos")}
    target = {task: Target(folder, "artifact", task) for task, folder in art.items()}
    plan = Plan(batches=(1,), lengths=(4,), seconds=0, rounds=1, iterations=1)
    both = Entry("both", "teacher", target)
    shared = harness.measure([both, Entry("late", "student", {"pos": target["pos"]})], {}, plan)
    assert {m.task for m in shared.measurements if m.metric == "latency_p50"} == {"pos"}
    assert [m.subject for m in shared.measurements if m.metric == "speedup"] == ["both", "late"]
    apart = harness.measure(
        [Entry("first", "teacher", {"ner": target["ner"]}), Entry("late", "student", {"pos": target["pos"]})], {}, plan
    )
    assert [m.subject for m in apart.measurements if m.metric == "speedup"] == ["first"]


def test_a_subject_that_dies_at_the_very_end_costs_nothing_else(tmp_path, monkeypatch):
    real = Lane.ask

    def ask(self, request, *arguments, limit):
        if request == "memory" and self is doomed[0]:
            self._process.kill()
        if request == "open":
            doomed.append(self)
        return real(self, request, *arguments, limit=limit)

    doomed: list[Lane] = []
    monkeypatch.setattr(Lane, "ask", ask)
    folder = write_artifact(tmp_path / "a").folder
    plan = Plan(batches=(1,), lengths=(4,), seconds=0, rounds=1, iterations=1)
    found = harness.measure([row("dies", folder), row("lives", folder)], {}, plan)
    assert [(f.subject, f.where, f.threads) for f in found.failures] == [("dies", "memory", 1)]
    assert "crashed (SIGKILL" in found.failures[0].reason
    assert {m.subject for m in found.measurements if m.metric == "latency_p50"} == {"dies", "lives"}


def test_real_texts_are_timed_in_parts_that_add_up(tmp_path):
    folder = write_artifact(tmp_path / "a", "ner").folder
    words = [Example(("Ján", "Novák"), ("B-PER", "I-PER")), Example(("v", "Košice", "."), ("O", "B-LOC", "O"))]
    plan = Plan(batches=(1,), lengths=(REAL,), seconds=0, rounds=1, iterations=3)
    found = harness.measure([row("one", folder, task="ner")], {"ner": words}, plan)
    mean = {m.settings["part"]: m.value for m in found.measurements if m.metric == "latency_mean"}
    assert mean["tokenize"] + mean["model"] + mean["postprocess"] == pytest.approx(mean["total"], rel=0.02)
    iterations = {m.settings["iterations"] for m in found.measurements if m.metric == "latency_p50"}
    assert iterations == {4}  # whole passes over both texts


def test_more_threads_than_cores_and_real_texts_without_a_split_are_refused(tmp_path):
    rows = [row("one", write_artifact(tmp_path / "a").folder)]
    with pytest.raises(InputError, match=r"--threads 4096: this process may use \d+ cores"):
        harness.measure(rows, {}, Plan(threads=(4096,), lengths=(4,)))
    with pytest.raises(InputError, match="give --test sentiment=FILE"):
        harness.measure(rows, {}, Plan(lengths=(REAL,)))


def test_a_shape_beyond_the_longest_input_is_left_out(tmp_path):
    rows = [row("one", write_artifact(tmp_path / "a", max_length=8).folder)]
    plan = Plan(batches=(1,), lengths=(8, 9), seconds=0, rounds=1, iterations=1)
    found = harness.measure(rows, {}, plan)
    assert {m.settings["length"] for m in found.measurements if m.metric == "latency_p50"} == {8}
    assert not found.failures
    assert found.settings["left_out"] == ["one at 1×9: its longest input is shorter"]


def abort(pipe, _cores, log):
    pipe.recv()
    os.write(os.open(log, os.O_WRONLY | os.O_APPEND), b"first line\nout of registers\n")
    os.abort()


def sleeper(pipe, _cores, _log):
    while True:
        pipe.recv()
        time.sleep(30)


@pytest.mark.parametrize(
    ("work", "says"),
    [(abort, r"crashed \(SIGABRT\): out of registers"), (sleeper, "hung: no answer within 0.2 s")],
)
def test_a_dead_or_silent_process_is_told_in_one_line(work, says):
    one = Lane([0], work)
    with pytest.raises(LostError, match=says):
        one.ask("open", limit=0.2 if work is sleeper else 60)
    assert not one.alive
    assert not one._log.exists()
    one.close()


def test_an_error_in_a_process_leaves_it_alive(tmp_path):
    one = Lane(core_numbers()[:1])
    with pytest.raises(LostError, match="holds no edgecompress-artifact"):
        one.ask("open", Target(tmp_path, "artifact", "ner"), How(), limit=60)
    assert one.alive
    one.close()
    assert not one._process.is_alive()


@pytest.mark.parametrize(("code", "says"), [(1, "exit 1"), (-11, "SIGSEGV"), (-9, "SIGKILL, often for want of memory")])
def test_how_a_process_ended(code, says):
    assert lane._ending(code) == says


def test_subjects_are_named_and_told_apart(tmp_path):
    ner, pos = (
        write_artifact(tmp_path / "x" / "s-ner", "ner").folder,
        write_artifact(tmp_path / "x" / "s-pos", "pos").folder,
    )
    tasks = {"ner": "ner", "pos": "pos"}
    (one,) = entries([(f"mine={tmp_path}/x/s-{{task}}", "student")], tasks)
    assert (one.name, one.targets) == (
        "mine",
        {"ner": Target(ner, "artifact", "ner"), "pos": Target(pos, "artifact", "pos")},
    )
    assert [e.name for e in entries([(str(ner), "teacher"), (str(pos), "student")], tasks)] == ["s-ner", "s-pos"]
    assert entries([(f"{tmp_path}/x/s-{{task}}", "student")], tasks)[0].name == "s"
    with pytest.raises(InputError, match="two subjects are called 'a'"):
        entries([(f"a={ner}", "student"), (f"a={pos}", "student")], tasks)
    with pytest.raises(
        InputError, match="is made for pos, and only ner is measured: give its test split, --test pos=FILE"
    ):
        entries([(str(pos), "student")], {"ner": "ner"})
    with pytest.raises(InputError, match="neither an artifact, nor a model folder, nor an ONNX file"):
        entries([(str(tmp_path), "student")], tasks)
    write_artifact(tmp_path / "x" / "t-pos", "ner")
    with pytest.raises(InputError, match="made for ner, not pos"):
        entries([(f"{tmp_path}/x/t-{{task}}", "student")], {"pos": "pos"})


def test_a_subject_is_described_without_its_place(tmp_path):
    artifact = write_artifact(tmp_path / "deep" / "s-ner", "ner")
    model = describe(Target(artifact.folder, "artifact", "ner"))
    assert (model.kind, model.name, model.sha256) == ("artifact", "s-ner", artifact.checksums["model.onnx"])
    assert str(tmp_path) not in json.dumps(model.__dict__, default=str)
    write_graph(tmp_path / "model.onnx", table("ner"), "token")
    assert describe(Target(tmp_path / "model.onnx", "onnx", "ner")).name == f"{tmp_path.name}/model.onnx"


def test_a_model_folder_is_measured_by_the_heads_of_its_files(tmp_path):
    tensors = {"embeddings.word": torch.zeros(5, 4), "mask": torch.ones(7, dtype=torch.bool)}
    save_file(
        {**tensors, "classifier.weight": torch.zeros(3, 4, dtype=torch.float8_e4m3fn)}, tmp_path / "m.safetensors"
    )
    figures = list(sizes(Entry("a", "student", {"ner": Target(tmp_path, "torch", "ner")})))
    parts = {(m.settings["part"], m.settings["dtype"]): m.value for m in figures if m.metric == "part_bytes"}
    assert parts == {("embeddings", "f32"): 80, ("other", "bool"): 7, ("head", "f8_e4m3"): 12}
    assert next(m.value for m in figures if m.metric == "parameters") == 5 * 4 + 7 + 12
    (tmp_path / "m.safetensors").write_bytes(b"\x05")
    with pytest.raises(SourceError, match="is no safetensors file"):
        list(sizes(Entry("a", "student", {"ner": Target(tmp_path, "torch", "ner")})))


def test_sizes_count_parameters_and_bytes(tmp_path):
    artifact = write_artifact(tmp_path)
    (tmp_path / "notes.txt").write_text("x" * 100)
    figures = [*sizes(row("student", artifact.folder))]
    of = {m.metric: m.value for m in figures}
    assert of["parameters"] == 19 * 2
    assert of["model_bytes"] == artifact.model_path.stat().st_size
    assert of["folder_bytes"] == sum(path.stat().st_size for path in tmp_path.iterdir())
    assert sum(m.value for m in figures if m.metric == "part_bytes") == of["model_bytes"]
    (tmp_path / "model.onnx.bak").write_bytes(b"x" * 999)  # beside somebody's file lies what is not its own
    alone = {m.metric: m.value for m in sizes(Entry("peer", "student", {"x": Target(artifact.model_path, "onnx", "")}))}
    assert alone["model_bytes"] == of["model_bytes"]
    assert (tmp_path / MANIFEST).is_file()


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system pins no process to cores")
def test_a_process_is_pinned_after_onnxruntime_looked_at_the_machine(tmp_path, monkeypatch):
    done, target = [], Target(write_artifact(tmp_path / "m").folder, "artifact", "sentiment")
    monkeypatch.setattr(worker, "import_module", done.append)
    monkeypatch.setattr(os, "sched_setaffinity", lambda _, cores: done.append(cores))
    monkeypatch.setattr(worker, "open_target", lambda *_: done.append("open") or Opened(None, 8, None, None))
    monkeypatch.setattr(worker.Work, "_run", lambda *_: None)
    monkeypatch.setattr(worker, "ids_of", lambda *_: {})
    worker.Work([0]).open(target, How())
    assert done == ["tokenizers", "onnxruntime", [0], "open"]
