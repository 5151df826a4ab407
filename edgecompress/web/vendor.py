"""The JavaScript that a page needs, from npm in pinned versions, or from a folder that has it already.

A file is used only when its SHA-256 is the one below, wherever it came from, so that every page is made of the files
that were tested.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from edgecompress.errors import InputError
from edgecompress.files import new_folder, sha256
from edgecompress.progress import report

_SECONDS = 600  # npm itself gives up earlier, after its own retries


@dataclass(frozen=True)
class Package:
    """A package in the version that was tested; ``files`` maps a file's path in it to its SHA-256."""

    name: str
    version: str
    files: Mapping[str, str]


PACKAGES = (
    Package(
        "onnxruntime-web",
        "1.30.0",
        {
            # the smallest set: the build for the CPU alone, with the WebAssembly's own script inside
            "dist/ort.wasm.bundle.min.mjs": "11e64bd8ffe11bd1a2a2f0d6275fdfbbba7262f0b76b99b53d228a8a22ef3d90",
            "dist/ort-wasm-simd-threaded.wasm": "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
        },
    ),
    Package(
        "@huggingface/tokenizers",
        "0.2.0",
        {
            "dist/tokenizers.min.mjs": "258e46332101335ce8d95aed7745b19ac3b46d37f3e159a89cf894c2ea9b1d3a",
            "LICENSE": "c71d239df91726fc519c6eb72d318ec65820627232b2f796219e87dcf35d0ab4",
        },
    ),
)


def cache_folder() -> Path:
    """Return where downloads are kept between runs: XDG_CACHE_HOME, or what the system uses for it."""
    home = os.environ.get("XDG_CACHE_HOME") or (os.environ.get("LOCALAPPDATA") if sys.platform == "win32" else None)
    return (Path(home) if home else Path.home() / ".cache") / "edgecompress" / "web"


def packages(vendor: Path | None = None) -> dict[str, Path]:
    """Return a folder for every package, all files checked.

    From ``vendor`` (a folder with node_modules, or node_modules itself), else from the user's cache, which is filled by
    npm. Raises InputError, one line, when a file is missing or another one, or when npm is missing or fails.
    """
    return {one.name: _given(one, vendor) if vendor else _cached(one) for one in PACKAGES}


def _given(package: Package, vendor: Path) -> Path:
    roots = (vendor / "node_modules" / package.name, vendor / package.name)
    found = next((root for root in roots if root.is_dir()), None)
    wrong = "the package" if found is None else _first_wrong(package, found)
    if found is None or wrong:
        raise InputError(
            f"{vendor} lacks {wrong} of {package.name}@{package.version}: run `npm install "
            f"{' '.join(f'{one.name}@{one.version}' for one in PACKAGES)}` there, or leave --vendor out"
        )
    return found


def _cached(package: Package) -> Path:
    folder = cache_folder() / f"{package.name.replace('/', '+')}-{package.version}"
    if _first_wrong(package, folder):
        _download(package, folder)
    return folder


def _first_wrong(package: Package, folder: Path) -> str:
    """Return the first file that is missing or has another digest, "" when all are right."""
    for name, digest in package.files.items():
        if not (folder / name).is_file() or sha256(folder / name) != digest:
            return name
    return ""


def _download(package: Package, folder: Path) -> None:
    """Fill ``folder`` with the package's files. Raises InputError."""
    report("npm", 0, total=1, note=f"{package.name}@{package.version}")
    with TemporaryDirectory(prefix="edgecompress-") as scratch, new_folder(folder, replace=True) as draft:
        with tarfile.open(_packed(package, Path(scratch))) as archive:
            wanted = {f"package/{name}" for name in package.files}
            archive.extractall(scratch, [one for one in archive if one.name in wanted], filter="data")
        for name in package.files:
            (draft / name).parent.mkdir(parents=True, exist_ok=True)
            if (Path(scratch) / "package" / name).is_file():
                shutil.move(Path(scratch) / "package" / name, draft / name)
        wrong = _first_wrong(package, draft)
        if wrong:
            raise InputError(
                f"npm's {package.name}@{package.version} has another {wrong} than the one that was tested: use a "
                f"registry that serves the published package, or give --vendor"
            )
    report("npm", 1, total=1, note=f"{package.name}@{package.version}")


def _packed(package: Package, scratch: Path) -> Path:
    """Let npm fetch and check the package's archive into ``scratch``."""
    npm = shutil.which("npm")
    without = "or give --vendor FOLDER with node_modules from another machine"
    if npm is None:
        raise InputError(f"npm is needed once, to fetch {package.name}@{package.version}: install Node.js, {without}")
    words = [npm, "pack", "--loglevel=error", "--ignore-scripts", f"{package.name}@{package.version}"]
    try:
        done = subprocess.run(words, cwd=scratch, capture_output=True, text=True, check=False, timeout=_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise InputError(
            f"npm did not fetch {package.name}@{package.version} in {_SECONDS} s: check the connection, {without}"
        ) from error
    archives = list(scratch.glob("*.tgz"))
    if done.returncode or not archives:
        raise InputError(
            f"npm could not fetch {package.name}@{package.version} ({_why(done.stderr)}): check the connection, "
            f"{without}"
        )
    return archives[0]


def _why(stderr: str) -> str:
    lines = [line.split(maxsplit=2)[-1] for line in stderr.splitlines() if line.strip()]
    return lines[0][:160] if lines else "no reason given"
