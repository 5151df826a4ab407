import sys

import pytest

from edgecompress.bench.memory import energy, joules, resident


def test_the_process_is_measured_by_what_the_kernel_says(tmp_path):
    status = tmp_path / "status"
    status.write_text("Name:\tpython\nVmHWM:\t  2048 kB\nVmRSS:\t  1024 kB\nNoColon\n")
    assert resident(status) == {"now": 1024 * 1024, "peak": 2048 * 1024}


@pytest.mark.skipif(sys.platform != "linux", reason="VmRSS is Linux's")
def test_memory_that_is_used_counts():
    before = resident()["now"]
    held = bytearray(50_000_000)
    held[::4096] = b"x" * len(held[::4096])
    assert resident()["now"] - before > 40_000_000
    assert resident()["peak"] >= resident()["now"]


def test_energy_is_read_a_package_at_a_time(tmp_path):
    zones = {"intel-rapl:0": ("package-0", 900), "intel-rapl:0:0": ("core", 5), "intel-rapl:1": ("package-1", 50),
             "intel-rapl:2": ("psys", 2000)}  # fmt: skip
    for name, (kind, used) in zones.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "name").write_text(f"{kind}\n")
        (tmp_path / name / "energy_uj").write_text(f"{used}\n")
        (tmp_path / name / "max_energy_range_uj").write_text("999\n")
    before = energy(tmp_path)
    assert before == {"intel-rapl:0": (900, 999), "intel-rapl:1": (50, 999)}
    after = {"intel-rapl:0": (100, 999), "intel-rapl:1": (250, 999)}  # the first one wrapped
    assert joules(before, after) == pytest.approx((200 + 200) / 1e6)


def test_where_it_cannot_be_read_there_is_no_figure(tmp_path):
    assert energy(tmp_path / "absent") == {}
    (tmp_path / "intel-rapl:0").mkdir()
    assert energy(tmp_path) == {}
    assert joules({}, {}) is None
