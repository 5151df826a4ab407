"""The teacher is asked once about each sequence; later passes remember."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
import torch
from test_trainer import in_pieces
from tiny_models import QUICK, bundle, corpus, same_weights

from edgecompress.options import Objective
from edgecompress.stages.distill import distill
from edgecompress.training import distiller, memory
from edgecompress.training.memory import open_memory, recall, remember
from edgecompress.training.trainer import checkpoints_in

OBJECTIVE = Objective(relation_heads=4, hidden_layers="middle-last")
SHAPE = (5, 2, 3, 4)


def test_what_is_remembered_is_recalled_also_by_the_next_run(tmp_path):
    first = open_memory(tmp_path, SHAPE)
    parts = [torch.randn(2, 3, 4).bfloat16() for _ in range(2)]
    remember(first, torch.tensor([3, 1]), parts)
    again = open_memory(tmp_path, SHAPE)
    for held in (first, again):
        assert recall(held, torch.tensor([1, 2])) is None
        assert all(torch.equal(a, b.flip(0)) for a, b in zip(recall(held, torch.tensor([1, 3])), parts, strict=True))
    assert recall(open_memory(tmp_path, (5, 2, 3, 8)), torch.tensor([3])) is None  # of another model
    assert recall(open_memory(tmp_path, SHAPE), torch.tensor([3])) is None  # it is gone


def test_another_boot_forgets(tmp_path, monkeypatch):
    remember(open_memory(tmp_path, SHAPE), torch.tensor([3]), [torch.ones(1, 3, 4)] * 2)
    monkeypatch.setattr(memory, "_boot", lambda: "another")
    assert recall(open_memory(tmp_path, SHAPE), torch.tensor([3])) is None
    assert len(list(tmp_path.iterdir())) == 2


def test_the_space_is_taken_at_once(tmp_path):
    held = open_memory(tmp_path, SHAPE)
    assert held is not None
    assert (tmp_path / "teacher.bin").stat().st_blocks * 512 >= 5 * 2 * 3 * 4 * 2


def test_without_room_the_teacher_is_asked_each_time(tmp_path, monkeypatch, asked):
    assert open_memory(tmp_path, (10**9, 10, 512, 1024)) is None
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr(memory, "_SPARE", 2**60)
    training = replace(QUICK, steps=0, epochs=3.0)
    done = distill(bundle("bert"), corpora=(corpus(tmp_path),), objective=OBJECTIVE, training=training)
    assert done.history[-1].details["steps"] > 0
    assert asked == []


@pytest.fixture(autouse=True)
def _on_a_processor(monkeypatch):
    """The memory is for machines without a GPU."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)


@pytest.fixture
def asked(monkeypatch):
    """Which sequences the teacher was asked about: the student is asked as often as it trains."""
    rows = []
    monkeypatch.setattr(
        distiller, "remember", lambda held, which, parts: (rows.extend(which.tolist()), remember(held, which, parts))
    )
    return rows


def test_the_teacher_is_asked_once(tmp_path, asked):
    made, text = bundle("bert"), corpus(tmp_path)
    training = replace(QUICK, steps=0, epochs=3.0, batch_size=1)
    done = distill(made, corpora=(text,), layers=2, objective=OBJECTIVE, training=training)
    count = done.history[-1].details["sequences"]
    assert done.history[-1].details["steps"] == 3 * count
    assert sorted(asked) == list(range(count))


def test_one_pass_is_not_written_down(tmp_path, asked):
    distill(bundle("bert"), corpora=(corpus(tmp_path),), objective=OBJECTIVE, training=replace(QUICK, steps=1))
    assert asked == []


