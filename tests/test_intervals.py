import numpy as np
import pytest

from edgecompress.bench import intervals
from edgecompress.tasks import TASKS
from edgecompress.tasks.scores import score

NER = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
DRAW = np.random.default_rng(3)


def labels(kind, count=60):
    if kind == "text":
        return [(str(label),) for label in DRAW.choice(["a", "b", "c"], count, p=[0.7, 0.2, 0.1])]
    return [tuple(DRAW.choice(NER, DRAW.integers(1, 9))) for _ in range(count)]


def spoiled(gold, share):
    known = sorted({label for row in gold for label in row})
    return [tuple(str(DRAW.choice(known)) if DRAW.random() < share else label for label in row) for row in gold]


@pytest.mark.parametrize(("task", "metric"), [(t.name, m) for t in TASKS.values() for m in t.metrics])
def test_the_counts_give_the_very_score_of_the_library(task, metric):
    gold = labels(TASKS[task].kind)
    for said in (gold, spoiled(gold, 0.4), [("B-MISC",) * len(row) for row in gold]):
        counts = intervals.counts_of(metric, gold, said)
        assert len(counts) == len(gold)
        assert intervals.value_of(metric, counts.sum(0)) == pytest.approx(score(TASKS[task], gold, said)[metric])


def test_an_interval_holds_the_score_and_shrinks_with_examples():
    gold = labels("text", 50)
    said = spoiled(gold, 0.3)
    few = intervals.score_interval("accuracy", gold, said)
    many = intervals.score_interval("accuracy", gold * 16, said * 16)
    value = score(TASKS["topic"], gold, said)["accuracy"]
    assert few[0] < value < few[1]
    assert many[1] - many[0] == pytest.approx((few[1] - few[0]) / 4, rel=0.25)


def test_a_coverage_near_95_percent():
    right = 0
    for trial in range(200):
        draw = np.random.default_rng(trial)
        said = [("a",) if hit else ("b",) for hit in draw.random(120) < 0.7]
        low, high = intervals.score_interval("accuracy", [("a",)] * 120, said, resamples=300)
        right += low <= 70 <= high
    assert 0.88 <= right / 200 <= 0.99


def test_the_interval_of_a_mean_over_rare_labels_is_wide_enough():
    """Seven labels, two of them in 2 and 5 of 100 examples: whether they were drawn at all moves the mean."""
    share, names = [0.3, 0.25, 0.2, 0.1, 0.08, 0.05, 0.02], list("abcdefg")
    hit = 0.7 + 0.3 * np.array(share)  # of each label: right, or by chance
    given = 0.7 * np.array(share) + 0.3 * np.array(share)
    true = 100 * np.mean(2 * hit * share / (given + share))
    right = 0
    for trial in range(100):
        draw = np.random.default_rng(trial)
        gold, other = draw.choice(names, 100, p=share), draw.choice(names, 100, p=share)
        said = np.where(draw.random(100) < 0.7, gold, other)
        rows = ([(str(label),) for label in side] for side in (gold, said))
        low, high = intervals.score_interval("macro_f1", *rows, resamples=300)
        right += low <= true <= high
    assert 0.87 <= right / 100 <= 0.99


def test_a_paired_difference_is_narrower_than_two_scores_apart():
    gold = labels("token", 80)
    teacher = spoiled(gold, 0.4)
    student = [row if index % 10 else spoiled([row], 0.9)[0] for index, row in enumerate(teacher)]
    low, high = intervals.difference_interval("span_f1", gold, student, teacher)
    alone = intervals.score_interval("span_f1", gold, student)
    assert high - low < alone[1] - alone[0]
    assert intervals.difference_interval("span_f1", gold, teacher, teacher) == (0, 0)


def test_the_interval_of_a_median_lies_within_the_turns():
    assert intervals.median_interval([1.0, 1.1, 0.9, 1.0, 5.0]) == (0.9, 5.0)
    assert intervals.median_interval([1.0, 1.1, 0.9, 1.0]) is None


@pytest.mark.parametrize("turns", range(5, 25))
def test_the_interval_of_a_median_holds_it_as_often_as_it_says(turns):
    """Of few turns, too: resampled medians held that of 7 in 87 of 100 cases."""
    draws = np.random.default_rng(turns).exponential(size=(1000, turns))
    held = [low <= np.log(2) <= high for low, high in map(intervals.median_interval, draws)]
    assert np.mean(held) > 0.92
