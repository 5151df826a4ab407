"""A pack says what each of its artifacts says, from one graph; what cannot be packed is refused in one line."""

from __future__ import annotations

import asyncio
import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import onnx
import pytest
from test_artifact import edit, refused
from tiny_artifact import table, write_artifact
from tiny_models import SENTENCES
from tiny_packs import students

import edgecompress
from edgecompress.artifact import MANIFEST, open_artifact, seal
from edgecompress.errors import ArtifactError, CheckError, InputError
from edgecompress.export import pack as packing
from edgecompress.export.pack import Request, pack
from edgecompress.export.quantize import quantize
from edgecompress.pack import open_any
from edgecompress.runtime.pack import PackPredictor
from edgecompress.runtime.predictor import load

TASKS = ("ner", "pos", "topic")
LONG = " ".join(SENTENCES[:8] * 6)
TEXTS = [*SENTENCES[:6], "", "  ", LONG, "Ján, Žilina!"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Each family's artifacts by task, and their pack; made once a family and scheme."""
    folder, cache = tmp_path_factory.mktemp("packs"), {}

    def get(family, scheme="fp32"):
        if (family, scheme) not in cache:
            place = folder / f"{family}-{scheme}"
            if scheme == "fp32":
                those = students(place, family, TASKS, layers=2)
            else:
                plain, _ = get(family)
                those = {
                    name: quantize(one, place / name, scheme=scheme, texts=TEXTS, min_agreement=0)
                    for name, one in plain.items()
                }
            cache[family, scheme] = those, pack(those, place / "one", Request(tuple(SENTENCES)))
        return cache[family, scheme]

    return get


class Counting:
    """A session that counts its runs."""

    def __init__(self, session):
        self.session, self.runs = session, 0

    def run(self, *given):
        self.runs += 1
        return self.session.run(*given)


def counted(predictor):
    counting = Counting(predictor._graph.session)
    predictor._graph = replace(predictor._graph, session=counting)
    return counting


each = pytest.mark.parametrize(
    ("family", "scheme"), [("bert", "fp32"), ("xlm-roberta", "fp32"), ("xlm-roberta", "int8-tables4")]
)


@each
def test_every_head_answers_exactly_as_its_artifact_alone(made, family, scheme):
    those, packed = made(family, scheme)
    predictor = edgecompress.load(packed.pack.folder, threads=1)
    assert isinstance(predictor, PackPredictor)
    assert list(predictor("Ján")) == list(TASKS)
    alone = {name: load(one.folder, threads=1) for name, one in those.items()}
    assert predictor(LONG)["ner"].windows > 1
    for text in TEXTS:
        assert predictor(text) == {name: one(text) for name, one in alone.items()}
    words = [text.split() for text in TEXTS]
    together = predictor.tag(words)
    assert all(set(tags) == {"ner", "pos"} for tags in together)
    for name in ("ner", "pos"):
        assert [tags[name].tags for tags in together] == [tags.tags for tags in alone[name].tag(words)]


@each
def test_the_encoder_is_stored_once_and_its_products_are_shared(made, family, scheme):
    those, packed = made(family, scheme)
    sizes = [one.model_bytes for one in those.values()]
    assert packed.pack.model_bytes < 1.2 * max(sizes)
    assert packed.sharing.nodes[1] < 0.6 * packed.sharing.nodes[0]
    for name in ("ner", "pos"):
        own, shared = packed.sharing.products[name]
        assert own - shared == 1  # the output layer
    assert packed.sharing.all_products < 0.7 * sum(own for own, _ in packed.sharing.products.values())
    assert max(packed.pack.history[-1].details["difference"].values()) == 0
    onnx.checker.check_model(str(packed.pack.model_path))
    names = [tensor.name for tensor in onnx.load(str(packed.pack.model_path)).graph.initializer]
    assert sum("word_embeddings" in name for name in names) == (2 if scheme == "int8-tables4" else 1)  # codes, scales


def test_a_text_passes_once_where_all_heads_read_the_same_ids(made):
    bert, unigram = (
        edgecompress.load(made(family)[1].pack.folder, threads=1, batch_size=1) for family in ("bert", "xlm-roberta")
    )
    for predictor, runs in ((bert, 1), (unigram, 2)):  # WordPiece cuts before punctuation itself, Unigram does not
        counting = counted(predictor)
        predictor("Ján, Žilina.")
        assert counting.runs == runs
        predictor("Ján Žilina")  # no punctuation: the same ids for all
        assert counting.runs == runs + 1


def test_one_pass_lets_text_tasks_read_words(made, tmp_path):
    those, _ = made("xlm-roberta")
    request = Request(tuple(SENTENCES), one_pass=True, min_agreement=0)
    packed = pack(those, tmp_path / "one", request)
    assert packed.passes == 1
    predictor = edgecompress.load(tmp_path / "one", threads=1, batch_size=1)
    counting = counted(predictor)
    found = predictor(["Ján, Žilina.", ""])
    assert counting.runs == 2
    alone = load(those["topic"].folder, threads=1)
    assert [one["topic"] for one in found] == alone(["Ján , Žilina .", ""])
    assert found[0]["ner"] == load(those["ner"].folder, threads=1)("Ján, Žilina.")
    assert packed.pack.history[-1].options["one_pass"] is True
    with pytest.raises(InputError, match="give --text FILE"):
        pack(those, tmp_path / "two", replace(request, texts=()))


def test_decisions_that_change_too_often_are_refused(made, tmp_path, monkeypatch):
    those, _ = made("xlm-roberta")
    monkeypatch.setattr(packing, "equal_decisions", lambda before, after: 0.9)  # noqa: ARG005
    with pytest.raises(CheckError, match=r"the pack changes 10\.0 % of the decisions of ner, 5\.0 % are allowed"):
        pack(those, tmp_path / "one", Request(tuple(SENTENCES)))
    assert not (tmp_path / "one").exists()


def test_several_threads_and_the_event_loop_may_use_one_predictor(made):
    predictor = edgecompress.load(made("bert")[1].pack.folder, threads=1)
    expected = [predictor(text) for text in TEXTS]

    async def ask():
        return await asyncio.gather(*(predictor.predict_async([text]) for text in TEXTS))

    assert [one for [one] in asyncio.run(ask())] == expected
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(predictor, TEXTS)) == expected


