"""One encoder for several tasks: what is shared, what is drawn, and what is kept."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from test_surgery import every_family
from test_trainer import in_pieces
from tiny_models import bundle, corpus, same_weights, task_files

from edgecompress.corpus import Corpus
from edgecompress.encoder import sources
from edgecompress.encoder.bundle import HEADS_FILE, save
from edgecompress.encoder.heads import attach, encoder_of, frozen_encoder, head_state, load_head
from edgecompress.encoder.surgery import copy_of
from edgecompress.errors import ArchitectureError, RecipeError, SourceError
from edgecompress.options import Sampling, Soft, Training
from edgecompress.stages.finetune import finetune
from edgecompress.stages.learner import Guide, learner
from edgecompress.stages.multitask import multitask
from edgecompress.stages.trim import trim
from edgecompress.training.multitask import MultiTask

QUICK = Training(epochs=4, batch_size=6, learning_rate=2e-3, max_length=64, dropout=0.0, precision="fp32")
NONE = replace(QUICK, epochs=0)
KINDS = {"topic": 24, "pos": 18, "sentiment": 10}


@pytest.fixture(scope="module")
def tasks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tasks")
    return tuple(task_files(folder, kind, count) for kind, count in KINDS.items())


@pytest.fixture(scope="module")
def shared(tasks):
    return multitask(bundle("bert", "none", layers=1), tasks=tasks, training=QUICK)


def encoder_bytes(model):
    """The encoder's tensors, byte for byte; a pooler is the head's."""
    state = encoder_of(model).state_dict()
    return {n: (t.dtype, t.shape, t.numpy().tobytes()) for n, t in state.items() if not n.startswith("pooler.")}


@torch.no_grad()
def loss(student, task):
    """Return a student's mean cross-entropy on the training examples of its task."""
    made = learner(student, task, "random", Guide(), NONE)
    batch = made.data.collate([made.data.train[i] for i in range(len(made.data.train))])
    return float(student.model(**batch).loss)


@every_family
def test_all_tasks_are_learnt_by_one_encoder(tasks, family):
    made = bundle(family, "none", layers=1)
    before = copy_of(made.model)
    done = multitask(made, tasks=tasks, training=QUICK)
    step = done.history[-1]
    assert same_weights(before, made.model)
    assert type(done.model) is type(made.model)
    assert not head_state(done.model)
    assert not done.model.training
    assert encoder_bytes(done.model).keys() == encoder_bytes(made.model).keys()
    assert encoder_bytes(done.model) != encoder_bytes(made.model)
    kept = [score for _, score in step.details["scores"]].index(round(step.details["best"], 2))
    for task in tasks:
        start = finetune(made, task=task, head="random", training=NONE)
        student = finetune(done, task=task, head="trained", encoder="frozen", training=NONE)
        assert encoder_bytes(student.model) == encoder_bytes(done.model)
        assert loss(student, task) < loss(start, task) / 2
        _, score = step.details["parts"][task.kind][kept]  # what the encoder and this head scored together
        assert student.history[-1].details["scores"] == [[0, score]]


def test_the_loss_of_each_task_falls(tasks, monkeypatch):
    """From random heads, so that it is the training that teaches them."""
    seen: dict[int, list[float]] = {}
    forward = MultiTask.forward

    def watched(self, task, labels, marked, **batch):
        said = forward(self, task, labels, marked, **batch)
        if self.training:
            seen.setdefault(task, []).append(float(said["loss"].detach()))
        return said

    monkeypatch.setattr(MultiTask, "forward", watched)
    monkeypatch.setattr("edgecompress.training.probe.fit_head", lambda *_, **__: None)
    even, training = Sampling(0.0, 0.0), replace(QUICK, epochs=10, learning_rate=5e-3)
    done = multitask(bundle("bert", "none", layers=1), tasks=tasks, sampling=even, training=training)
    assert sum(map(len, seen.values())) == done.history[-1].details["steps"]
    for losses in seen.values():
        assert len(losses) == 10 * 3
        assert np.mean(losses[-3:]) < np.mean(losses[:3]) / 2


