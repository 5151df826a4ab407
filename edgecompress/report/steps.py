"""What subjects went through: their steps as rows, and the training curves inside them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

from edgecompress.bench.results import Results, Subject
from edgecompress.records import Step

_LONGEST = 160  # characters of options in a row


@dataclass(frozen=True)
class Row:
    """One step: ``tasks`` that it was done for, empty for all of the subject's."""

    stage: str
    tasks: str
    options: str
    parameters: int
    minutes: float


@dataclass(frozen=True)
class Curve:
    """Points (optimizer step, value) of one run of a stage. ``loss`` and ``scores`` may each be empty."""

    subject: str
    loss: tuple[tuple[float, float], ...]
    scores: tuple[tuple[float, float], ...]


def rows(subject: Subject) -> Sequence[Row]:
    """Return a subject's steps in order; a step that several tasks' models share is one row."""
    shared: dict[tuple[int, str], tuple[Step, list[str]]] = {}
    for task, model in subject.models.items():
        for at, step in enumerate(model.history):
            shared.setdefault((at, _identity(step)), (step, []))[1].append(task)
    return [
        Row(
            step.stage,
            "" if len(tasks) == len(subject.models) else ", ".join(tasks),
            short_options(step.options),
            step.parameters,
            step.seconds / 60.0,
        )
        for (_, _), (step, tasks) in sorted(shared.items(), key=lambda item: item[0][0])
    ]


def curves(results: Results) -> Mapping[tuple[str, str], Sequence[Curve]]:
    """Return curves by (stage, task): fine-tuning a task each, other stages once (task empty).

    A step that several subjects share is there once, under the name of the first.
    """
    found: dict[tuple[str, str], dict[str, Curve]] = {}
    for subject in results.subjects:
        for task, model in subject.models.items():
            for step in model.history:
                if step.details.get("curve") or step.details.get("scores"):
                    kind = (step.stage, task if step.stage == "finetune" else "")
                    found.setdefault(kind, {}).setdefault(_identity(step), _curve(subject.name, step))
    return {kind: tuple(of_kind.values()) for kind, of_kind in found.items()}


def short_options(options: Mapping[str, Any]) -> str:
    """Return "layers=6, size=20000"; files by their names alone, at most 160 characters."""
    text = ", ".join(f"{name}={_short(value)}" for name, value in options.items() if value not in (None, "", [], {}))
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1].rstrip(', ')}…"


def _short(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"({short_options(value)})"
    if isinstance(value, list | tuple):
        return "+".join(_short(one) for one in value)
    if isinstance(value, str) and PurePosixPath(value).is_absolute():
        return PurePosixPath(value).name
    if isinstance(value, str) and PureWindowsPath(value).is_absolute():
        return PureWindowsPath(value).name
    return f"{value:g}" if isinstance(value, float) else str(value)


def _curve(subject: str, step: Step) -> Curve:
    return Curve(subject, _points(step.details.get("curve", ())), _points(step.details.get("scores", ())))


def _points(found: Sequence[Sequence[float]]) -> tuple[tuple[float, float], ...]:
    return tuple((float(at), float(value)) for at, value in found)


def _identity(step: Step) -> str:
    return json.dumps([step.stage, step.options, step.details, step.key], sort_keys=True, default=str)
