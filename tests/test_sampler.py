"""Which examples of which task an epoch meets, and how batches of several tasks are put together."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from datasets import Dataset
from transformers import EvalPrediction

from edgecompress.encoder.importance import IGNORED
from edgecompress.options import Sampling
from edgecompress.stages.learner import scorer
from edgecompress.tasks import TASKS
from edgecompress.training.mixture import Mixture, mixed_batch
from edgecompress.training.multitask import MEAN, mean_score
from edgecompress.training.sampler import TaskSampler


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


def test_no_task_is_left_out_because_several_are_small():
    assert sampler([1000, 10, 10], batch=32, sampling=Sampling(1.0, 1.0)).batches(0) == [30, 1, 1]


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
