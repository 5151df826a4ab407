"""`edgecompress verify-tokenizer` and what `edgecompress trim` prints."""

from __future__ import annotations

import json

import pytest
from tiny_models import SLOVAK, SWAHILI, names
from tiny_tokenizers import unigram, wordpiece


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizers")
    for name, lines in (("slk", SLOVAK), ("swh", SWAHILI)):
        (folder / f"{name}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    wordpiece().save(str(folder / "old.json"))
    return folder


@pytest.fixture
def trimmed(run, source, folders, tmp_path):
    words = ("trim", source / "model", "-o", tmp_path / "out", "--corpus", f"slk={folders / 'slk.txt'}")
    code, out, err = run(*words, "--coverage", 0.999, "--letters", "Ž")
    assert (code, err) == (0, "")
    return tmp_path / "out", out


def test_trim_tells_what_it_saved(trimmed):
    _, out = trimmed
    for part in ("tokens ", "parameters", "fp32 MB", "tokens a word", "Dropped tokens by script", "latin", "never"):
        assert part in out
    assert " %" in out


def test_the_figures_are_printed_and_written(run, source, trimmed, folders, tmp_path):
    new, _ = trimmed
    figures = tmp_path / "figures.json"
    words = ("verify-tokenizer", source / "model", new, "--text", folders / "swh.txt", "--json", figures)
    code, out, err = run(*words)
    assert (code, err) == (0, "")
    assert "The texts that changed most" in out
    found = json.loads(figures.read_text(encoding="utf-8"))
    assert found["texts"] == len(SWAHILI)
    assert found["unchanged"] < 1
    assert found["fertility_new"] > found["fertility_old"] > 1
    assert found["characters_new"] < found["characters_old"]
    assert len(found["examples"]) == 10
    assert set(found) >= {"unknown_old", "unknown_new", "coverage_old", "coverage_new", "old", "new"}
    assert (found["old"], found["new"]) == ("model", "out")


def test_too_many_changes_are_exit_code_1(run, source, trimmed, folders):
    new, _ = trimmed
    words = ("verify-tokenizer", source / "model", new, "--text", folders / "swh.txt", "--max-changed")
    code, out, err = run(*words, 0.05)
    assert (code, err.count("\n")) == (1, 1)
    assert "of the texts are cut differently, more than the 5.00% allowed" in err
    assert "tokens a word" in out  # the work was done, and is shown
    assert run(*words, 1.0)[0] == 0


def test_a_tokenizer_is_itself_however_it_is_named(run, source, folders):
    for old in (folders / "old.json", source / "model", source / "model" / "tokenizer.json"):
        words = (
            "verify-tokenizer",
            old,
            source / "model",
            "--text",
            folders / "slk.txt",
            "--text",
            folders / "swh.txt",
        )
        code, out, err = run(*words, "--max-changed", 0)
        assert (code, err) == (0, "")
        assert "46 texts, 100.00% of them unchanged" in out


def test_brackets_of_tokens_are_no_markup(run, folders, tmp_path):
    unigram().save(str(tmp_path / "other.json"))
    (tmp_path / "foreign.txt").write_text("日本\n", encoding="utf-8")
    code, out, _ = run(
        "verify-tokenizer", folders / "old.json", tmp_path / "other.json", "--text", tmp_path / "foreign.txt"
    )
    assert code == 0
    assert "[UNK]" in out


def test_bad_input_is_one_line(run, source, folders, tmp_path):
    (tmp_path / "empty.txt").write_text("\n")
    (tmp_path / "bare").mkdir()
    (tmp_path / "broken.json").write_text("{")
    good, text = source / "model", folders / "slk.txt"
    cases = {
        (tmp_path / "none", good, text): "does not exist: give a folder",
        (tmp_path / "bare", good, text): "has no tokenizer",
        (good, tmp_path / "broken.json", text): "cannot be read",
        (good, good, tmp_path / "empty.txt"): "no non-blank line",
        (good, good, tmp_path / "none.txt"): "does not exist",
    }
    before = names(tmp_path)
    for (old, new, file), said in cases.items():
        code, _, err = run("verify-tokenizer", old, new, "--text", file, "--json", tmp_path / "figures.json")
        assert (code, err.count("\n")) == (2, 1), err
        assert said in err
    assert names(tmp_path) == before
