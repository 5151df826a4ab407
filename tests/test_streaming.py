import gzip
import io
import json
import os
from pathlib import Path

import pytest
from tiny_artifact import write_artifact

from edgecompress.errors import OutputError, TaskDataError
from edgecompress.runtime import streaming
from edgecompress.runtime.predictor import load
from edgecompress.runtime.streaming import predict_file

TEXTS = [f"film {n} good" if n % 3 else f"bad {n}" for n in range(700)]


class StoppedError(Exception):
    """Stands for a kill."""


@pytest.fixture
def sentiment(tmp_path):
    write_artifact(tmp_path / "art")
    return load(tmp_path / "art", threads=1)


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def stop_after(monkeypatch, calls):
    """Let the predictor die at its call number ``calls`` + 1."""
    real, count = streaming._predicted, [0]

    def predicted(*given):
        count[0] += 1
        if count[0] > calls:
            raise StoppedError
        return real(*given)

    monkeypatch.setattr(streaming, "_predicted", predicted)
    return count


@pytest.mark.parametrize("name", ["in.txt", "in.txt.gz", "in.jsonl", "in.jsonl.gz"])
def test_every_line_gets_what_the_predictor_says(sentiment, tmp_path, name):
    rows = [text if "txt" in name else json.dumps({"id": n, "text": text}) for n, text in enumerate(TEXTS)]
    data = ("\n".join(rows) + "\n").encode()
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    assert predict_file(sentiment, tmp_path / name, tmp_path / "out.jsonl") == 700
    found = lines(tmp_path / "out.jsonl")
    assert [row["text"] for row in found] == TEXTS
    assert [row["prediction"]["label"] for row in found] == sentiment.labels(TEXTS)
    assert [row.get("id") for row in found] == (list(range(700)) if "jsonl" in name else [None] * 700)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["art", name, "out.jsonl"])


def test_what_cannot_be_read_is_told_of_the_input(tmp_path, monkeypatch):
    damaged = bytearray(gzip.compress("\n".join(TEXTS).encode()))
    for bit in range(8 * 10, 8 * 40):  # past the header: now a wrong block, now a wrong distance
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(TaskDataError, match=r"in\.txt\.gz( is damaged or cut short|:\d+)"):
            list(streaming._rows(tmp_path / "in.txt.gz", io.BytesIO(damaged)))
        damaged[bit // 8] ^= 1 << bit % 8
    (tmp_path / "in.txt").write_text("good\n")

    def denied(self, *_):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(type(tmp_path), "open", denied)
    with pytest.raises(TaskDataError, match=r"in\.txt cannot be read \(Permission denied\)"):
        streaming._opened(tmp_path / "in.txt")


def test_a_stopped_run_goes_on_and_gives_the_same_bytes(sentiment, tmp_path, monkeypatch):
    source = tmp_path / "in.txt"
    source.write_text("\n".join(TEXTS) + "\n")
    predict_file(sentiment, source, tmp_path / "whole.jsonl")
    with monkeypatch.context() as patched:
        stop_after(patched, 2)
        with pytest.raises(StoppedError):
            predict_file(sentiment, source, tmp_path / "out.jsonl")
    part = tmp_path / "out.jsonl.part"
    assert len(part.read_bytes().splitlines()) == 2 * streaming.CHUNK
    part.write_bytes(part.read_bytes() + b'{"half of a li')
    with monkeypatch.context() as patched:
        calls = stop_after(patched, 99)
        assert predict_file(sentiment, source, tmp_path / "out.jsonl") == 700
    assert calls == [1]
    assert (tmp_path / "out.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    assert not part.exists()


@pytest.mark.parametrize("what", ["input", "artifact"])
def test_another_input_or_artifact_begins_anew(sentiment, tmp_path, monkeypatch, what):
    source = tmp_path / "in.txt"
    source.write_text("\n".join(TEXTS) + "\n")
    with monkeypatch.context() as patched:
        stop_after(patched, 1)
        with pytest.raises(StoppedError):
            predict_file(sentiment, source, tmp_path / "out.jsonl")
    if what == "input":
        source.write_text("bad\n")
    else:
        sentiment.artifact.checksums["model.onnx"] = "of another"
    done = predict_file(sentiment, source, tmp_path / "out.jsonl")
    assert done == len(lines(tmp_path / "out.jsonl")) == (1 if what == "input" else 700)
    assert lines(tmp_path / "out.jsonl")[0]["prediction"]["label"] == "negative"


def test_words_that_are_split_already(tmp_path):
    write_artifact(tmp_path / "ner", "ner")
    source = tmp_path / "in.jsonl"
    source.write_text('{"tokens": ["Ján", "Novák"]}\n\n{"text": "v Košice"}\n')
    predict_file(load(tmp_path / "ner"), source, tmp_path / "out.jsonl")
    first, second = lines(tmp_path / "out.jsonl")
    assert first["prediction"]["tags"] == ["B-PER", "I-PER"]
    assert [span["text"] for span in second["prediction"]["spans"]] == ["Košice"]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b'{"text": "good"}\n{"text": \n', r"in\.jsonl:2 is not JSON"),
        (b'{"text": "good"}\n[1]\n', r"in\.jsonl:2 is list, not an object"),
        (b'{"text": 5}\n', 'has no "text", a string'),
        (b'{"tokens": ["good"]}\n', 'has no "text", a string$'),
        (b'{"text": "\xff"}\n', r"in\.jsonl:1: byte .* is not UTF-8"),
        (b'{"text": "good"}\n{"text": "bad", "x": [1e999]}', r"in\.jsonl:2: 1e999 is not a finite number"),
        (b'{"text": "good", "x": -1e999}', r"in\.jsonl:1: -1e999 is not a finite number"),
        (b'{"text": "good", "x": NaN}', r"in\.jsonl:1: NaN is not a finite number.*: write a finite one, or null"),
        (b'{"text": "good", "x": -Infinity}', r"in\.jsonl:1: -Infinity is not a finite number"),
    ],
)
def test_a_line_that_cannot_be_read_is_named(sentiment, tmp_path, data, says):
    (tmp_path / "in.jsonl").write_bytes(data)
    with pytest.raises(TaskDataError, match=says):
        predict_file(sentiment, tmp_path / "in.jsonl", tmp_path / "out.jsonl")
    assert not (tmp_path / "out.jsonl").exists()


