"""Bad input on the command line: one line, exit code 2, and nothing half-written."""

from __future__ import annotations

import errno
from types import SimpleNamespace

import pytest
from tiny_artifact import write_artifact
from tiny_models import RECIPE, bundle, names

from edgecompress.encoder.bundle import save


def broken_model(folder, how):
    save(bundle("bert"), folder)
    if how == "truncated weights":
        path = folder / "model.safetensors"
        path.write_bytes(path.read_bytes()[:5000])
    elif how == "no config":
        (folder / "config.json").unlink()
    elif how == "unknown type":
        (folder / "config.json").write_text('{"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"]}')
    return folder


@pytest.mark.parametrize(
    ("how", "said"),
    [("truncated weights", "damaged or cut short"), ("no config", "no config.json"), ("unknown type", "'gpt2'")],
)
def test_a_broken_model_is_one_line(run, source, tmp_path, how, said):
    broken = broken_model(tmp_path / "broken", how)
    code, _, err = run("prune", broken, "-o", tmp_path / "out", "--corpus", source / "slk.txt", "--ffn", 8)
    assert (code, err.count("\n")) == (2, 1)
    assert said in err
    assert names(tmp_path) == ["broken"]


BAD = {
    "a stage's size": (("trim", "MODEL", "--size", 9999), "size 9999 is above the tokenizer's own 360"),
    "a hidden size": (("truncate", "MODEL", "--hidden", 14), "not divisible by 4 heads: use 12 or 16"),
    "no size": (("prune", "MODEL"), "give ffn"),
    "negative": (("prune", "MODEL", "--ffn", -1), "ffn: -1 is negative"),
    "batch of none": (("adapt", "MODEL", "--batch-size", 0), "batch_size: 0 is not above 0"),
    "nothing to guess": (("adapt", "MODEL", "--mask", 0), "mask 0 leaves nothing to guess"),
    "a rate that is none": (("adapt", "MODEL", "--learning-rate", "nan"), "learning_rate: nan is not a finite number"),
    "short sequences": (("adapt", "MODEL", "--max-length", 2), "max_length 2"),
    "empty text": (("trim", "MODEL", "--corpus", "EMPTY"), "is empty: no non-blank line"),
    "another encoding": (("trim", "MODEL", "--corpus", "LATIN"), "not UTF-8 (byte 0xbe"),
    "no such text": (("trim", "MODEL", "--corpus", "none.txt"), "no file 'none.txt'"),
    "no data set": (("trim", "MODEL", "--corpus", "hf:name"), "is no data set: write hf:NAME:COLUMN"),
    "a token to keep": (("trim", "MODEL", "--keep", "qqqq"), "no token 'qqqq' to keep"),
    "a file of tokens": (("trim", "MODEL", "--keep-files", "none.txt"), "selection.keep_files: no file none.txt"),
    "nothing selected": (("trim", "MODEL", "--min-count", 99999), "no token occurs 99999 times"),
    "another script": (("trim", "MODEL", "--corpus", "GEORGIAN"), "the tokenizer does not know this script"),
    "no size to fill": (("trim", "MODEL", "--fill", "script"), "fill 'script' needs a size"),
    "a weight of nobody": (("trim", "MODEL", "--weight", "swa=2"), "--weight swa=2: give NAME=NUMBER"),
    "a hub model offline": (("trim", "someone/some-model"), "hub cannot be reached"),
    "no such model": (("trim", "./none"), "does not exist"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_input_is_one_line_and_leaves_nothing(run, source, tmp_path, name):
    texts, out = tmp_path / "texts", tmp_path / "results"
    texts.mkdir()
    out.mkdir()
    (texts / "empty.txt").write_text("\n\n")
    (texts / "latin.txt").write_bytes("žena\n".encode("iso-8859-2"))
    (texts / "georgian.txt").write_text("თბილისი საქართველოს დედაქალაქია\n", encoding="utf-8")
    named = {"MODEL": source / "model", "EMPTY": texts / "empty.txt", "LATIN": texts / "latin.txt"}
    named["GEORGIAN"] = texts / "georgian.txt"
    words, said = BAD[name]
    words = [named.get(word, word) for word in words]
    if "--corpus" not in words:
        words += ["--corpus", source / "slk.txt"]
    code, _, err = run(*words, "-o", out / "x")
    assert (code, err.count("\n")) == (2, 1), err
    assert err.startswith("edgecompress: ")
    assert said in err
    assert names(out) == []


@pytest.mark.parametrize(
    "words", [("prune", "--ffn", 8), ("adapt", "--steps", 1), ("distill", "--layers", 1, "--steps", 1), ("trim",)]
)
def test_no_corpus_is_one_line(run, source, tmp_path, words):
    stage, *more = words
    code, _, err = run(stage, source / "model", *more, "-o", tmp_path / "out")
    assert (code, err.count("\n")) == (2, 1), err
    assert "corpora is empty: give at least one" in err
    assert names(tmp_path) == []


def test_labels_that_training_lacks_are_told(run, source, tmp_path):
    (tmp_path / "v.jsonl").write_text('{"text": "x", "label": "other"}\n')
    words = ("finetune", source / "model", "--task", "topic", "--train", source / "topic-train.jsonl")
    code, _, err = run(*words, "--validation", tmp_path / "v.jsonl", "-o", tmp_path / "out")
    assert (code, err.count("\n")) == (2, 1)
    assert "training lacks: 'other'" in err
    assert names(tmp_path) == ["v.jsonl"]


def test_a_bad_recipe_is_one_line(run, tmp_path):
    (tmp_path / "r.toml").write_text(
        'teacher = "x/y"\n[[stages]]\nstage = "trimm"\n[[stages]]\nstage = "prune"\nwidht = 3\n'
    )
    code, out, err = run("run", tmp_path / "r.toml", "-o", tmp_path / "out")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "no stage 'trimm'; did you mean 'trim'?" in err
    assert "no option 'widht'" in err
    assert names(tmp_path) == ["r.toml"]


@pytest.mark.parametrize("command", ["trim", "run", "export"])
def test_an_output_below_a_file_is_one_line(run, source, tmp_path, command):
    (tmp_path / "file").write_text("")
    (tmp_path / "r.toml").write_text(RECIPE.replace("SOURCE", str(source)))
    words = {
        "trim": ("trim", source / "model", "--corpus", source / "slk.txt"),
        "run": ("run", tmp_path / "r.toml"),
        "export": ("export", source / "tuned", "--task", "topic"),
    }[command]
    if command == "export" and not (source / "tuned").exists():
        save(bundle("bert", "text"), source / "tuned")
    code, _, err = run(*words, "-o", tmp_path / "file" / "out")
    assert (code, err.count("\n")) == (2, 1), err
    assert "is a file, not a folder: choose another place with -o" in err


def test_a_full_disk_is_one_line(run, source, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("transformers.PreTrainedModel.save_pretrained", full)
    code, _, err = run("trim", source / "model", "--corpus", source / "slk.txt", "-o", tmp_path / "out")
    assert (code, err.count("\n")) == (2, 1)
    assert "the disk is full: free some space" in err
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    "words",
    [
        ("trimm",),
        ("prune", "x"),
        ("predict", "ARTIFACT", "x", "--threads", "-1"),
        ("trim", "x", "-o", "y", "--sise", 3),
    ],
)
def test_a_misspelt_command_is_told(run, source, words):
    code, _, err = run(*[source / "artifact" if word == "ARTIFACT" else word for word in words])
    assert code == 2
    assert err.startswith("edgecompress: ")
    assert err.endswith(f"(see edgecompress{'' if words[0] == 'trimm' else ' ' + words[0]} --help)\n")
    assert err.count("\n") == 1


@pytest.mark.parametrize("threads", [99999999999, 10**25])
@pytest.mark.parametrize("command", ["predict", "serve", "bench", "tune"])
def test_more_threads_than_cores_is_one_line(run, source, tmp_path, command, threads):
    more = {"predict": ["good"], "serve": ["--port", 0], "bench": ["--length", 8]}
    words = more.get(command, ["-o", tmp_path / "out"])
    code, out, err = run(command, source / "artifact", *words, "--threads", threads)
    assert (code, out, err.count("\n")) == (2, "", 1), err
    assert f"threads {threads}: " in err.replace(" is ", " ")
    assert "at most" in err
    assert names(tmp_path) == []


def test_a_damaged_artifact_is_one_line(run, tmp_path):
    write_artifact(tmp_path / "a")
    (tmp_path / "a" / "model.onnx").write_bytes(b"x")
    code, _, err = run("predict", tmp_path / "a", "good")
    assert (code, err.count("\n")) == (2, 1)
    assert "model.onnx has changed" in err


def test_too_little_room_is_told_before_anything_is_written(run, source, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1000))
    code, _, err = run("trim", source / "model", "--corpus", source / "slk.txt", "-o", tmp_path / "out")
    assert (code, err.count("\n")) == (2, 1)
    assert "free some space" in err
    assert names(tmp_path) == []
