"""Files are written whole or not at all; progress reaches only those who listen; records survive JSON."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from edgecompress.errors import OutputError
from edgecompress.files import check_writable, new_folder, output_error, sha256, sweep, write_json
from edgecompress.progress import Event, listening, report
from edgecompress.records import Step, step_from_json, to_json


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_folder_appears_whole(tmp_path):
    with new_folder(tmp_path / "a" / "b") as draft:
        (draft / "x").write_text("1")
        assert not (tmp_path / "a" / "b").exists()
    assert names(tmp_path / "a") == ["b"]
    assert names(tmp_path / "a" / "b") == ["x"]


def fail_inside(target, error, *, replace):
    with new_folder(target, replace=replace) as draft:
        (draft / "new").write_text("half")
        raise error


@pytest.mark.parametrize("replace", [True, False])
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, OSError(errno.ENOSPC, "full")])
def test_after_an_error_all_is_as_it_was(tmp_path, replace, error):
    target = tmp_path / "a"
    if replace:
        target.mkdir()
        (target / "old").write_text("old")
    with pytest.raises((ValueError, KeyboardInterrupt, OutputError)):
        fail_inside(target, error, replace=replace)
    assert names(tmp_path) == (["a"] if replace else [])
    assert not replace or names(target) == ["old"]


def test_what_is_replaced_is_replaced_in_one_step(tmp_path):
    target = tmp_path / "a"
    for content in ("first", "second"):
        with new_folder(target, replace=True) as draft:
            (draft / content).write_text(content)
    assert names(target) == ["second"]
    assert names(tmp_path) == ["a"]


def test_what_holds_something_is_not_overwritten(tmp_path):
    (tmp_path / "a").mkdir()
    with new_folder(tmp_path / "a") as draft:  # an empty folder may be filled
        (draft / "x").write_text("1")
    for target in (tmp_path / "a", tmp_path / "a" / "x"):
        with pytest.raises(OutputError, match="exists and is not empty: choose another -o"), new_folder(target):
            pass
    assert (tmp_path / "a" / "x").read_text() == "1"


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="is a file, not a folder"), new_folder(tmp_path / "file" / "a"):
        pass
    with pytest.raises(OutputError, match="is a file, not a folder"):
        write_json(tmp_path / "file" / "a.json", {})
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (errno.ENOSPC, "disk is full"),
        (errno.EACCES, "permission denied"),
        (errno.EROFS, "read-only"),
        (errno.EIO, "odd"),
    ],
)
def test_system_errors_become_one_line(tmp_path, code, said):
    message = str(output_error(tmp_path, OSError(code, "odd")))
    assert said in message
    assert str(tmp_path) in message
    assert "\n" not in message


def test_json_is_written_in_one_step(tmp_path):
    path = tmp_path / "new" / "a.json"
    write_json(path, {"b": "č", "a": [1]})
    assert json.loads(path.read_text(encoding="utf-8")) == {"b": "č", "a": [1]}
    assert "č" in path.read_text(encoding="utf-8")
    with pytest.raises(TypeError):
        write_json(path, {"b": object()})
    assert json.loads(path.read_text(encoding="utf-8"))["a"] == [1]
    assert names(path.parent) == ["a.json"]
    (tmp_path / "empty").write_bytes(b"")
    assert sha256(tmp_path / "empty").startswith("e3b0c442")


def test_progress_reaches_the_listener_of_the_block():
    seen, inner = [], []
    report("nobody", 1)
    with listening(seen.append):
        report("a", 1, 2, "note")
        with listening(inner.append):
            report("b", 1)
        report("c", 2)
    report("nobody", 1)
    assert seen == [Event("a", 1, 2, "note"), Event("c", 2, None)]
    assert inner == [Event("b", 1, None)]


def test_a_step_survives_json():
    step = Step("prune", {"ffn": 3}, 10, 1.5, {"share": 0.5}, "k")
    assert step_from_json(json.loads(json.dumps(to_json(step)))) == step
    with pytest.raises(TypeError):
        step_from_json({"stage": "x", "novelty": 1})


def test_an_empty_folder_is_filled_and_stays_the_same_folder(tmp_path, monkeypatch):
    """A mounted disk cannot be renamed, and a shell that stands in a folder would see a deleted one."""
    (tmp_path / "a").mkdir()
    (tmp_path / "link").symlink_to("a")
    before = (tmp_path / "a").stat().st_ino
    monkeypatch.chdir(tmp_path / "a")
    with pytest.raises(ValueError, match="half"):
        fail_inside(Path(), ValueError("half"), replace=False)
    assert names(tmp_path / "a") == []
    with new_folder(tmp_path / "link") as draft:
        (draft / "x").write_text("1")
        (draft / "sub").mkdir()
        assert names(tmp_path / "a") == [draft.name]
    assert names(Path()) == ["sub", "x"]
    assert (tmp_path / "a").stat().st_ino == before
    assert names(tmp_path) == ["a", "link"]


def test_a_file_is_written_where_a_link_leads_and_into_a_pipe(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to("there/real.json")
    for _ in range(2):
        check_writable(tmp_path / "link")
        write_json(tmp_path / "link", {"a": 1})
    assert (tmp_path / "link").is_symlink()
    assert json.loads((tmp_path / "there" / "real.json").read_text()) == {"a": 1}
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    check_writable(tmp_path / "pipe")
    write_json(tmp_path / "pipe", {"b": 2})
    assert json.loads(os.read(reader, 100)) == {"b": 2}
    os.close(reader)
    assert (tmp_path / "pipe").is_fifo()
    write_json(Path("/dev/null"), {})
    assert Path("/dev/null").is_char_device()


def test_a_killed_command_may_be_given_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / f".{tmp_path.name}.12345678.part").mkdir()
    with new_folder(Path()) as draft:
        (draft / "x").write_text("1")
    assert names(tmp_path) == ["x"]


def test_of_two_that_fill_one_folder_the_second_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = new_folder(Path())
    (folder.__enter__() / "x").write_text("mine")
    (tmp_path / "x").write_text("theirs")
    with pytest.raises(OutputError, match="exists and is not empty"):
        folder.__exit__(None, None, None)
    assert names(tmp_path) == ["x"]
    assert (tmp_path / "x").read_text() == "theirs"


def test_what_was_moved_aside_for_nothing_goes_back(tmp_path, monkeypatch):
    """The old one is moved aside and the new one cannot take its place; or the process dies between the two."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "old").write_text("old")
    rename = Path.rename

    def fails_once(path, target):
        if path.name.endswith(".part"):
            raise OSError(errno.EIO, "bad disk", str(path))
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", fails_once)
    with pytest.raises(OutputError), new_folder(tmp_path / "a", replace=True) as draft:
        (draft / "new").write_text("new")
    monkeypatch.undo()
    assert names(tmp_path / "a") == ["old"]
    (tmp_path / "a").rename(tmp_path / ".a.12345678.old")
    (tmp_path / ".b.12345678.part").mkdir()
    sweep(tmp_path)
    assert names(tmp_path) == ["a"]
    assert names(tmp_path / "a") == ["old"]
