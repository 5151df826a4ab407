"""What a frozen teacher said of each packed sequence, kept on disk: asked once, remembered in every later pass.

A twelve-layer teacher costs twice the forward and backward pass of the student it teaches, so that a second pass over
the same text is three times as fast as the first. Values are bfloat16, mapped from a file: memory use does not grow.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

_BYTES = 2  # of a bfloat16
_SPARE = 2**30  # bytes that stay free for checkpoints and results


@dataclass(frozen=True)
class Memory:
    """``values`` (sequences, parts, length, width) and ``known`` (sequences,), which of them have been asked."""

    values: Tensor
    known: Tensor


def open_memory(folder: Path, shape: tuple[int, int, int, int]) -> Memory | None:
    """Map the memory, (sequences, parts, length, width), from ``folder``, or go on with an earlier one.

    The disk space is taken at once; None where there is not enough, or it cannot be taken. What another boot of the
    machine wrote is forgotten: after a power cut nobody knows what of it has reached the disk.
    """
    size = shape[0] * shape[1] * shape[2] * shape[3]
    values, known = folder / "teacher.bin", folder / f"teacher-{_boot()}.known"
    if not values.exists() or values.stat().st_size != size * _BYTES or not known.exists():
        for old in (*folder.glob("teacher-*.known"), values):
            old.unlink(missing_ok=True)
        if not _reserve(values, size * _BYTES):
            values.unlink(missing_ok=True)
            return None
    mapped = torch.from_file(str(values), shared=True, size=size, dtype=torch.bfloat16)
    return Memory(mapped.view(shape), torch.from_file(str(known), shared=True, size=shape[0], dtype=torch.bool))


def _boot() -> str:
    """Return what tells this boot of the machine from others; where that is not known, this process from others."""
    path = Path("/proc/sys/kernel/random/boot_id")
    return path.read_text(encoding="ascii").strip() if path.exists() else f"{os.getpid()}"


def _reserve(path: Path, size: int) -> bool:
    """Make a file of ``size`` bytes that the disk really has: a sparse one would end the process on a full disk."""
    if not hasattr(os, "posix_fallocate") or shutil.disk_usage(path.parent).free < size + _SPARE:
        return False
    try:
        with path.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, size)
    except OSError:
        return False
    return True


def recall(memory: Memory, sequences: Tensor) -> tuple[Tensor, ...] | None:
    """Return the parts (batch, length, width) of these sequences, None unless all are known."""
    if not bool(memory.known[sequences].all()):
        return None
    return tuple(memory.values[sequences].unbind(1))


def remember(memory: Memory, sequences: Tensor, parts: Sequence[Tensor]) -> None:
    """Write the parts (batch, length, width) of these sequences down; those of several short ones fill a row."""
    _, _, length, width = memory.values.shape
    rows = [part.reshape(len(sequences), length, width) for part in parts]
    memory.values[sequences] = torch.stack(rows, 1).to(memory.values)
    memory.known[sequences] = True
