"""The machine behind a figure, described without importing what is described."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from edgecompress.records import Host
from edgecompress.runtime.kernels import CPUINFO, cpu_fields
from edgecompress.runtime.session import usable_cores

GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
LIBRARIES = ("edgecompress", "onnxruntime", "tokenizers", "numpy", "torch", "transformers")
# The instruction sets that decide which kernels onnxruntime takes.
FLAGS = (
    *("avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16"),
    *("neon", "asimd", "asimddp", "i8mm", "sve", "bf16"),
)


def host(cpuinfo: Path = CPUINFO) -> Host:
    """Describe this machine: CPU, the cores that this process may use, memory in GB, library versions.

    ``memory_gb`` is 0.0 and ``flags`` is empty where the system does not tell them (outside Linux).
    """
    lines = cpu_fields(cpuinfo)
    known = f"{lines.get('flags', '')} {lines.get('Features', '')}".split()
    return Host(
        cpu=lines.get("model name") or lines.get("Model") or platform.processor() or platform.machine(),
        cores=usable_cores(),
        flags=tuple(flag for flag in FLAGS if flag in known),
        memory_gb=_memory_gb(),
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        versions={name: found for name in LIBRARIES if (found := _version(name)) is not None},
        governor=GOVERNOR.read_text(encoding="utf-8").strip() if GOVERNOR.is_file() else "",
        load=round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else 0.0,
    )


def _memory_gb() -> float:
    if "SC_PHYS_PAGES" not in getattr(os, "sysconf_names", {}):
        return 0.0
    return round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9, 1)


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
