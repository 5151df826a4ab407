"""The written folder, without a browser: complete, named by content, closed to the outside."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from tiny_artifact import LABELS, write_artifact

from edgecompress.cli import group
from edgecompress.errors import ArtifactError, InputError, OutputError
from edgecompress.web import vendor
from edgecompress.web.site import Wording, describe, note, write_site


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder of stand-ins for the packages, with digests that fit."""
    made = []
    for package in vendor.PACKAGES:
        digests = {}
        for name in package.files:
            file = tmp_path / "modules" / package.name / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"// {package.name}/{name}")
            digests[name] = hashlib.sha256(file.read_bytes()).hexdigest()
        made.append(replace(package, files=digests))
    monkeypatch.setattr(vendor, "PACKAGES", tuple(made))
    return tmp_path / "modules"


def listed(folder: Path, name: str) -> list[str]:
    found = re.search(rf"const {name} = (\[.*?\]);", (folder / "sw.js").read_text("utf-8"))
    assert found
    files: list[str] = json.loads(found[1])
    return files


def test_the_worker_lists_every_file_under_its_digest(tmp_path: Path, modules: Path) -> None:
    site = write_site(write_artifact(tmp_path / "a", "ner"), tmp_path / "s", wording=Wording("t"), vendor=modules)
    files = {path.relative_to(site.folder).as_posix(): path for path in site.folder.rglob("*") if path.is_file()}
    assert {*listed(site.folder, "SMALL"), *listed(site.folder, "LARGE")} == {"./", *files} - {"index.html", "sw.js"}
    assert site.sizes == {name: path.stat().st_size for name, path in files.items()}
    for name, path in files.items():
        if name.startswith("files/"):
            assert hashlib.sha256(path.read_bytes()).hexdigest().startswith(name.split(".")[1])
    assert len(listed(site.folder, "LARGE")) == 3


def test_the_page_allows_itself_alone(tmp_path: Path, modules: Path) -> None:
    title = '<b onclick="x">&'
    site = write_site(write_artifact(tmp_path / "a"), tmp_path / "s", wording=Wording(title), vendor=modules)
    page = (site.folder / "index.html").read_text("utf-8")
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy
    assert "default-src 'none'" in policy[1]
    assert "script-src 'self' 'wasm-unsafe-eval';" in policy[1]
    assert "unsafe-inline" not in policy[1]
    assert not re.search(r"<script(?![^>]*\ssrc=)|\son\w+=(?!\S*&)|style=|<style", page)
    assert "&lt;b onclick=&quot;x&quot;&gt;&amp;" in page
    assert "{{" not in page + (site.folder / "sw.js").read_text("utf-8")
    links = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert [link for link in links if link.startswith(("/", "http"))] == []
    assert all((site.folder / link).is_file() for link in links if link != "data:,")


def test_the_same_artifact_gives_the_same_bytes_and_another_one_another_version(tmp_path: Path, modules: Path) -> None:
    def worker(task: str, name: str, title: str = "t") -> str:
        made = write_artifact(tmp_path / task, task)
        return (write_site(made, tmp_path / name, wording=Wording(title), vendor=modules).folder / "sw.js").read_text()

    one = worker("ner", "1")
    assert worker("ner", "2") == one
    assert worker("pos", "3") != one
    assert worker("ner", "4", "another title") != one


@pytest.mark.parametrize(("task", "unseen"), [("ner", "O"), ("pos", "X"), ("topic", "culture")])
def test_what_the_page_is_told(tmp_path: Path, task: str, unseen: str) -> None:
    about = describe(write_artifact(tmp_path, task, max_length=9), Wording("t", ("x",), "sk"))
    assert about["labels"] == list(LABELS[task])
    assert (about["unseen"], about["max_length"], about["spans"]) == (unseen, 9, task == "ner")
    assert bool(about["word_pattern"]) == (task in ("ner", "pos"))


def test_weights_in_files_of_their_own_are_refused(tmp_path: Path) -> None:
    artifact = write_artifact(tmp_path)
    apart = replace(artifact, checksums={**artifact.checksums, "model.onnx.data": "0"})
    with pytest.raises(InputError, match=r"model\.onnx\.data.*quantize it first"):
        describe(apart, Wording("t"))


def test_a_text_task_that_reads_words_is_refused(tmp_path):
    with pytest.raises(ArtifactError, match="reads the words of a text to label it"):
        describe(replace(write_artifact(tmp_path), word_pattern=r"\w+"), Wording("t"))


def test_nothing_is_written_over_without_being_asked(tmp_path: Path, modules: Path) -> None:
    artifact = write_artifact(tmp_path / "a")
    site = write_site(artifact, tmp_path / "s", wording=Wording("t"), vendor=modules)
    before = (site.folder / "index.html").read_bytes()
    with pytest.raises(OutputError, match="not empty"):
        write_site(artifact, tmp_path / "s", wording=Wording("other"), vendor=modules)
    assert (site.folder / "index.html").read_bytes() == before
    write_site(artifact, tmp_path / "s", wording=Wording("other"), vendor=modules, replace=True)
    assert "<h1>other</h1>" in (site.folder / "index.html").read_text("utf-8")


def test_a_folder_of_something_else_is_never_replaced(tmp_path: Path, modules: Path) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "thesis.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"thesis\.txt"):
        write_site(write_artifact(tmp_path / "a"), tmp_path / "s", wording=Wording("t"), vendor=modules, replace=True)
    assert (tmp_path / "s" / "thesis.txt").read_text() == "mine"


def test_a_character_map_that_browsers_do_nearly_is_named(tmp_path: Path) -> None:
    artifact = write_artifact(tmp_path)
    assert note(artifact) == ""
    told = json.loads(artifact.tokenizer_path.read_text("utf-8"))
    told["normalizer"] = {"type": "Precompiled", "precompiled_charsmap": "AAAA"}
    artifact.tokenizer_path.write_text(json.dumps(told), "utf-8")
    assert "NFKC" in note(artifact)


def test_the_command(tmp_path: Path, modules: Path) -> None:
    write_artifact(tmp_path / "tiny", "topic")
    words = ["export-web", str(tmp_path / "tiny"), "-o", str(tmp_path / "s"), "--vendor", str(modules)]
    done = CliRunner().invoke(group, [*words, "--example", "good film"])
    assert done.exit_code == 0, done.output
    assert "12 files" in done.output
    told = json.loads(next((tmp_path / "s" / "files").glob("site.*.json")).read_text("utf-8"))
    assert (told["title"], told["examples"]) == ("tiny", ["good film"])
