"""How predictions are scored: by scikit-learn and seqeval, so that a figure means what it means elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

from edgecompress.errors import MissingExtraError
from edgecompress.extras import install

if TYPE_CHECKING:
    from edgecompress.tasks import Task

Labels = Sequence[Sequence[str]]


def score(task: Task, gold: Labels, predicted: Labels) -> dict[str, float]:
    """Return every metric of ``task`` in 0-100, in the task's order (the headline metric first).

    One inner sequence an example: the text's label, or its words' tags.

    - ``accuracy``: share of labels (of words, for a token task) that are equal.
    - ``macro_f1``: mean F1 over the labels that occur in ``gold`` or ``predicted``, each weighing the same; a label
      with neither precision nor recall counts 0. This is scikit-learn's ``average="macro"``.
    - ``span_f1``: micro F1 over whole spans (type and both ends), by seqeval's default mode, which is conlleval's.

    Raises ValueError when lengths differ or nothing is given, MissingExtraError without scikit-learn or seqeval.
    """
    if len(gold) != len(predicted):
        raise ValueError(f"{len(gold)} gold examples but {len(predicted)} predicted: give one prediction an example")
    for index, (right, given) in enumerate(zip(gold, predicted, strict=True)):
        if len(right) != len(given):
            raise ValueError(f"example {index}: {len(right)} gold labels but {len(given)} predicted")
    if not any(gold):
        raise ValueError("no labels to score: give at least one example")
    return {metric: 100.0 * float(_METRICS[metric](gold, predicted)) for metric in task.metrics}


def _flat(labels: Labels) -> list[str]:
    return [label for example in labels for label in example]


def _accuracy(gold: Labels, predicted: Labels) -> Any:
    return _library("sklearn.metrics").accuracy_score(_flat(gold), _flat(predicted))


def _macro_f1(gold: Labels, predicted: Labels) -> Any:
    metrics = _library("sklearn.metrics")
    return metrics.f1_score(_flat(gold), _flat(predicted), average="macro", zero_division=0)


def _span_f1(gold: Labels, predicted: Labels) -> Any:
    right, given = [list(tags) for tags in gold], [list(tags) for tags in predicted]
    return _library("seqeval.metrics").f1_score(right, given, average="micro", zero_division=0)


_METRICS: Mapping[str, Callable[[Labels, Labels], Any]] = {
    "accuracy": _accuracy,
    "macro_f1": _macro_f1,
    "span_f1": _span_f1,
}


def _library(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        raise MissingExtraError(
            f"scoring needs {name.partition('.')[0]}, which is not installed: {install('compress')}"
        ) from error
