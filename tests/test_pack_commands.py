"""Commands and the server, given a pack: they take it, or say in one line what to give."""

from __future__ import annotations

import json

import pytest
from serving import call, drive
from serving import predict as ask
from test_serve_openapi import DOCUMENT, conform
from tiny_artifact import write_artifact

import edgecompress
from edgecompress.errors import CheckError
from edgecompress.export.pack import Request, pack
from edgecompress.runtime.predictions import to_json
from edgecompress.serve import models
from edgecompress.serve.service import Service, load_models
from edgecompress.serve.settings import Settings

TASKS = ("ner", "topic")
TEXT = "Ján Novák v Košice, good film"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Artifacts of two tasks, and their pack."""
    place = tmp_path_factory.mktemp("pack")
    pack({task: write_artifact(place / task, task) for task in TASKS}, place / "one", Request(min_shared=0))
    return place


@pytest.fixture(scope="module")
def expected(folder):
    found = {task: to_json(edgecompress.load(folder / task, threads=1)(TEXT)) for task in TASKS}
    return json.loads(json.dumps(found))  # lists for tuples


def service(folder, name="one"):
    settings = Settings(threads=1, watch=0)
    return Service(load_models({name: folder / name}, settings), settings)


def test_pack_writes_a_folder_and_says_what_is_shared(run, folder, tmp_path):
    words = ("pack", folder / "ner", f"subject={folder / 'topic'}", "--min-shared", "0", "-o")
    (tmp_path / "text.txt").write_text(f"{TEXT}\ngood\n", encoding="utf-8")
    code, out, err = run(*words, tmp_path / "one", "--text", tmp_path / "text.txt")
    assert (code, err) == (0, "")
    for said in ("subject", "apart", "words", "text", "100.0", "0.0e+00", "tokenizer included"):
        assert said in out
    assert list(edgecompress.load(tmp_path / "one")(TEXT)) == ["ner", "subject"]
    code, _, err = run(*words, tmp_path / "one")
    assert (code, "exists and is not empty" in err) == (2, True)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["ner"], "1 artifact is no pack: give 2 or more"),
        (["ner", "ner"], "two heads are called 'ner': tell them apart with NAME="),
        (["ner", "topic"], "shares 0 of its 0 matrix products"),
        (["one", "topic"], "is a pack of several heads, and this takes one artifact"),
        (["none", "topic"], "none is not a folder"),
    ],
)
def test_pack_refuses_in_one_line(run, folder, tmp_path, given, said):
    code, _, err = run("pack", *(folder / name for name in given), "-o", tmp_path / "out")
    assert (code, err.count("\n")) == (2, 1)
    assert said in err
    assert not (tmp_path / "out").exists()


def test_predict_shows_every_head(run, folder, expected, tmp_path):
    code, out, _ = run("predict", folder / "one", TEXT, "--json")
    assert code == 0
    assert json.loads(out) == {"text": TEXT, "heads": expected}
    code, out, _ = run("predict", folder / "one", TEXT)
    assert f"{TEXT} · ner" in out
    assert "· topic" in out  # a title is wrapped at its table's width
    rows = [{"id": 1, "text": TEXT}, {"tokens": ["Ján", "Novák"]}]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    code, out, err = run(
        "predict", folder / "one", "--input", tmp_path / "in.jsonl", "--output", tmp_path / "out.jsonl"
    )
    assert (code, err) == (0, "")
    first, second = map(json.loads, (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines())
    assert first == {**rows[0], "prediction": {"heads": expected}}
    assert second["prediction"]["heads"]["ner"]["tags"] == ["B-PER", "I-PER"]


def test_inspect_names_the_heads(run, folder):
    code, out, _ = run("inspect", folder / "one")
    assert code == 0
    for said in ("ner: labels", "topic: task", "logits_topic", "pack"):
        assert said in out
    found = json.loads(run("inspect", folder / "one", "--json")[1])
    assert {name: head["task"] for name, head in found["heads"].items()} == {task: task for task in TASKS}


def test_verify_compares_head_by_head(run, folder, tmp_path):
    code, out, err = run("verify", folder / "ner", folder / "one")
    assert (code, err) == (0, "")
    assert "(ner)" in out
    code, out, _ = run("verify", folder / "one", folder / "one", "--json", tmp_path / "found.json")
    assert (code, out.count("largest difference")) == (0, 2)
    assert set(json.loads((tmp_path / "found.json").read_text())["heads"]) == set(TASKS)
    write_artifact(tmp_path / "pos", "pos")
    code, _, err = run("verify", folder / "one", tmp_path / "pos")
    assert (code, "of which 0 have the labels of the other" in err) == (2, True)
    code, _, err = run("verify", folder / "one", folder / "one", "--validation", tmp_path / "found.json")
    assert (code, "--validation is for one task" in err) == (2, True)


@pytest.mark.parametrize(
    "words",
    [
        ("quantize", "PACK", "-o", "OUT"),
        ("tune", "PACK", "-o", "OUT"),
        ("convert", "PACK", "-o", "OUT", "--to", "ort"),
        ("export-web", "PACK", "-o", "OUT"),
        ("bench", "PACK", "-o", "OUT"),
        ("card", "PACK"),
        ("push", "PACK", "me/one", "--dry-run"),
    ],
    ids=lambda words: words[0],
)
def test_the_other_commands_say_what_to_give(run, folder, tmp_path, words):
    places = {"PACK": folder / "one", "OUT": tmp_path / "out"}
    code, _, err = run(*(places.get(word, word) for word in words))
    assert (code, err.count("\n")) == (2, 1)
    assert "is a pack of several heads, and this takes one artifact: give one of those that were packed" in err
    assert not (tmp_path / "out").exists()


def test_the_server_answers_with_all_heads(folder, expected):
    served = service(folder)
    answer = ask(served, {"texts": [TEXT, "good"]})
    assert answer.status == 200
    assert [set(one) for one in answer.json["predictions"]] == [{"heads"}] * 2
    assert answer.json["predictions"][0]["heads"] == expected
    schemas = DOCUMENT["components"]["schemas"]
    conform(answer.json, schemas["Predictions"])
    answer = ask(served, {"words": [["Ján", "Novák"], []]})
    assert [one["heads"]["ner"]["tags"] for one in answer.json["predictions"]] == [["B-PER", "I-PER"], []]
    conform(answer.json, schemas["Predictions"])
    described = drive(served, lambda app: call(app, "GET", "/v1/models")).json
    conform(described, schemas["Models"])
    assert {name: head["task"] for name, head in described["models"][0]["heads"].items()} == {t: t for t in TASKS}


def test_words_are_refused_by_a_pack_of_text_tasks(tmp_path):
    those = {task: write_artifact(tmp_path / task, task) for task in ("sentiment", "topic")}
    pack(those, tmp_path / "texts", Request(min_shared=0))
    answer = ask(service(tmp_path, "texts"), {"words": [["good"]]})
    assert answer.code == "bad_request"


def test_the_self_check_looks_at_every_head(folder):
    predictor = edgecompress.load(folder / "one", threads=1)
    models.self_check(predictor)
    found = predictor(models.CHECK_TEXT)

    class Wrong:
        artifact = predictor.artifact

        def __call__(self, texts):
            return [{**found, "topic": found["ner"]} for _ in texts]

    with pytest.raises(CheckError, match=r"the labels \['O'\] are not the artifact's"):
        models.self_check(Wrong())


def test_a_swap_of_an_artifact_for_a_pack_is_told(folder):
    from edgecompress.serve.service import _changes

    alone, together = (service(folder, name).models[name] for name in ("ner", "one"))
    (task, before, after), (labels, *_) = _changes(alone, together)
    assert (task, before, after, labels) == ("task", "ner", {task: task for task in TASKS}, "labels")
    assert _changes(together, together) == []
