"""Where the page's JavaScript comes from: npm once, then the cache, or a folder; never a file that was not tested."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from pathlib import Path

import pytest

from edgecompress.errors import InputError
from edgecompress.web import vendor

CONTENT = b"export const a = 1;"
TINY = vendor.Package("@some/tiny", "1.2.3", {"dist/tiny.mjs": hashlib.sha256(CONTENT).hexdigest()})


@pytest.fixture(autouse=True)
def _tiny(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(vendor, "PACKAGES", (TINY,))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))


def fake_npm(folder: Path, content: bytes = CONTENT, code: int = 0) -> Path:
    """An npm that notes its words, and packs one file, or fails as npm does."""
    archive = folder / "made.tgz"
    with tarfile.open(archive, "w:gz") as packed:
        for name in ("package/dist/tiny.mjs", "package/other.js"):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            packed.addfile(entry, io.BytesIO(content))
    (folder / "bin").mkdir()
    npm = folder / "bin" / "npm"
    deed = f"/bin/cp {archive} tiny.tgz" if code == 0 else "echo 'npm error code ENOTFOUND' >&2"
    npm.write_text(f'#!/bin/sh\necho "$@" >> {folder / "calls"}\n{deed}\nexit {code}\n')
    npm.chmod(0o755)
    return folder / "calls"


@pytest.mark.skipif(os.name != "posix", reason="the stand-in for npm is a shell script")
class TestNpm:
    def test_is_asked_once_for_the_pinned_version(self, tmp_path: Path) -> None:
        calls = fake_npm(tmp_path)
        first, second = vendor.packages(), vendor.packages()
        assert first == second
        assert (first["@some/tiny"] / "dist" / "tiny.mjs").read_bytes() == CONTENT
        assert calls.read_text().splitlines() == ["pack --loglevel=error --ignore-scripts @some/tiny@1.2.3"]
        assert not (first["@some/tiny"] / "other.js").exists()

    def test_a_damaged_cache_is_filled_again(self, tmp_path: Path) -> None:
        calls = fake_npm(tmp_path)
        file = vendor.packages()["@some/tiny"] / "dist" / "tiny.mjs"
        file.write_bytes(b"half")
        vendor.packages()
        assert file.read_bytes() == CONTENT
        assert len(calls.read_text().splitlines()) == 2

    def test_another_file_than_the_tested_one_is_refused(self, tmp_path: Path) -> None:
        fake_npm(tmp_path, b"export const a = 2;")
        with pytest.raises(InputError, match=r"another dist/tiny\.mjs"):
            vendor.packages()
        assert not list((tmp_path / "cache").rglob("*.mjs"))

    def test_its_failure_is_one_line(self, tmp_path: Path) -> None:
        fake_npm(tmp_path, code=1)
        with pytest.raises(InputError, match=r"ENOTFOUND.*--vendor") as caught:
            vendor.packages()
        assert "\n" not in str(caught.value)


def test_without_npm_the_error_names_the_way_out() -> None:
    with pytest.raises(InputError, match=r"npm is needed once.*--vendor FOLDER"):
        vendor.packages()


@pytest.mark.parametrize("inside", ["node_modules", ""])
def test_a_folder_is_used_in_place_of_npm(tmp_path: Path, inside: str) -> None:
    given = tmp_path / "given"
    file = given / inside / "@some" / "tiny" / "dist" / "tiny.mjs"
    file.parent.mkdir(parents=True)
    file.write_bytes(CONTENT)
    assert vendor.packages(given) == {"@some/tiny": file.parents[1]}
    file.write_bytes(b"of another version")
    with pytest.raises(InputError, match=r"lacks dist/tiny\.mjs of @some/tiny@1\.2\.3"):
        vendor.packages(given)
    assert not (tmp_path / "cache").exists()


def test_a_folder_without_the_package_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"lacks the package of @some/tiny.*npm install @some/tiny@1\.2\.3"):
        vendor.packages(tmp_path)