def test_the_step_tells_what_was_done(shared):
    step = shared.history[-1]
    assert {n: (t["examples"], t["labels"]) for n, t in step.details["tasks"].items()} == {
        "topic": (24, ["sk", "sw"]),
        "pos": (18, ["A", "B"]),
        "sentiment": (10, ["sk", "sw"]),
    }
    assert step.details["steps"] == 4 * 9  # 52 examples in batches of 6
    assert [at for at, _ in step.details["scores"]] == [9, 18, 27, 36]
    means = np.mean([[score for _, score in step.details["parts"][kind]] for kind in KINDS], axis=0)
    np.testing.assert_allclose([score for _, score in step.details["scores"]], means, atol=0.011)
    assert step.details["best"] == pytest.approx(means.max(), abs=0.011)
    assert step.options["tasks"][1]["train"] == ["pos-train.jsonl"]
    assert step.options["sampling"] == {"alpha": 1.0, "alpha_end": 0.2}
    assert "teacher" not in step.options
    assert step.parameters == shared.parameters


@every_family
@pytest.mark.parametrize("kind", ["topic", "pos"])
def test_a_frozen_encoder_keeps_its_bytes_while_the_head_learns(tmp_path, family, kind):
    made, files = bundle(family, "none", layers=1), task_files(tmp_path, kind, 24)
    start, done = (
        finetune(made, task=files, head="random", encoder=encoder, training=training)
        for encoder, training in (
            ("tuned", NONE),
            ("frozen", replace(QUICK, epochs=8, learning_rate=1e-2, dropout=0.1)),
        )
    )
    assert encoder_bytes(done.model) == encoder_bytes(made.model)
    heads = head_state(start.model), head_state(done.model)
    assert not any(torch.equal(tensor, heads[1][name]) for name, tensor in heads[0].items())
    if kind == "pos":  # the first token of a random encoder says too little of a text to promise more than a change
        assert loss(done, files) < loss(start, files)
    assert all(tensor.requires_grad for tensor in done.model.parameters())
    assert done.history[-1].options["encoder"] == "frozen"


def test_a_taught_student_on_a_frozen_encoder(tmp_path):
    made, files = bundle("bert", "none", layers=1), task_files(tmp_path, "topic", 12)
    save(finetune(made, task=files, training=QUICK), tmp_path / "teacher")
    done = finetune(made, task=files, encoder="frozen", teacher=str(tmp_path / "teacher"), training=QUICK)
    assert encoder_bytes(done.model) == encoder_bytes(made.model)
    assert done.history[-1].details["examples"] == 3 * 12


def test_freezing_ends_with_the_block():
    model = attach(bundle("bert", "none").model, "text", ("a", "b"))
    fixed = "bert.embeddings.word_embeddings.weight"
    model.get_parameter(fixed).requires_grad_(requires_grad=False)
    with frozen_encoder(model):
        assert {name for name, tensor in model.named_parameters() if tensor.requires_grad} == head_state(model).keys()
    assert [name for name, tensor in model.named_parameters() if not tensor.requires_grad] == [fixed]


