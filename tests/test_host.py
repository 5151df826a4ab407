import json
import platform
from importlib.metadata import version

import pytest

from edgecompress.bench.host import host
from edgecompress.records import to_json
from edgecompress.runtime.session import usable_cores

X86 = "processor\t: 0\nmodel name\t: AMD EPYC\nflags\t\t: fpu avx2 avx512_vnni\n\nprocessor\t: 1\nmodel name\t: other\n"
ARM = "processor\t: 0\nFeatures\t: fp asimd asimddp\n\nHardware\t: BCM2835\nModel\t\t: Raspberry Pi 5\n"


@pytest.mark.parametrize(
    ("cpuinfo", "cpu", "flags"),
    [(X86, "AMD EPYC", ("avx2", "avx512_vnni")), (ARM, "Raspberry Pi 5", ("asimd", "asimddp"))],
)
def test_the_cpu_is_read_from_cpuinfo(tmp_path, cpuinfo, cpu, flags):
    (tmp_path / "cpuinfo").write_text(cpuinfo)
    found = host(tmp_path / "cpuinfo")
    assert (found.cpu, found.flags) == (cpu, flags)


def test_without_cpuinfo_the_platform_names_the_cpu(tmp_path):
    found = host(tmp_path / "none")
    assert (found.cpu, found.flags) == (platform.processor() or platform.machine(), ())


def test_this_machine():
    found = host()
    assert found.cores == usable_cores() >= 1
    assert found.memory_gb >= 0
    assert found.python == platform.python_version()
    assert found.versions["onnxruntime"] == version("onnxruntime")
    assert json.loads(json.dumps(to_json(found)))["cpu"] == found.cpu
