"""Where int8 sums overflow, the user is told, once and in one line."""

from __future__ import annotations

import warnings
from dataclasses import replace

import pytest
from tiny_artifact import write_artifact

from edgecompress.artifact import seal
from edgecompress.export.schemes import SCHEMES
from edgecompress.runtime import kernels

CPUS = {
    "Haswell": ("flags\t\t: fpu sse4_2 avx avx2\n", True),
    "Skylake-SP": ("flags\t\t: avx2 avx512f avx512bw\n", True),
    "Zen 4": ("flags\t\t: avx2 avx512f avx512_vnni\n", False),
    "Alder Lake": ("flags\t\t: avx2 avx_vnni\n", False),
    "Raspberry Pi 5": ("Features\t: fp asimd asimddp\n", False),
    "not Linux": (None, False),
}
EXACT = {
    "optimized",
    "dynamic-uint8",
    "dynamic-int8-reduced",
    "int8-tables4-reduced",
    "weight-int8",
    "weight-int4",
    "fp16",
}


@pytest.mark.parametrize("cpu", CPUS)
def test_sums_overflow_on_x86_without_vnni_alone(tmp_path, cpu):
    text, overflows = CPUS[cpu]
    if text is not None:
        (tmp_path / "cpuinfo").write_text(text)
    found = {scheme for scheme in SCHEMES if kernels.saturates(scheme, tmp_path / "cpuinfo")}
    assert found == (set(SCHEMES) - EXACT if overflows else set())


def test_opening_an_artifact_tells_of_it(tmp_path, monkeypatch, run):
    (tmp_path / "cpuinfo").write_text(CPUS["Haswell"][0])
    monkeypatch.setattr(kernels.saturates, "__defaults__", (tmp_path / "cpuinfo",))
    monkeypatch.setattr(kernels.warn_if_saturating, "__defaults__", (tmp_path / "cpuinfo",))
    seal(replace(write_artifact(tmp_path / "int8", "sentiment"), scheme="int8-tables4"))
    write_artifact(tmp_path / "fp32", "sentiment")
    with pytest.warns(kernels.SaturationWarning) as told:
        code, _, _ = run("predict", tmp_path / "int8", "good")
    assert (code, len(told)) == (0, 1)
    written = warnings.formatwarning(told[0].message, told[0].category, told[0].filename, told[0].lineno)
    assert written.startswith("edgecompress: this CPU has no VNNI")  # on stderr, when nobody records warnings
    assert "--scheme int8-tables4-reduced" in written
    assert written.count("\n") == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert run("predict", tmp_path / "fp32", "good")[0] == 0
