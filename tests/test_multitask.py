"""One encoder for several tasks: what is shared, what is drawn, and what is kept."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from datasets import Dataset
from test_surgery import every_family
from test_trainer import in_pieces
from tiny_models import bundle, corpus, same_weights, task_files
from transformers import EvalPrediction

from edgecompress.encoder import sources
from edgecompress.encoder.bundle import HEADS_FILE, save
from edgecompress.encoder.heads import attach, encoder_of, frozen_encoder, head_state, load_head
from edgecompress.encoder.importance import IGNORED
from edgecompress.encoder.surgery import copy_of
from edgecompress.errors import ArchitectureError, RecipeError, SourceError
from edgecompress.options import Sampling, Soft, Training
from edgecompress.stages.finetune import finetune
from edgecompress.stages.learner import Guide, learner, scorer
from edgecompress.stages.multitask import multitask
from edgecompress.stages.trim import trim
from edgecompress.tasks import TASKS
from edgecompress.training.mixture import Mixture, mixed_batch
from edgecompress.training.multitask import MEAN, MultiTask, mean_score
from edgecompress.training.sampler import TaskSampler

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


def rows(count, label, begin=0):
    """Rows of rising length; a token row has a label for each token."""
    made = [{"input_ids": [5] * (3 + i), "length": 3 + i, "marked": []} for i in range(begin, begin + count)]
    return Dataset.from_list([{**row, "labels": label if label is not None else [1] * row["length"]} for row in made])


def sampler(sizes, *, batch=4, sampling=Sampling(), epochs=5, seed=0):
    return TaskSampler([rows(size, 0) for size in sizes], batch, sampling, epochs, seed)


@pytest.mark.parametrize(
    ("begin", "end", "first", "last"),
    [
        (1.0, 1.0, [16, 4, 1], [16, 4, 1]),  # as many as their rows fill
        (0.0, 0.0, [7, 7, 7], [7, 7, 7]),
        (0.5, 0.5, [12, 6, 3], [12, 6, 3]),  # 8 : 4 : 2
        (1.0, 0.0, [16, 4, 1], [7, 7, 7]),
    ],
)
def test_shares_are_as_stated(begin, end, first, last):
    drawn = sampler([64, 16, 4], sampling=Sampling(begin, end))
    assert (drawn.batches(0), drawn.batches(4), drawn.batches(9)) == (first, last, last)
    starts = (0, 64, 80, 84)
    for epoch in range(5):
        drawn.set_epoch(epoch)
        found = list(drawn)
        assert len(found) == len(drawn) == 84
        batches = [{np.searchsorted(starts, row, "right") - 1 for row in found[at : at + 4]} for at in range(0, 84, 4)]
        assert all(len(batch) == 1 for batch in batches)
        counts = Counter(task for (task,) in batches)
        assert [counts[task] for task in range(3)] == drawn.batches(epoch)


def test_the_annealed_exponent_is_that_of_the_paper():
    """1 − 0.8 (e − 1)/(E − 1), of epochs counted from 1."""
    drawn = sampler([6400, 400], batch=1, epochs=5)
    for epoch in range(5):
        power = 1 - 0.8 * epoch / 4
        share = 6400**power / (6400**power + 400**power)
        assert abs(drawn.batches(epoch)[0] - 6800 * share) <= 0.5
    assert sampler([30, 10], epochs=1).batches(0) == sampler([30, 10], epochs=0.5).batches(0)


def test_every_example_is_met_before_one_is_met_again():
    """Over the epochs' ends too: a large task that is drawn less than its size meets all of it in the end."""
    drawn = sampler([50, 6], sampling=Sampling(0.0, 0.0))
    met: Counter[int] = Counter()
    for epoch in range(7):
        drawn.set_epoch(epoch)
        met.update(drawn)
        for part in (range(50), range(50, 56)):
            counts = [met[row] for row in part]
            assert max(counts) - min(counts) <= 1
    assert met[0] in (3, 4)
    assert met[50] > 20


def test_the_order_depends_on_seed_and_epoch_alone():
    one, other, third = sampler([20, 9]), sampler([20, 9]), sampler([20, 9], seed=1)
    one.set_epoch(0)
    list(one)
    for each in (one, other, third):
        each.set_epoch(3)
    assert list(one) == list(other) != list(third)
    one.set_epoch(2)
    assert list(one) != list(other)


def test_no_task_is_left_out_and_batches_are_of_like_length():
    assert sampler([4000, 3], batch=8).batches(0) == [500, 1]
    assert sum(sampler([3, 3, 3], batch=8).batches(0)) == 2  # fewer batches than tasks: an epoch stays an epoch
    drawn = TaskSampler([rows(256, 0), rows(8, 0)], 4, Sampling(1.0, 1.0), 3, 0)
    spread = [max(b) - min(b) for b in (list(drawn)[at : at + 4] for at in range(0, 264, 4)) if max(b) < 256]
    assert np.mean(spread) < 256 / 16  # drawn at random: 150


def test_validation_is_filled_up_to_whole_batches_that_nobody_scores():
    parts = [rows(5, 1), rows(3, None, begin=2)]
    mixed = Mixture(parts, 4)
    assert (len(mixed), mixed.starts) == (12, [0, 8, 12])
    assert [mixed[i]["task"] for i in range(12)] == [0] * 8 + [1] * 4
    assert [mixed[i]["labels"] for i in range(8)] == [1] * 5 + [IGNORED] * 3
    assert mixed[11]["labels"] == [IGNORED] * mixed[11]["length"]
    scorers = {"topic": scorer(TASKS["topic"], ("a", "b")), "pos": scorer(TASKS["pos"], ("a", "b"))}
    gold, said = np.full((12, 4), IGNORED), np.full((12, 4), IGNORED)
    gold[:5, 0] = said[:5, 0] = [0, 1, 0, 1, 0]
    gold[8:11, 1:3], said[8:11] = 1, 0  # all wrong
    found = mean_score(scorers, mixed)(EvalPrediction(said, gold))
    assert found == {MEAN: 50.0, "topic": 100.0, "pos": 0.0}


def test_a_batch_is_one_tasks():
    collate = [lambda some: {"labels": torch.ones(len(some)), "marked": torch.ones(len(some))}] * 2
    assert mixed_batch([{"task": 1}] * 3, collate)["labels"].shape == (3, 1)
    with pytest.raises(ValueError, match="too many values"):
        mixed_batch([{"task": 0}, {"task": 1}], collate)


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
        multitask(made, tasks=(topic, pos), teacher=(str(tmp_path / "topic"),) * 2, training=NONE)
    with pytest.raises(RecipeError, match="a random head on a frozen encoder, and no training"):
        finetune(made, task=topic, head="random", encoder="frozen", training=NONE)


def test_two_tasks_of_one_kind_have_two_names(tmp_path):
    files = [task_files(tmp_path / str(count), "ner", count) for count in (12, 16)]
    done = multitask(bundle("bert", "none", layers=1), tasks=tuple(files), training=replace(QUICK, epochs=1))
    assert {name: one["examples"] for name, one in done.history[-1].details["tasks"].items()} == {
        "ner": 12,
        "ner-2": 16,
    }
    for one in files:
        assert finetune(done, task=one, head="trained", encoder="frozen", training=NONE).history[-1].details["best"]
