"""What a frozen teacher said of each packed sequence, kept on disk: asked once, remembered in every later pass.

A twelve-layer teacher costs twice the forward and backward pass of the student it teaches, so that a second pass over
the same text is three times as fast as the first. Values are bfloat16, mapped from a file: memory use does not grow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from edgecompress.files import need_space

_BYTES = 2  # of a bfloat16


@dataclass(frozen=True)
class Memory:
    """``values`` (sequences, parts, length, width) and ``known`` (sequences,), which of them have been asked."""

    values: Tensor
    known: Tensor


def open_memory(folder: Path, shape: tuple[int, int, int, int], *, rank: int = 0) -> Memory:
    """Map this process's memory, (sequences, parts, length, width), from ``folder``, or go on with an earlier one.

    Raises OutputError when the disk has no room for it.
    """
    size = shape[0] * shape[1] * shape[2] * shape[3]
    values, known = folder / f"teacher-{rank}.bin", folder / f"teacher-{rank}.known"
    if not values.exists() or values.stat().st_size != size * _BYTES:
        need_space(folder, size * _BYTES)
        known.unlink(missing_ok=True)
    mapped = torch.from_file(str(values), shared=True, size=size, dtype=torch.bfloat16)
    return Memory(mapped.view(shape), torch.from_file(str(known), shared=True, size=shape[0], dtype=torch.bool))


def recall(memory: Memory, sequences: Tensor) -> tuple[Tensor, ...] | None:
    """Return the parts (batch, length, width) of these sequences, None unless all are known."""
    if not bool(memory.known[sequences].all()):
        return None
    return tuple(memory.values[sequences].unbind(1))


def remember(memory: Memory, sequences: Tensor, parts: Sequence[Tensor]) -> None:
    """Write the parts (batch, length, width) of these sequences down."""
    memory.values[sequences] = torch.stack(list(parts), 1).to(memory.values)
    memory.known[sequences] = True
