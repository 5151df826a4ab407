"""How right an artifact is on labelled examples, through the very predictor that serves it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgecompress.errors import TaskDataError
from edgecompress.progress import report
from edgecompress.records import Measurement
from edgecompress.runtime.predictor import Predictor, from_artifact
from edgecompress.tasks.examples import Example, check_labels
from edgecompress.tasks.scores import score

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgecompress.artifact import Artifact

_CHUNK = 512  # examples between two signs of life


def evaluate(artifact: Artifact, examples: Sequence[Example], *, threads: int = 0) -> dict[str, float]:
    """Return the task's metrics (0-100) of ``artifact`` on ``examples``.

    Raises TaskDataError when there are no examples, or they are not of the artifact's task or labels; MissingExtraError
    without scikit-learn and seqeval.
    """
    return _evaluate(artifact, examples, threads)[0]


def measure(subjects: Mapping[str, Artifact], examples: Sequence[Example], *, threads: int = 0) -> list[Measurement]:
    """Return one measurement (0-100, unit "%") for each subject and metric; see :func:`evaluate`.

    The settings hold the number of examples and, for a token task, how many words the model did not see.
    """
    measured = []
    for name, artifact in subjects.items():
        scores, settings = _evaluate(artifact, examples, threads)
        task = artifact.task.name
        measured += [Measurement(name, task, metric, value, "%", settings) for metric, value in scores.items()]
    return measured


def _evaluate(artifact: Artifact, examples: Sequence[Example], threads: int) -> tuple[dict[str, float], dict[str, int]]:
    if not examples:
        raise TaskDataError(f"no examples to evaluate {artifact.folder} on: give at least one")
    check_labels(artifact.labels, examples, "the evaluation data")
    predictor = from_artifact(artifact, threads=threads)
    predicted: list[Sequence[str]] = []
    unseen = 0
    for begin in range(0, len(examples), _CHUNK):
        report("evaluate", begin, len(examples), artifact.task.name)
        labels, missed = predict(predictor, examples[begin : begin + _CHUNK])
        predicted, unseen = predicted + labels, unseen + missed
    report("evaluate", len(examples), len(examples), artifact.task.name)
    settings = {"examples": len(examples)} | ({"unseen_words": unseen} if artifact.task.kind == "token" else {})
    return score(artifact.task, [example.labels for example in examples], predicted), settings


def predict(predictor: Predictor, examples: Sequence[Example]) -> tuple[list[Sequence[str]], int]:
    """Return the predicted labels of each example, and how many words the model did not see.

    Raises TaskDataError for an example of several words where the task labels whole texts.
    """
    if predictor.artifact.task.kind == "token":
        tagged = predictor.tag([example.words for example in examples])
        return [tags.tags for tags in tagged], sum(tags.unseen for tags in tagged)
    for index, example in enumerate(examples):
        if len(example.words) != 1:
            raise TaskDataError(f"example {index} has {len(example.words)} words, not one text: read it for this task")
    return [(label,) for label in predictor.labels([example.words[0] for example in examples])], 0
