"""Tiny students of real architectures that share an encoder, as artifacts."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tiny_artifact import LABELS
from tiny_models import bundle

from edgecompress.encoder.heads import attach
from edgecompress.export.onnx import export
from edgecompress.records import Step
from edgecompress.tasks import TASKS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from edgecompress.artifact import Artifact


def students(
    folder: Path, family: str, tasks: Sequence[str] = ("ner", "pos", "topic"), *, seed: int = 0, layers: int = 3
) -> dict[str, Artifact]:
    """Export an artifact a task to ``folder``: heads of their own on one encoder, of random weights from ``seed``."""
    encoder = bundle(family, "none", layers=layers, seed=seed)
    made = {}
    for number, task in enumerate(tasks):
        model = attach(encoder.model, TASKS[task].kind, LABELS[task], seed=number)
        one = replace(encoder, model=model, history=(Step("finetune", {"task": {"kind": task}}),))
        made[task] = export(one, folder / task)
    return made
