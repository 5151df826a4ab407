"""What this CPU's int8 instructions do to a sum: on old x86 they overflow, and nothing else tells."""

from __future__ import annotations

import warnings
from collections.abc import Collection
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
_VNNI = {"avx512_vnni", "avx_vnni", "amx_int8"}
_SIGNED = ("dynamic-int8", "int8", "int4", "static-int8")  # schemes whose weights are signed and use all 8 bits
_SAFE = "-reduced"


class SaturationWarning(UserWarning):
    """An artifact's int8 sums overflow on this CPU, so that labels may differ from those of other machines."""


def cpu_fields(path: Path = CPUINFO) -> dict[str, str]:
    """Return the first value of every field in a file of the form of /proc/cpuinfo; none when there is no such file."""
    fields: dict[str, str] = {}
    if path.is_file():
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            fields.setdefault(name.strip(), value.strip())
    return fields


def saturates(scheme: str, flags: Collection[str]) -> bool:
    """Whether products of ``scheme`` overflow on a CPU with these ``flags``, as /proc/cpuinfo names instructions.

    x86 without VNNI adds pairs of u8·s8 products in 16 bits (VPMADDUBSW). False where the system tells no flags.
    """
    return "avx2" in flags and _VNNI.isdisjoint(flags) and scheme.startswith(_SIGNED) and not scheme.endswith(_SAFE)


def warn_if_saturating(scheme: str) -> None:
    """Give a :class:`SaturationWarning` where products of ``scheme`` overflow on this CPU."""
    if saturates(scheme, cpu_fields(CPUINFO).get("flags", "").split()):
        warnings.warn(
            f"this CPU has no VNNI instructions: sums of {scheme} overflow on it, and labels may differ from those of "
            f"other machines; quantize with --scheme int8-tables4{_SAFE}, or take the fp32 artifact",
            SaturationWarning,
            stacklevel=4,
        )