def test_nothing_is_overwritten_and_a_missing_input_is_named(sentiment, tmp_path):
    (tmp_path / "out.jsonl").write_text("mine")
    with pytest.raises(OutputError, match="exists"):
        predict_file(sentiment, tmp_path / "in.txt", tmp_path / "out.jsonl")
    with pytest.raises(TaskDataError, match=r"in\.txt does not exist"):
        predict_file(sentiment, tmp_path / "in.txt", tmp_path / "new.jsonl")
    assert (tmp_path / "out.jsonl").read_text() == "mine"


def test_other_fields_come_out_as_they_are(sentiment, tmp_path):
    row = {"text": "good", "x": [1.5, -0.0, 10**30, 1e-320, None, True, {"y": "ž"}]}
    (tmp_path / "in.jsonl").write_text(json.dumps(row))
    predict_file(sentiment, tmp_path / "in.jsonl", tmp_path / "out.jsonl")
    (found,) = lines(tmp_path / "out.jsonl")
    assert found.pop("prediction")["label"] == "positive"
    assert json.dumps(found) == json.dumps(row)


def test_names_that_are_not_utf_8(run, tmp_path):
    write_artifact(tmp_path / "art")
    source, target = (Path(os.fsdecode(os.fsencode(tmp_path / name))) for name in ("caf\udce9.txt", "o\udce9.jsonl"))
    source.write_text("good\n")
    code, out, err = run("predict", tmp_path / "art", "--input", source, "--output", target)
    assert (code, err) == (0, "")
    assert "o\\udce9.jsonl: 1 texts" in out
    assert [row["prediction"]["label"] for row in lines(target)] == ["positive"]


def test_from_the_command_line(run, sentiment, tmp_path):
    (tmp_path / "in.txt").write_text("good\nbad\n")
    code, out, err = run("predict", tmp_path / "art", "--input", tmp_path / "in.txt", "--output", tmp_path / "o.jsonl")
    assert (code, err) == (0, "")
    assert "2 texts" in out
    assert [row["prediction"]["label"] for row in lines(tmp_path / "o.jsonl")] == sentiment.labels(["good", "bad"])
    code, _, err = run("predict", tmp_path / "art", "--input", tmp_path / "in.txt")
    assert code == 2
    assert "give --input and --output together" in err
