"""Where int8 sums overflow, the user is told, once and in one line."""

from __future__ import annotations

import warnings
from dataclasses import replace

import pytest
from tiny_artifact import write_artifact

from edgecompress.artifact import seal
from edgecompress.export.schemes import SCHEMES
from edgecompress.runtime import kernels

HASWELL = "flags\t\t: fpu sse4_2 avx avx2\n"
CPUS = {
    "Haswell": ("fpu avx avx2", True),
    "Skylake-SP": ("avx2 avx512f avx512bw", True),
    "Zen 4": ("avx2 avx512f avx512_vnni", False),
    "Alder Lake": ("avx2 avx_vnni", False),
    "not x86, or not Linux": ("", False),
}


def signed_in_8_bits(scheme):
    """Whether the table says that weights are signed and use all 8 bits, in products of integers."""
    return scheme.weights in ("dynamic", "static") and not {"reduced", "unsigned"} & set(scheme.options)


@pytest.mark.parametrize("cpu", CPUS)
def test_sums_overflow_on_x86_without_vnni_alone(cpu):
    flags, overflows = CPUS[cpu]
    found = {name for name in SCHEMES if kernels.saturates(name, flags.split())}
    assert found == {name for name, scheme in SCHEMES.items() if overflows and signed_in_8_bits(scheme)}


def test_opening_an_artifact_tells_of_it(tmp_path, monkeypatch, run):
    (tmp_path / "cpuinfo").write_text(HASWELL)
    monkeypatch.setattr(kernels, "CPUINFO", tmp_path / "cpuinfo")
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