@pytest.mark.parametrize("taught", [False, True])
def test_training_goes_on_where_it_stopped(tmp_path, monkeypatch, tasks, taught):
    monkeypatch.setenv("EDGECOMPRESS_CHECKPOINT_SECONDS", "0")
    made, options = bundle("bert", "none", layers=1), {}
    training = replace(QUICK, epochs=2, dropout=0.1)
    if taught:
        for task in tasks:
            save(finetune(made, task=task, training=replace(QUICK, epochs=1)), tmp_path / task.kind)
        folders = tuple(str(tmp_path / task.kind) for task in tasks)
        options = {"teacher": folders, "corpora": (corpus(tmp_path),), "soft": Soft(copies=1, lines=10)}
    run = partial(multitask, made, tasks=tasks, training=training, **options)
    whole = run()
    steps = whole.history[-1].details["steps"]
    pieces = in_pieces(tmp_path / "work", run, "multitask", (2, steps // 2 + 3, steps - 1))
    assert same_weights(whole.model, pieces.model)
    for one, other in zip(whole.heads, pieces.heads, strict=True):
        assert all(torch.equal(tensor, other.state[name]) for name, tensor in one.state.items())
    once, again = (dict(one.history[-1].details) for one in (whole, pieces))
    assert (once["scores"], once["parts"], once["tasks"]) == (again["scores"], again["parts"], again["tasks"])
    if taught:
        assert whole.history[-1].options["teacher"] == list(KINDS)
        assert str(tmp_path) not in str(whole.history[-1])
        assert once["tasks"]["topic"]["examples"] > 2 * KINDS["topic"]  # a copy of each, and lines
    assert not same_weights(whole.model, run(training=replace(training, seed=1)).model)


def test_heads_are_saved_beside_the_encoder_and_belong_to_it(tmp_path, shared, tasks):
    save(shared, tmp_path / "shared")
    again = sources.load(str(tmp_path / "shared"))
    assert same_weights(again.model, shared.model)
    for one, other in zip(shared.heads, again.heads, strict=True):
        assert (one.task, one.labels, one.state.keys()) == (other.task, other.labels, other.state.keys())
        assert all(torch.equal(tensor, other.state[name]) for name, tensor in one.state.items())
    with pytest.raises(RecipeError, match="head 'trained': there is none for these examples of task 'ner'"):
        finetune(again, task=task_files(tmp_path, "ner", 12), head="trained", training=NONE)
    more = task_files(tmp_path, "topic", KINDS["topic"] + 1)
    with pytest.raises(RecipeError, match="none for these examples of task 'topic'"):
        finetune(again, task=more, head="trained", training=NONE)
    tuned = finetune(again, task=tasks[0], head="trained", training=replace(QUICK, epochs=1))
    assert encoder_bytes(tuned.model) != encoder_bytes(again.model)  # a start for the whole model, too
    assert tuned.heads == () == trim(again, corpora=(corpus(tmp_path),)).heads
    save(tuned, tmp_path / "shared")
    assert not (tmp_path / "shared" / HEADS_FILE).exists()
    save(shared, tmp_path / "shared")
    path = tmp_path / "shared" / HEADS_FILE
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(SourceError, match=r"heads\.safetensors is damaged"):
        sources.load(str(tmp_path / "shared"))


def test_a_head_of_another_shape_is_refused(shared):
    other = attach(bundle("bert", "none").model, "text", ("a", "b", "c"))
    with pytest.raises(ArchitectureError, match="train it on this encoder"):
        load_head(other, shared.heads[0].state)


def test_what_cannot_be_is_refused(tmp_path, tasks):
    made, topic, pos = bundle("bert", "none", layers=1), *tasks[:2]
    for given, why in (
        ({"tasks": (topic,)}, "one encoder for several needs two or more, not 1; for one task there is `finetune`"),
        ({"tasks": (topic, pos, topic)}, "the task 'topic' of topic-train.jsonl is there twice"),
        ({"tasks": (topic, pos), "teacher": ("x",)}, "1 teachers for 2 tasks: give one for each task"),
        ({"tasks": (topic, pos), "corpora": (corpus(tmp_path),)}, "give a teacher, or no corpora"),
    ):
        with pytest.raises(RecipeError, match=why):
            multitask(made, training=QUICK, **given)
    save(finetune(made, task=topic, training=NONE), tmp_path / "topic")
    with pytest.raises(RecipeError, match="task pos: the teacher is a BertForSequenceClassification"):
        multitask(made, tasks=(topic, pos), teacher=(str(tmp_path / "topic"),) * 2, training=QUICK)
    with pytest.raises(RecipeError, match="a random head on a frozen encoder, and no training"):
        finetune(made, task=topic, head="random", encoder="frozen", training=NONE)


def test_no_line_is_a_held_out_example_of_another_task(tmp_path):
    made, topic, pos = bundle("bert", "none", layers=1), *(task_files(tmp_path, kind, 12) for kind in ("topic", "pos"))
    row = json.loads(pos.test[0].read_text("utf-8").splitlines()[0])
    (tmp_path / "line.txt").write_text(" ".join(row["tokens"]) + "\njedna iná veta\n", encoding="utf-8")
    for name, task in (("topic", topic), ("pos", pos)):
        save(finetune(made, task=task, training=NONE), tmp_path / name)
    taught = {"teacher": (str(tmp_path / "topic"), str(tmp_path / "pos")), "soft": Soft(copies=0, lines=10)}
    text = Corpus("line", (tmp_path / "line.txt",))
    done = multitask(made, tasks=(topic, pos), corpora=(text,), **taught, training=QUICK)
    told = done.history[-1].details["tasks"]
    assert {name: one["examples"] for name, one in told.items()} == {"topic": 12 + 1, "pos": 12 + 1}


def test_two_tasks_of_one_kind_have_two_names(tmp_path):
    files = [task_files(tmp_path / str(count), "ner", count) for count in (12, 16)]
    done = multitask(bundle("bert", "none", layers=1), tasks=tuple(files), training=replace(QUICK, epochs=1))
    assert {name: one["examples"] for name, one in done.history[-1].details["tasks"].items()} == {
        "ner": 12,
        "ner-2": 16,
    }
    for one in files:
        assert finetune(done, task=one, head="trained", encoder="frozen", training=NONE).history[-1].details["best"]
