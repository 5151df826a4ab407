"""An aarch64 userland with the base install, made without privileges: Debian's packages unpacked, wheels beside them.

debootstrap fetches and checks the packages; nothing of them is run to set them up, as Python needs none of that.
Programs then run under `qemu-aarch64 -L`, which looks for their files in the userland first: no chroot, no binfmt.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click

ROOT = Path(__file__).resolve().parents[1]
SUITE, PYTHON = "bookworm", "3.11"  # the suite's Python
MIRROR = "http://deb.debian.org/debian"
PLATFORMS = ("manylinux_2_28_aarch64", "manylinux_2_27_aarch64", "manylinux_2_17_aarch64", "manylinux2014_aarch64")
NEEDED = {  # program → Debian's package
    "qemu-aarch64": "qemu-user",
    "debootstrap": "debootstrap",
    "dpkg-deb": "dpkg",
    **({} if os.geteuid() == 0 else {"fakeroot": "fakeroot"}),
}
# The names of the bits of AT_HWCAP and AT_HWCAP2, as Linux shows them in /proc/cpuinfo (arch/arm64/kernel/cpuinfo.c).
HWCAP = """
fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm jscvt fcma lrcpc dcpop sha3 sm3 sm4
asimddp sha512 sve asimdfhm dit uscat ilrcpc flagm ssbs sb paca pacg
"""
HWCAP2 = """
dcpodp sve2 sveaes svepmull svebitperm svesha3 svesm4 flagm2 frint svei8mm svef32mm svef64mm svebf16 i8mm bf16 dgh rng
bti mte ecv afp rpres mte3 sme smei16i64 smef64f64 smei8i32 smef16f32 smeb16f32 smef32f32 smefa64
"""
# Prints the two words, and MIDR_EL1 (`mrs x0, midr_el1; ret`), which the emulator lets programs read as Linux does.
PROBE = """
import ctypes, mmap, struct
tell = ctypes.CDLL(None).getauxval
tell.restype, tell.argtypes = ctypes.c_ulong, [ctypes.c_ulong]
page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
page.write(struct.pack("<2I", 0xD5380000, 0xD65F03C0))
midr = ctypes.CFUNCTYPE(ctypes.c_uint64)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
print(tell(16), tell(26), midr())
"""


@dataclass(frozen=True)
class Cpu:
    """``model`` as `qemu-aarch64 -cpu` takes it; ``identity``: MIDR_EL1 as programs are shown it (0: the model's)."""

    model: str
    does: str
    identity: int = 0


# `max` has no maker, of which onnxruntime's CPU detection dies: it is shown as the core that has the same instructions.
CPUS = {
    "cortex-a53": Cpu("cortex-a53", "plain NEON, as of a Raspberry Pi 3; a Cortex-A72 has the same instructions"),
    "neoverse-n1": Cpu("neoverse-n1", "int8 dot products, as of a Raspberry Pi 5 (Cortex-A76)"),
    "neoverse-n2": Cpu("max,sme=off,sve-max-vq=1", "int8 matrix products, bf16 and SVE, as of new servers", 0x410FD490),
}


@dataclass(frozen=True)
class Userland:
    """``system`` is the unpacked Debian, ``wheels`` the folder that pip filled."""

    system: Path
    wheels: Path

    def command(self, cpu: str, *words: str) -> list[str]:
        """Return a command that runs the userland's Python on ``cpu``, a row of CPUS."""
        python = str(self.system / "usr" / "bin" / f"python{PYTHON}")
        return ["qemu-aarch64", "-cpu", CPUS[cpu].model, "-L", str(self.system), python, *words]

    def environment(self) -> dict[str, str]:
        """Return the variables that the command needs: edgecompress is this checkout's."""
        return {**os.environ, "PYTHONPATH": f"{ROOT}:{self.wheels}", "PYTHONDONTWRITEBYTECODE": "1"}


def lacking() -> str:
    """Return one line that says what is missing and how to get it, "" when all is there."""
    missing = {name: package for name, package in NEEDED.items() if not shutil.which(name, path=_path())}
    if not missing:
        return ""
    return (
        f"needs {', '.join(missing)}: run `apt-get install --no-install-recommends {' '.join(missing.values())}` on a "
        f"Debian or Ubuntu and try again"
    )


def _path() -> str:
    return f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"  # debootstrap lies there


def make(work: Path) -> Userland:
    """Return the userland in ``work``, made first where it is not there. Raises ClickException where a step fails."""
    made = Userland(work / "system", work / "wheels")
    ready = work / ".userland"
    wanted = "\n".join([SUITE, *dependencies(), (ROOT / "constraints.txt").read_text(encoding="utf-8")])
    if ready.is_file() and ready.read_text(encoding="utf-8") == wanted:
        return made
    for folder in (made.system, made.wheels):
        shutil.rmtree(folder, ignore_errors=True)
    work.mkdir(parents=True, exist_ok=True)
    _unpack(made.system, work)
    _install(made.wheels, work)
    ready.write_text(wanted, encoding="utf-8")
    return made


def dependencies() -> list[str]:
    """Return what the base install needs."""
    with (ROOT / "pyproject.toml").open("rb") as handle:
        return list(tomllib.load(handle)["project"]["dependencies"])


def _unpack(system: Path, work: Path) -> None:
    click.echo(f"unpacking {SUITE}'s Python for arm64 …")
    root = [] if os.geteuid() == 0 else ["fakeroot"]
    words = ["debootstrap", "--foreign", "--arch=arm64", "--variant=minbase", "--include=python3,ca-certificates"]
    _run([*root, *words, SUITE, str(system), MIRROR], work / "debootstrap.log")
    archives = system / "var" / "cache" / "apt" / "archives"
    for package in sorted(archives.glob("*.deb")):
        _run(["dpkg-deb", "-x", str(package), str(system)], work / "dpkg.log")
    shutil.rmtree(archives)


def _install(wheels: Path, work: Path) -> None:
    click.echo("fetching wheels for aarch64 …")
    words = [sys.executable, "-m", "pip", "install", "--only-binary=:all:", "--implementation=cp"]
    words += [f"--platform={name}" for name in PLATFORMS]
    words += [f"--python-version={PYTHON}", f"--target={wheels}", f"--constraint={ROOT / 'constraints.txt'}"]
    _run([*words, *dependencies()], work / "pip.log")


def _run(words: Sequence[str], log: Path) -> None:
    with log.open("w", encoding="utf-8") as out:
        done = subprocess.run(words, stdout=out, stderr=out, check=False, env={**os.environ, "PATH": _path()})
    if done.returncode:
        last = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
        raise click.ClickException(f"{words[0]} failed ({' '.join(last)[:160]}): see {log}, and run the same again")


def introduce(userland: Userland, cpu: str) -> list[str]:
    """Write the userland's /proc/cpuinfo as Linux would on ``cpu``, a row of CPUS, and return the CPU's features.

    qemu shows programs the host's own file, and onnxruntime's CPU detection dies of an x86 CPU's.
    """
    told = subprocess.run(
        userland.command(cpu, "-c", PROBE), capture_output=True, text=True, check=False, env=userland.environment()
    )
    if told.returncode:
        why = json.dumps(told.stderr.strip()[-160:])
        raise click.ClickException(f"the userland's Python does not run on {cpu} ({why}): see `qemu-aarch64 -cpu help`")
    first, second, midr = map(int, told.stdout.split())
    midr = CPUS[cpu].identity or midr
    features = [name for bit, name in enumerate(HWCAP.split()) if first >> bit & 1]
    features += [name for bit, name in enumerate(HWCAP2.split()) if second >> bit & 1]
    fields = {
        "processor": "0",
        "model name": f"qemu {cpu}",
        "Features": " ".join(features),
        "CPU implementer": hex(midr >> 24 & 0xFF),
        "CPU architecture": "8",
        "CPU variant": hex(midr >> 20 & 0xF),
        "CPU part": f"0x{midr >> 4 & 0xFFF:03x}",
        "CPU revision": str(midr & 0xF),
    }
    (userland.system / "proc").mkdir(exist_ok=True)
    text = "".join(f"{name}\t: {value}\n" for name, value in fields.items())
    (userland.system / "proc" / "cpuinfo").write_text(f"{text}\n", encoding="utf-8")
    return features
