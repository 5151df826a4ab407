"""A server that loads its models again holds the memory of one generation."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

CODE = """
import sys
from edgecompress.bench.memory import resident
from edgecompress.serve.memory import hold_less

if "held" in sys.argv:
    hold_less()
bytearray(20_000_000)  # glibc raises the size of what it takes from the system to that of what is freed
kept, before = [], resident()["now"]
for _ in range(4):
    weights = [bytearray(4_000_000) for _ in range(10)]
    kept.append([bytearray(60_000) for _ in range(9)])  # stays in use behind them: the heap cannot shrink past it
    del weights
print(resident()["now"] - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries are left alone")
def test_weights_go_back_as_soon_as_they_are_freed():
    left = {
        how: int(subprocess.run([sys.executable, "-c", CODE, how], capture_output=True, text=True, check=True).stdout)
        for how in ("held", "free")
    }
    assert left["held"] < 10e6 < left["free"]
