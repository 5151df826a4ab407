"""What a model says of labelled examples, through the very predictor that serves it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgecompress.errors import TaskDataError
from edgecompress.runtime.predictor import Predictor
from edgecompress.tasks.examples import Example, check_labels

if TYPE_CHECKING:
    from collections.abc import Sequence


def predict(predictor: Predictor, examples: Sequence[Example]) -> tuple[list[Sequence[str]], int]:
    """Return the predicted labels of each example, and how many words the model did not see.

    Raises TaskDataError without examples, for labels that the model does not know, and for an example of several words
    where the task labels whole texts.
    """
    if not examples:
        raise TaskDataError("no examples to evaluate on: give at least one")
    check_labels(predictor.artifact.labels, examples, "the evaluation data")
    if predictor.artifact.task.kind == "token":
        tagged = predictor.tag([example.words for example in examples])
        return [tags.tags for tags in tagged], sum(tags.unseen for tags in tagged)
    for index, example in enumerate(examples):
        if len(example.words) != 1:
            raise TaskDataError(f"example {index} has {len(example.words)} words, not one text: read it for this task")
    return [(label,) for label in predictor.labels([example.words[0] for example in examples])], 0