def test_wrong_arguments_are_refused_as_by_a_predictor(made, tmp_path):
    predictor = edgecompress.load(made("bert")[1].pack.folder, threads=1)
    for given in (7, ["a", None]):
        with pytest.raises(TypeError, match="expected a str or a list of str"):
            predictor(given)
    with pytest.raises(TypeError, match="expected a list of words"):
        predictor.tag(["Ján"])
    assert predictor([]) == predictor.tag([]) == []
    texts = {name: write_artifact(tmp_path / name, name) for name in ("topic", "sentiment")}
    pack(texts, tmp_path / "one", Request(min_shared=0))
    with pytest.raises(ValueError, match="the heads topic, sentiment give one label a text"):
        edgecompress.load(tmp_path / "one").tag([["good"]])


def test_artifacts_that_do_not_belong_together_are_refused(made, tmp_path):
    those, _ = made("bert")
    other = students(tmp_path / "other", "bert", ("pos",), seed=1, layers=2)
    foreign = write_artifact(tmp_path / "foreign", "topic")
    ort = replace(those["pos"], model_file="model.ort")
    cases = [
        ({"ner": those["ner"]}, "1 artifact is no pack: give 2 or more"),
        ({"ner": those["ner"], "pos": other["pos"]}, "shares 0 of its 17 matrix products .* their encoders differ"),
        ({"ner": those["ner"], "topic": foreign}, "have different tokenizers"),
        ({"ner": those["ner"], "a b": those["pos"]}, "'a b' cannot name a head"),
        ({"ner": those["ner"], "pos": ort}, r"is in \.ort format: pack the original"),
    ]
    for given, said in cases:
        with pytest.raises(InputError, match=said):
            pack(given, tmp_path / "one")
        assert not (tmp_path / "one").exists()


