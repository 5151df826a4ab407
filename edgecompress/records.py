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
    """The machine and the library versions behind a figure.

    ``governor`` is how the system sets the CPU's clock ("performance", "powersave"; empty where it does not tell),
    ``load`` how many processes wanted to run in the last minute before the measuring began.
    """

    cpu: str
    cores: int
    flags: tuple[str, ...]
    memory_gb: float
    system: str
    python: str
    versions: Mapping[str, str]
    governor: str = ""
    load: float = 0.0


@dataclass(frozen=True)
class Measurement:
    """One figure: ``metric`` of ``subject`` on ``task`` (empty when no task is involved), with its unit.

    ``settings`` holds what the figure depends on (batch, length, threads, examples); ``interval`` the bounds that hold
    the figure with 95 % confidence, where they were found out.
    """

    subject: str
    task: str
    metric: str
    value: float
    unit: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    interval: tuple[float, float] | None = None


def to_json(record: Step | Host | Measurement) -> Json:
    """Return the record as plain JSON types."""
    return dataclasses.asdict(record)


def step_from_json(data: Mapping[str, Any]) -> Step:
    """Rebuild a :class:`Step`; unknown keys raise TypeError, so that a newer file is never half read."""
    return Step(**data)
