"""What is written down: the steps a model went through, and the figures measured on it. Frozen, and plain JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True)
class Step:
    """One stage in a model's history.

    ``options`` are the stage's resolved options, ``parameters`` the model's parameter count afterwards, ``seconds``
    wall time, ``details`` what the stage found out (kept sizes, losses, scores), ``key`` the content hash of the
    options, inputs and code that produced the result.
    """

    stage: str
    options: Mapping[str, Any] = field(default_factory=dict)
    parameters: int = 0
    seconds: float = 0.0
    details: Mapping[str, Any] = field(default_factory=dict)
    key: str = ""


@dataclass(frozen=True)
class Host:
    """The machine and the library versions behind a figure."""

    cpu: str
    cores: int
    flags: tuple[str, ...]
    memory_gb: float
    system: str
    python: str
    versions: Mapping[str, str]


@dataclass(frozen=True)
class Measurement:
    """One figure: ``metric`` of ``subject`` on ``task`` (empty when no task is involved), with its unit.

    ``settings`` holds what the figure depends on (batch, length, threads, split, examples).
    """

    subject: str
    task: str
    metric: str
    value: float
    unit: str
    settings: Mapping[str, Any] = field(default_factory=dict)


def to_json(record: Step | Host | Measurement) -> Json:
    """Return the record as plain JSON types."""
    return dataclasses.asdict(record)


def step_from_json(data: Mapping[str, Any]) -> Step:
    """Rebuild a :class:`Step`; unknown keys raise TypeError, so that a newer file is never half read."""
    return Step(**data)
