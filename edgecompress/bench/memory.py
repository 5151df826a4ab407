"""How much memory this process takes, and how much energy the processor."""

from __future__ import annotations

import sys
from pathlib import Path

STATUS = Path("/proc/self/status")
POWERCAP = Path("/sys/class/powercap")
_KB = 1024


def resident(status: Path = STATUS) -> dict[str, int]:
    """Return the bytes of this process in memory, "now" and at its "peak"; only the peak outside Linux.

    Where the system tells neither (Windows), the result is empty.
    """
    if status.is_file():
        lines = dict(line.split(":", 1) for line in status.read_text(encoding="utf-8").splitlines() if ":" in line)
        found = {"now": lines.get("VmRSS"), "peak": lines.get("VmHWM")}
        return {name: _KB * int(value.split()[0]) for name, value in found.items() if value}
    if sys.platform == "win32":
        return {}
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"peak": peak if sys.platform == "darwin" else _KB * peak}


def energy(powercap: Path = POWERCAP) -> dict[str, tuple[int, int]]:
    """Return each processor package's energy counter and where it wraps, in µJ; empty where it may not be read.

    Intel and AMD expose it as RAPL under /sys/class/powercap: intel-rapl:N:M is a part of intel-rapl:N, and that is a
    package where its name says so; "psys" is the whole machine, packages included.
    """
    found = {}
    for folder in sorted(powercap.glob("intel-rapl:*")) if powercap.is_dir() else ():
        if folder.name.count(":") != 1:
            continue
        try:
            if not (folder / "name").read_text().startswith("package"):
                continue
            values = [int((folder / name).read_text()) for name in ("energy_uj", "max_energy_range_uj")]
        except OSError:  # most systems let only root read it: then there is no figure
            continue
        found[folder.name] = (values[0], values[1])
    return found


def joules(before: dict[str, tuple[int, int]], after: dict[str, tuple[int, int]]) -> float | None:
    """Return the energy between two readings, over all packages; None when there was nothing to read."""
    if not before or before.keys() != after.keys():
        return None
    used = [(after[name][0] - start) % (wraps + 1) for name, (start, wraps) in before.items()]
    return sum(used) / 1e6
