"""Several tasks' examples as one training set whose batches hold one task each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers.trainer_pt_utils import get_length_grouped_indices

from edgecompress.encoder.importance import IGNORED
from edgecompress.options import Sampling

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


class TaskSampler:
    """The rows of an epoch of a :class:`Mixture`, ``batch_size`` of one task at a time, tasks in random order.

    An epoch has as many batches as all rows fill. Each task's share of them is as ``sampling`` says, to the nearest
    batch and at least one, so nothing is left to chance but the order. A task goes through its examples, in an order
    drawn anew each time, before it meets one again, epochs' ends notwithstanding. All of it depends on the seed and the
    epoch alone, so that a resumed epoch continues the same one. Within a task, texts of similar length meet in a batch.
    """

    def __init__(self, parts: Sequence[Dataset], batch_size: int, sampling: Sampling, epochs: float, seed: int) -> None:
        self.lengths = [list(part["length"]) for part in parts]
        self.batch_size, self.sampling, self.seed, self.epoch = batch_size, sampling, seed, 0
        self.last = max(1.0, epochs - 1)
        self.count = -(-sum(map(len, self.lengths)) // batch_size)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch; accelerate calls this at the start of each."""
        self.epoch = int(epoch)

    def __len__(self) -> int:
        return self.count * self.batch_size

    def batches(self, epoch: int) -> list[int]:
        """Return how many batches each task has in this epoch."""
        begin, end = self.sampling.alpha, self.sampling.alpha_end
        power = begin + (end - begin) * min(1.0, epoch / self.last)
        weights = [len(lengths) ** power for lengths in self.lengths]
        wanted = [self.count * weight / sum(weights) for weight in weights]
        found = [max(1, int(number)) for number in wanted]
        while sum(found) != self.count:
            more = 1 if sum(found) < self.count else -1
            nearest = max(range(len(found)), key=lambda task: more * (wanted[task] - found[task]))
            found[nearest] += more
        return found

    def __iter__(self) -> Iterator[int]:
        drawn: list[list[int]] = []
        start = 0
        for task, (lengths, count) in enumerate(zip(self.lengths, self.batches(self.epoch), strict=True)):
            before = sum(self.batches(epoch)[task] for epoch in range(self.epoch))
            rows = self._rows(task, before * self.batch_size, count * self.batch_size)
            order = self._grouped([lengths[row] for row in rows], task)
            chosen = [start + rows[place] for place in order]
            drawn += [chosen[at : at + self.batch_size] for at in range(0, len(chosen), self.batch_size)]
            start += len(lengths)
        order = torch.randperm(len(drawn), generator=self._generator(len(self.lengths), self.epoch)).tolist()
        return iter([row for place in order for row in drawn[place]])

    def _rows(self, task: int, begin: int, count: int) -> list[int]:
        """Return ``count`` rows of a task from its place ``begin`` in the endless row of its permutations."""
        size = len(self.lengths[task])
        first, last = begin // size, -(-(begin + count) // size)
        turns = [torch.randperm(size, generator=self._generator(task, turn)) for turn in range(first, last)]
        rows: list[int] = torch.cat(turns)[begin - first * size :][:count].tolist() if turns else []
        return rows

    def _grouped(self, lengths: list[int], task: int) -> list[int]:
        generator = self._generator(len(self.lengths) + 1 + task, self.epoch)
        order: list[int] = get_length_grouped_indices(lengths, self.batch_size, generator=generator) if lengths else []
        return order

    def _generator(self, purpose: int, number: int) -> torch.Generator:
        return torch.Generator().manual_seed((self.seed * 1_000_003 + number) * 1009 + purpose)
