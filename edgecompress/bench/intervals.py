"""How far a figure can be trusted: bootstrap intervals over examples, and over the turns of a timing.

Scores are resampled from counts per example (right words, true and false positives), so that a thousand resamples are
one matrix product. Bootstrap percentiles: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13; the
paired form for two systems: Koehn, 2004, Statistical Significance Tests for Machine Translation Evaluation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from math import comb
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

RESAMPLES = 1000
_FEWEST = 5
_SURE = 0.95
_BOUNDS = (2.5, 97.5)
Labels = Sequence[Sequence[str]]
Interval = tuple[float, float]


def score_interval(metric: str, gold: Labels, predicted: Labels, *, resamples: int = RESAMPLES) -> Interval:
    """Return the bounds (0-100) that hold ``metric`` with 95 % confidence, resampling examples."""
    counts = counts_of(metric, gold, predicted)
    return _bounds(_resampled(metric, counts, resamples))


def difference_interval(
    metric: str, gold: Labels, predicted: Labels, reference: Labels, *, resamples: int = RESAMPLES
) -> Interval:
    """Return the bounds of ``predicted``'s score minus ``reference``'s, in points, both on the same resamples."""
    both = [_resampled(metric, counts_of(metric, gold, said), resamples) for said in (predicted, reference)]
    return _bounds(both[0] - both[1])


def median_interval(values: Sequence[float]) -> Interval | None:
    """Return the 95 % bounds of the median of a few turns' values; None for fewer than 5, whose bounds would be wrong.

    They are the outermost pair of values that is sure enough whatever the values' distribution: of 5 to 8 turns the
    smallest and the largest (94 % sure of 5), of 9 the second ones. Conover, Practical Nonparametric Statistics, 1999,
    section 3.2.
    """
    count = len(values)
    if count < _FEWEST:
        return None
    outside = list(accumulate(comb(count, below) / 2**count for below in range(count)))  # P(at most so many lie below)
    cut = sum(2 * share <= 1 - _SURE for share in outside[1 : count // 2])
    ordered = sorted(values)
    return round(float(ordered[cut]), 4), round(float(ordered[-1 - cut]), 4)


def counts_of(metric: str, gold: Labels, predicted: Labels) -> Floats:
    """Return the counts (examples, …) whose sum over examples determines ``metric``."""
    return _COUNTS[metric](gold, predicted)


def value_of(metric: str, counts: Floats) -> Floats:
    """Return the metric (0-100) of summed counts (…, columns of :func:`counts_of`).

    A label that none of these examples has, and none was given, counts in no mean over labels, as in scikit-learn.
    """
    return 100.0 * _VALUES[metric](counts)


def _resampled(metric: str, counts: Floats, resamples: int) -> Floats:
    size = len(counts)
    weights = np.random.default_rng(0).multinomial(size, np.full(size, 1 / size), resamples)
    return value_of(metric, weights @ counts)


def _bounds(values: Floats) -> Interval:
    low, high = np.percentile(values, _BOUNDS)
    return round(float(low), 4), round(float(high), 4)


def _right(gold: Labels, predicted: Labels) -> Floats:
    pairs = zip(gold, predicted, strict=True)
    return np.array([[sum(a == b for a, b in zip(*pair, strict=True)), len(pair[0])] for pair in pairs], np.float64)


def _by_label(gold: Labels, predicted: Labels) -> Floats:
    """Return (examples, labels × 3): how often each label was right, was said, and was meant."""
    labels = sorted({label for row in (*gold, *predicted) for label in row})
    at = {label: 3 * index for index, label in enumerate(labels)}
    counts = np.zeros((len(gold), 3 * len(labels)))
    for row, pair in zip(counts, zip(gold, predicted, strict=True), strict=True):
        for meant, said in zip(*pair, strict=True):
            row[at[said] + 1] += 1
            row[at[meant] + 2] += 1
            row[at[said]] += meant == said
    return counts


def _spans(gold: Labels, predicted: Labels) -> Floats:
    from seqeval.metrics.sequence_labeling import get_entities

    rows = []
    for meant, said in zip(gold, predicted, strict=True):
        right, found = set(get_entities(list(meant))), set(get_entities(list(said)))
        rows.append([len(right & found), len(found), len(right)])
    return np.array(rows, np.float64)


def _ratio(counts: Floats) -> Floats:
    return _share(counts[..., 0], counts[..., 1])


def _f1(counts: Floats) -> Floats:
    return _share(2 * counts[..., 0], counts[..., 1] + counts[..., 2])


def _mean_f1(counts: Floats) -> Floats:
    """Mean over the labels that occur: of 100 examples with rare labels, the bounds of a mean that counts those that
    were not drawn as in the whole sample held the value 80 times of 100, these 92 times.
    """
    each = counts.reshape(*counts.shape[:-1], -1, 3)
    return _share(_f1(each).sum(-1), (each[..., 1] + each[..., 2] > 0).sum(-1))


def _share(part: Floats, whole: Floats) -> Floats:
    return np.divide(part, whole, out=np.zeros(np.shape(part)), where=np.asarray(whole) > 0)


_COUNTS: Mapping[str, Callable[[Labels, Labels], Floats]] = {
    "accuracy": _right,
    "macro_f1": _by_label,
    "span_f1": _spans,
}
_VALUES: Mapping[str, Callable[[Floats], Floats]] = {"accuracy": _ratio, "macro_f1": _mean_f1, "span_f1": _f1}
