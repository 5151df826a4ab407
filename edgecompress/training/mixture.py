"""Several tasks' examples as one training set whose batches hold one task each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from torch import Tensor

from edgecompress.encoder.importance import IGNORED

if TYPE_CHECKING:
    from datasets import Dataset

Collate = Callable[[list[dict[str, Any]]], dict[str, Tensor]]


class Mixture:
    """The rows of ``parts``, one part after another, each row with the number of its ``task``.

    With ``batch_size`` every part is filled up to whole batches, by rows without labels that no score counts: so that
    batches taken in order hold one task each.
    """

    def __init__(self, parts: Sequence[Dataset], batch_size: int = 1) -> None:
        self.parts = parts
        self.sizes = [-(-len(part) // batch_size) * batch_size for part in parts]
        self.starts = [0, *accumulate(self.sizes)]

    def __len__(self) -> int:
        return self.starts[-1]

    def __getitem__(self, index: int) -> dict[str, Any]:
        task = next(number for number, end in enumerate(self.starts[1:]) if index < end)
        place = index - self.starts[task]
        if place < len(self.parts[task]):
            return {**self.parts[task][place], "task": task}
        row = self.parts[task][0]
        none = IGNORED if isinstance(row["labels"], int) else [IGNORED] * len(row["labels"])
        return {**row, "labels": none, "task": task}


def mixed_batch(rows: Sequence[dict[str, Any]], collates: Sequence[Collate]) -> dict[str, Any]:
    """Return what the rows' own task makes of them, and its number ``task``.

    Labels, and ``marked``, are (batch, length) for every task: a text's label is (batch, 1).
    """
    (task,) = {row["task"] for row in rows}
    batch = collates[task]([{name: value for name, value in row.items() if name != "task"} for row in rows])
    wide = {name: batch[name].reshape(len(rows), -1) for name in ("labels", "marked")}
    return {**batch, **wide, "task": task}
