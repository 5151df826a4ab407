"""One encoder under the heads of several tasks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor, nn

from edgecompress.encoder.heads import encoder_of
from edgecompress.training.data import Batch

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from edgecompress.training.mixture import Mixture

Scorer = Callable[[np.ndarray, np.ndarray], dict[str, float]]
MEAN = "mean"


def share_encoder(models: Sequence[PreTrainedModel]) -> None:
    """Give all ``models`` the encoder of the first one, in place; a pooler stays each model's own: it is its head's."""
    first = encoder_of(models[0])
    for model in models[1:]:
        for name, part in first.named_children():
            if name != "pooler":
                setattr(encoder_of(model), name, part)


class MultiTask(nn.Module):
    """Taught students (``TaskDistiller``) of several tasks, over one encoder (:func:`share_encoder`); a batch is one
    task's. ``texts`` says which give one label a text.
    """

    def __init__(self, students: Sequence[nn.Module], texts: Sequence[bool]) -> None:
        super().__init__()
        self.students, self.texts = nn.ModuleList(students), texts

    accepts_loss_kwargs = False  # for the Trainer: the fields below are a batch's, and no more

    def forward(self, task: int, labels: Tensor, marked: Tensor, **batch: Tensor) -> Batch:
        """Return {"loss", "logits"} of student number ``task`` for a batch of :func:`mixture.mixed_batch`.

        ``logits`` are (batch, length, labels), of a text task (batch, 1, labels).
        """
        if self.texts[task]:
            labels, marked = labels[:, 0], marked[:, 0]
        said: Batch = self.students[task](labels=labels, marked=marked, **batch)
        return {**said, "logits": said["logits"].unsqueeze(1)} if self.texts[task] else said


def mean_score(scorers: Mapping[str, Scorer], validation: Mixture) -> Callable[[Any], dict[str, float]]:
    """Return the headline metric of each task, by name, and their mean, of (predictions, labels) of ``validation``.

    ``scorers``: each task's metrics, the headline first, of its gold labels and predictions (examples, length).
    """

    def metrics(prediction: Any) -> dict[str, float]:
        found = {}
        places = zip(scorers.items(), validation.starts[:-1], validation.parts, strict=True)
        for (name, scorer), start, part in places:
            rows = slice(start, start + len(part))
            found[name] = next(iter(scorer(prediction.label_ids[rows], prediction.predictions[rows]).values()))
        return {MEAN: sum(found.values()) / len(found), **found}

    return metrics
