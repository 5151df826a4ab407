"""The tasks a student can be made for: one row each. Adding a task is adding a row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Task:
    """``kind`` "text": one label a text; "token": one label a word. ``metrics[0]`` is the headline metric (0-100)."""

    name: str
    kind: Literal["text", "token"]
    metrics: tuple[str, ...]
    spans: bool = False  # the labels are BIO tags that predictions join to spans


TASKS: Mapping[str, Task] = {
    "topic": Task("topic", "text", ("macro_f1", "accuracy")),
    "sentiment": Task("sentiment", "text", ("macro_f1", "accuracy")),
    "ner": Task("ner", "token", ("span_f1",), spans=True),
    "pos": Task("pos", "token", ("accuracy", "macro_f1")),
}
