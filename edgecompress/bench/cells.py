"""What is timed: shapes, threads, and for how long. Presets name what MLPerf Inference calls scenarios."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Literal

from edgecompress.errors import InputError

REAL: Literal["real"] = "real"
Length = int | Literal["real"]
Cell = tuple[int, Length]  # batch, and tokens a text or "real"


@dataclass(frozen=True)
class Plan:
    """The grid of a run, and its budget.

    ``threads`` 0 are all usable cores. Each subject and cell is timed for at least ``seconds`` and ``iterations``,
    spread over ``rounds`` turns. A subject that does not answer for ``time_limit`` seconds beyond its turn is ended.
    ``headline`` is the metric that tables show.
    """

    batches: tuple[int, ...] = (1, 8)
    lengths: tuple[Length, ...] = (32, 128)
    threads: tuple[int, ...] = (1,)
    seconds: float = 2.0
    rounds: int = 5
    iterations: int = 50
    time_limit: float = 300.0
    device: str = "cpu"
    dtype: str = "float32"
    headline: str = "latency_p50"
    preset: str = ""

    @property
    def cells(self) -> tuple[Cell, ...]:
        """Every batch with every length."""
        return tuple(product(self.batches, self.lengths))


# MLPerf Inference (arXiv 1911.02549, table II): single-stream is judged by the 90th percentile, offline by throughput.
PRESETS: Mapping[str, Plan] = {
    "single-stream": Plan((1,), (REAL,), (0,), headline="latency_p90", preset="single-stream"),
    "offline": Plan((32,), (REAL,), (0,), headline="throughput", preset="offline"),
    "edge": Plan((1,), (REAL,), (1,), preset="edge"),
}


def preset(name: str | None, base: Plan) -> Plan:
    """Return the preset's grid with ``base``'s budget and device; without a name, ``base``."""
    if name is None:
        return base
    chosen = PRESETS[name]
    return replace(
        base,
        batches=chosen.batches,
        lengths=chosen.lengths,
        threads=chosen.threads,
        headline=chosen.headline,
        preset=name,
    )


def numbers(text: str, what: str, least: int) -> tuple[int, ...]:
    """Read "1,8". Raises InputError for anything else than whole numbers from ``least``."""
    return tuple(dict.fromkeys(_number(part, what, least) for part in text.split(",")))


def lengths(text: str) -> tuple[Length, ...]:
    """Read "32,128,real". Raises InputError for anything else."""
    parts = [part.strip() for part in text.split(",")]
    return tuple(dict.fromkeys(REAL if part == REAL else _number(part, "--length", 1, ", or real") for part in parts))


def named(cell: Cell) -> str:
    """Return "1×32" or "1×real"."""
    return f"{cell[0]}×{cell[1]}"


def _number(text: str, what: str, least: int, more: str = "") -> int:
    if not text.strip().isdecimal() or int(text) < least:
        raise InputError(f"{what} {text.strip()!r}: give whole numbers from {least}, separated by commas{more}")
    return int(text)
