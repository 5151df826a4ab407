"""How far a figure can be trusted: bootstrap intervals over examples, and over the turns of a timing.

Scores are resampled from counts per example (right words, true and false positives), so that a thousand resamples are
one matrix product. Bootstrap percentiles: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13; the
paired form for two systems: Koehn, 2004, Statistical Significance Tests for Machine Translation Evaluation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

RESAMPLES = 1000
_FEWEST = 5
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


def median_interval(values: Sequence[float], *, resamples: int = RESAMPLES) -> Interval | None:
    """Return the 95 % bounds of the median of a few turns' values; None for fewer than 5, whose bounds would be wrong
    (resampled, they hold the median of 3 turns in 75 of 100 cases, of 5 in 95).
    """
    if len(values) < _FEWEST:
        return None
    drawn = np.random.default_rng(0).integers(0, len(values), (resamples, len(values)))
    return _bounds(np.median(np.asarray(values, np.float64)[drawn], axis=1))


def counts_of(metric: str, gold: Labels, predicted: Labels) -> Floats:
    """Return the counts (examples, …) whose sum over examples determines ``metric``."""
    return _COUNTS[metric](gold, predicted)


def value_of(metric: str, counts: Floats, whole: Floats | None = None) -> Floats:
    """Return the metric (0-100) of summed counts (…, columns of :func:`counts_of`).

    ``whole`` are those of the sample that ``counts`` were drawn from: a label that was not drawn tells nothing, and
    counts in a mean over labels as it does in the whole sample.
    """
    return 100.0 * _VALUES[metric](counts, counts if whole is None else whole)


def _resampled(metric: str, counts: Floats, resamples: int) -> Floats:
    size = len(counts)
    weights = np.random.default_rng(0).multinomial(size, np.full(size, 1 / size), resamples)
    return value_of(metric, weights @ counts, counts.sum(0))


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


def _ratio(counts: Floats, whole: Floats) -> Floats:  # noqa: ARG001
    return _share(counts[..., 0], counts[..., 1])


def _f1(counts: Floats, whole: Floats) -> Floats:  # noqa: ARG001
    return _share(2 * counts[..., 0], counts[..., 1] + counts[..., 2])


def _mean_f1(counts: Floats, whole: Floats) -> Floats:
    """Mean over the labels that occur in ``whole``, as scikit-learn's macro average."""
    each, all_of_it = (some.reshape(*some.shape[:-1], -1, 3) for some in (counts, whole))
    drawn, occurs = (some[..., 1] + some[..., 2] > 0 for some in (each, all_of_it))
    found = np.where(drawn, _f1(each, each), _f1(all_of_it, all_of_it))
    return _share((found * occurs).sum(-1), occurs.sum(-1))


def _share(part: Floats, whole: Floats) -> Floats:
    return np.divide(part, whole, out=np.zeros(np.shape(part)), where=np.asarray(whole) > 0)


_COUNTS: Mapping[str, Callable[[Labels, Labels], Floats]] = {
    "accuracy": _right,
    "macro_f1": _by_label,
    "span_f1": _spans,
}
_VALUES: Mapping[str, Callable[[Floats, Floats], Floats]] = {"accuracy": _ratio, "macro_f1": _mean_f1, "span_f1": _f1}
