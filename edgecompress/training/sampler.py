"""Which rows an epoch has, in which order: always by the seed and the epoch alone, so that training can be resumed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from transformers.trainer_pt_utils import get_length_grouped_indices

from edgecompress.options import Sampling

if TYPE_CHECKING:
    from datasets import Dataset


class EpochSampler:
    """A permutation that depends on the seed and the epoch alone, so that a resumed epoch continues the same one.

    With ``lengths``, texts of similar length meet in a batch: padding is computed like any other token.
    """

    def __init__(self, count: int, batch_size: int, seed: int, lengths: list[int] | None = None) -> None:
        self.count, self.batch_size, self.seed, self.lengths, self.epoch = count, batch_size, seed, lengths, 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the permutation; accelerate calls this at the start of each epoch."""
        self.epoch = int(epoch)

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        if self.lengths is None:
            return iter(torch.randperm(self.count, generator=generator).tolist())
        return iter(get_length_grouped_indices(self.lengths, self.batch_size, generator=generator))


class TaskSampler:
    """The rows of an epoch of a ``Mixture``, ``batch_size`` of one task at a time, tasks in random order.

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
            near = [(more > 0 or found[task] > 1, more * (wanted[task] - found[task])) for task in range(len(found))]
            nearest = near.index(max(near))  # the last batch of a task goes only where there are fewer than tasks
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
