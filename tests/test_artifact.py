import json
from dataclasses import replace

import pytest
from tiny_artifact import write_artifact

from edgecompress.artifact import MANIFEST, open_artifact, seal
from edgecompress.errors import ArtifactError
from edgecompress.records import Step


def edit(folder, **changes):
    path = folder / MANIFEST
    manifest = json.loads(path.read_text(encoding="utf-8")) | changes
    path.write_text(json.dumps({k: v for k, v in manifest.items() if v != "DROP"}), encoding="utf-8")


def refused(folder):
    with pytest.raises(ArtifactError) as caught:
        open_artifact(folder)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("task", ["topic", "ner", "pos"])
def test_what_is_sealed_is_what_is_opened(tmp_path, task):
    written = write_artifact(tmp_path / "a", task)
    assert open_artifact(tmp_path / "a") == written
    assert open_artifact(str(tmp_path / "a")) == written
    assert set(written.checksums) == {"model.onnx", "tokenizer.json"}


def test_history_and_files_in_subfolders_are_kept(tmp_path):
    (tmp_path / "a/extra").mkdir(parents=True)
    (tmp_path / "a/extra/notes.md").write_text("x")
    draft = replace(
        write_artifact(tmp_path / "a"), history=(Step("distill", {"layers": 6}, 10, 1.5, {"loss": 0.1}, "k"),)
    )
    sealed = seal(draft)
    assert "extra/notes.md" in sealed.checksums
    assert open_artifact(tmp_path / "a") == sealed


def test_a_file_added_later_is_not_an_error(tmp_path):
    write_artifact(tmp_path / "a")
    (tmp_path / "a/later.txt").write_text("x")
    assert "later.txt" not in open_artifact(tmp_path / "a").checksums


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json"])
def test_a_changed_or_missing_file_is_named(tmp_path, name):
    write_artifact(tmp_path / "a")
    path = tmp_path / "a" / name
    path.write_bytes(path.read_bytes() + b" ")
    assert f"{name} has changed" in refused(tmp_path / "a")
    path.unlink()
    assert f"lacks {name}" in refused(tmp_path / "a")


def test_what_is_no_artifact_is_refused(tmp_path):
    assert "not a folder" in refused(tmp_path / "none")
    assert f"holds no {MANIFEST}" in refused(tmp_path)


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe", b"[1]", b"null", b"[" * 100_000])
def test_a_damaged_manifest_is_refused(tmp_path, content):
    (tmp_path / MANIFEST).write_bytes(content)
    assert MANIFEST in refused(tmp_path)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"format": 3}, "format 3 is newer than this edgecompress knows (2): upgrade"),
        ({"format": 2}, "is a pack of several heads, and this takes one artifact: give one of those that were packed"),
        ({"format": "1"}, "'format' is '1'"),
        ({"format": "DROP"}, "'format' is None"),
        ({"task": "parsing"}, "'task' is 'parsing', not one of topic, sentiment, ner, pos"),
        ({"task": ["ner"]}, "'task' is ['ner']"),
        ({"task": "ner"}, "needs a 'word_pattern'"),
        ({"labels": []}, "'labels' is []"),
        ({"labels": ["a", "a"]}, "'labels'"),
        ({"labels": ["a", 1]}, "'labels'"),
        ({"labels": "DROP"}, "'labels' is missing"),
        ({"max_length": 0}, "'max_length' is 0"),
        ({"max_length": True}, "'max_length' is True"),
        ({"pad_id": -1}, "'pad_id' is -1"),
        ({"parameters": 1.5}, "'parameters' is 1.5"),
        ({"scheme": ""}, "'scheme' is ''"),
        ({"word_pattern": "("}, "'word_pattern' is '('"),
        ({"history": [1]}, "'history'"),
        ({"history": [{"stage": "x", "novelty": 1}]}, "upgrade edgecompress"),
        ({"checksums": ["model.onnx"]}, "'checksums'"),
        ({"checksums": {}}, "model.onnx has no checksum"),
        ({"model_file": "other.onnx"}, "other.onnx has no checksum"),
    ],
)
def test_a_wrong_field_is_named(tmp_path, changes, said):
    write_artifact(tmp_path)
    edit(tmp_path, **changes)
    assert said in refused(tmp_path)


@pytest.mark.parametrize(
    "name", ["../out.txt", "/etc/passwd", "a/../../out.txt", "", ".", "C:x", "..\\out.txt", "a\0b"]
)
def test_names_cannot_point_outside(tmp_path, name):
    checksums = write_artifact(tmp_path / "a").checksums
    (tmp_path / "out.txt").write_text("secret")
    edit(tmp_path / "a", checksums={name: "0", **checksums})
    assert "points outside the folder" in refused(tmp_path / "a")


def test_links_cannot_point_outside(tmp_path):
    checksums = write_artifact(tmp_path / "a").checksums
    (tmp_path / "out.txt").write_text("secret")
    (tmp_path / "a/link.txt").symlink_to(tmp_path / "out.txt")
    edit(tmp_path / "a", checksums={"link.txt": "0", **checksums})
    assert "points outside the folder" in refused(tmp_path / "a")


def test_the_cache_of_the_model_hub_is_an_artifact_too(tmp_path):
    write_artifact(tmp_path / "made", "ner")
    blobs, snapshot = tmp_path / "models--me--ner" / "blobs", tmp_path / "models--me--ner" / "snapshots" / "0123"
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    for number, path in enumerate(sorted((tmp_path / "made").iterdir())):
        path.rename(blobs / str(number))
        (snapshot / path.name).symlink_to(f"../../blobs/{number}")
    assert open_artifact(snapshot).task.name == "ner"
    (tmp_path / "models--me--ner" / "elsewhere").write_bytes((blobs / "0").read_bytes())
    (snapshot / "model.onnx").unlink()
    (snapshot / "model.onnx").symlink_to("../../elsewhere")
    assert "points outside the folder" in refused(snapshot)


def test_seal_refuses_fields_that_contradict_each_other(tmp_path):
    good = write_artifact(tmp_path, "ner")
    with pytest.raises(ArtifactError, match="needs a 'word_pattern'"):
        seal(replace(good, word_pattern=None))
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(ArtifactError, match=r"tokenizer\.json has no checksum"):
        seal(good)