def test_remembering_changes_no_more_than_rounding(tmp_path, monkeypatch):
    made, text = bundle("bert"), corpus(tmp_path)
    run = partial(distill, made, corpora=(text,), layers=2, objective=OBJECTIVE)
    run = partial(run, training=replace(QUICK, steps=0, epochs=3.0, learning_rate=1e-3))
    one = run().model.state_dict()
    monkeypatch.setattr("edgecompress.training.steps.passes", lambda *_: 0.0)
    other, before = run().model.state_dict(), made.model.state_dict()
    moved = sum(
        float((other[name] - before[name]).abs().sum()) for name in other if other[name].shape == before[name].shape
    )
    apart = sum(float((other[name] - one[name]).abs().sum()) for name in other)
    assert 0 < apart < moved / 10


@pytest.mark.parametrize("left_out", ["hidden", "relations"])
def test_only_what_is_imitated_is_remembered(tmp_path, left_out):
    """What is not kept does not change what is learnt: the same as in a run without memory, but for rounding."""
    made, text = bundle("bert"), corpus(tmp_path)
    objective = replace(OBJECTIVE, **{left_out: 0.0})
    training = replace(QUICK, steps=0, epochs=3.0, batch_size=1)
    with checkpoints_in(tmp_path / "work"):
        done = distill(made, corpora=(text,), layers=2, objective=objective, training=training)
    parts = {"hidden": 3, "relations": 2}[left_out]
    width = made.model.config.hidden_size
    expected = done.history[-1].details["sequences"] * parts * QUICK.max_length * width * 2
    assert (tmp_path / "work" / "teacher.bin").stat().st_size == expected


def test_a_stopped_run_goes_on_with_what_it_remembers(tmp_path, monkeypatch, asked):
    monkeypatch.setenv("EDGECOMPRESS_CHECKPOINT_SECONDS", "0")
    made, text = bundle("bert"), corpus(tmp_path)
    training = replace(QUICK, steps=0, epochs=3.0)
    run = partial(distill, made, corpora=(text,), layers=2, objective=OBJECTIVE, training=training)
    with checkpoints_in(tmp_path / "whole"):
        whole = run()
    last, once = whole.history[-1].details["steps"] - 1, sorted(asked)
    asked.clear()
    pieces = in_pieces(tmp_path / "work", run, "distill", (2, last))
    assert same_weights(whole.model, pieces.model)
    assert sorted(asked) == once  # nothing twice


def test_sequences_of_several_lengths_are_remembered_too(tmp_path, asked):
    """Asked once a row; a student that has learnt from memory is one that asked each time, to bfloat16."""
    made, text = bundle("bert"), corpus(tmp_path)
    training = replace(QUICK, steps=0, epochs=3.0, batch_size=1, max_length=24, learning_rate=1e-3)
    objective = replace(OBJECTIVE, lengths=(8, 24))
    done = distill(made, corpora=(text,), layers=2, objective=objective, training=training)
    count = done.history[-1].details["sequences"]
    assert sorted(set(asked)) == list(range(count))
    assert len(asked) < 1.5 * count  # what is drawn twice before the other length's turn is over is asked once
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(memory, "_SPARE", 2**60)
        again = distill(made, corpora=(text,), layers=2, objective=objective, training=training)
    one, other, before = (model.state_dict() for model in (done.model, again.model, made.model))
    same_shape = [name for name in one if one[name].shape == before[name].shape]
    moved = sum(float((other[name] - before[name]).abs().sum()) for name in same_shape)
    assert sum(float((other[name] - one[name]).abs().sum()) for name in one) < moved / 10


def test_training_of_several_lengths_goes_on_where_it_was_stopped(tmp_path, monkeypatch):
    monkeypatch.setenv("EDGECOMPRESS_CHECKPOINT_SECONDS", "0")
    made, text = bundle("bert"), corpus(tmp_path)
    training = replace(QUICK, steps=9, batch_size=2, max_length=24)
    objective = replace(OBJECTIVE, lengths=(8, 24))
    run = partial(distill, made, corpora=(text,), layers=2, objective=objective, training=training)
    assert same_weights(run().model, in_pieces(tmp_path / "w", run, "distill", [2, 5]).model)