def test_graphs_that_cannot_be_joined_are_refused(tmp_path):
    ner, topic = (write_artifact(tmp_path / task, task) for task in ("ner", "topic"))
    model = onnx.load(str(topic.model_path))
    model.opset_import[0].version = 18
    onnx.save(model, str(topic.model_path))
    with pytest.raises(InputError, match=r"ai\.onnx in the versions 17 and 18: export both with one --opset"):
        pack({"ner": ner, "topic": seal(topic)}, tmp_path / "one", Request(min_shared=0))
    model.opset_import[0].version = 17
    model.graph.input[1].name = "token_type_ids"
    onnx.save(model, str(topic.model_path))
    with pytest.raises(InputError, match="ner and topic take other inputs"):
        pack({"ner": ner, "topic": seal(topic)}, tmp_path / "one", Request(min_shared=0))


def test_logits_that_move_are_refused(tmp_path, monkeypatch):
    those = {task: write_artifact(tmp_path / task, task) for task in ("ner", "pos")}
    real = packing.merge

    def wrong(models, outputs):
        model, sharing = real(models, outputs)
        for value in model.graph.outputs:  # the two heads' logits, mixed up
            value.name = f"{value.name}x"
        first, second = model.graph.outputs
        first.name, second.name = outputs["pos"], outputs["ner"]
        return model, sharing

    monkeypatch.setattr(packing, "merge", wrong)
    with pytest.raises(CheckError):
        pack(those, tmp_path / "one", Request(min_shared=0))
    assert not (tmp_path / "one").exists()


def test_the_same_task_twice_is_two_outputs(tmp_path):
    good, bad = write_artifact(tmp_path / "a"), write_artifact(tmp_path / "b", rows=table("sentiment")[:, ::-1].copy())
    pack({"a": good, "twin": good, "b": bad}, tmp_path / "one", Request(min_shared=0))
    found = edgecompress.load(tmp_path / "one")("good")
    assert [found[name].label for name in ("a", "twin", "b")] == ["positive", "positive", "negative"]


def test_what_is_sealed_is_what_is_opened_and_foreign_manifests_are_refused(tmp_path):
    those = {task: write_artifact(tmp_path / task, task) for task in ("ner", "topic")}
    before = (tmp_path / "ner" / MANIFEST).read_bytes()
    packed = pack(those, tmp_path / "one", Request(min_shared=0))
    opened = open_any(tmp_path / "one")
    assert opened == packed.pack
    assert {name: replace(head, folder=those[name].folder, checksums=those[name].checksums, output="logits")
            for name, head in opened.heads.items()} == those  # fmt: skip
    assert open_any(tmp_path / "ner") == open_artifact(tmp_path / "ner") == those["ner"]
    assert (tmp_path / "ner" / MANIFEST).read_bytes() == before
    assert "is a pack of several heads" in refused(tmp_path / "one")
    heads = json.loads((tmp_path / "one" / MANIFEST).read_text(encoding="utf-8"))["heads"]
    cases = [
        ({"heads": heads[:1]}, "'heads' is"),
        ({"heads": [heads[0], {**heads[1], "task": "parsing"}]}, "'task' of head 2 is 'parsing'"),
        ({"heads": [{**heads[0], "word_pattern": None}, heads[1]]}, "task 'ner' needs a 'word_pattern' of head 1"),
        ({"heads": [heads[0], {**heads[1], "name": "../x"}]}, "'name' of head 2 is '../x'"),
        ({"heads": [heads[0], {**heads[1], "name": "ner"}]}, "two heads have the name 'ner'"),
        ({"heads": [heads[0], {**heads[1], "output": heads[0]["output"]}]}, "two heads have the output 'logits_ner'"),
        ({"heads": [heads[0], {**heads[1], "history": [{"stage": "x", "novelty": 1}]}]}, "upgrade edgecompress"),
        ({"checksums": {}}, "model.onnx has no checksum"),
    ]
    for changes, said in cases:
        shutil.copytree(tmp_path / "one", tmp_path / "bad", dirs_exist_ok=True)
        edit(tmp_path / "bad", **changes)
        with pytest.raises(ArtifactError) as caught:
            open_any(tmp_path / "bad")
        assert said in str(caught.value)
        assert "\n" not in str(caught.value)
    with (tmp_path / "one" / "model.onnx").open("ab") as file:
        file.write(b" ")
    with pytest.raises(ArtifactError, match="has changed"):
        open_any(tmp_path / "one")
