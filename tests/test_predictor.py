import asyncio
import math
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from seqeval.metrics.sequence_labeling import get_entities
from tiny_artifact import LABELS, table, write_artifact, write_graph

import edgecompress
from edgecompress.artifact import seal
from edgecompress.errors import ArtifactError, CheckError
from edgecompress.export.schemes import SCHEMES
from edgecompress.runtime.predictions import Label, Span, span_ranges
from edgecompress.runtime.predictor import Predictor, from_artifact, load
from edgecompress.runtime.running import BATCH, scales_over_batch, softmax

MIXED = ["good", "", "bad " * 9, "   ", "\u0000\u0007", "\ud800", "film bad", "😀" * 7, "good film good", "\u200b"]
SURE = math.exp(4) / (math.exp(4) + 4)  # the softmax of one logit of 4 among five


@pytest.fixture
def sentiment(tmp_path):
    write_artifact(tmp_path / "sentiment")
    return load(tmp_path / "sentiment", threads=1)


@pytest.fixture
def ner(tmp_path):
    write_artifact(tmp_path / "ner", "ner")
    return load(tmp_path / "ner", threads=1)


def test_a_text_gets_its_label_with_every_probability(sentiment):
    prediction = sentiment("Good film")  # logits (0, 4) / 4 tokens with [CLS] and [SEP]
    assert prediction == Label("positive", prediction.probability, prediction.probabilities, 1)
    assert prediction.probability == pytest.approx(math.e / (1 + math.e))
    assert prediction.probabilities == pytest.approx({"negative": 1 / (1 + math.e), "positive": math.e / (1 + math.e)})
    assert sentiment.labels(["bad", "good", "bad bad"]) == ["negative", "positive", "negative"]


@pytest.mark.parametrize("batch_size", [1, 3, 32])
def test_a_prediction_is_the_same_alone_and_in_company(tmp_path, batch_size):
    predictor = from_artifact(write_artifact(tmp_path), threads=1, batch_size=batch_size)
    together = predictor(MIXED)
    assert [one.label for one in together] == [predictor(text).label for text in MIXED]
    for one, text in zip(together, MIXED, strict=True):
        assert one.probabilities == pytest.approx(predictor(text).probabilities, abs=1e-6)


def test_empty_lists_and_tuples_are_fine(sentiment, ner):
    assert sentiment([]) == ner([]) == []
    assert sentiment(("good",)) == [sentiment("good")]
    assert ner.tag_words([]) == []
    assert ner.tag_words([[], ["Ján"], []]) == [[], ["B-PER"], []]


def test_a_text_longer_than_the_model_is_read_in_windows(sentiment, ner):
    assert sentiment("film " * 13 + "good").windows == 1
    long = sentiment("film " * 14 + "good good")  # windows of 14 words: 14 × film; 12 × film and 2 × good
    assert (long.label, long.windows) == ("positive", 2)
    even, leaning = 0.5, 1 / (1 + math.exp(-4 / 16 * 2))
    assert long.probabilities["positive"] == pytest.approx((even + leaning) / 2, abs=1e-6)
    tagged = ner("film " * 14 + "Ján")
    assert (tagged.windows, tagged.words[14].tag) == (2, "B-PER")
    assert [(s.text, s.start, s.end) for s in tagged.spans] == [("Ján", 70, 73)]


def test_a_word_in_a_long_text_gets_the_tag_that_it_has_alone(ner):
    words = ["film", "Ján", "Novák", "v", "Košice", "Kofola", "don't", "."] * 40
    [tags] = ner.tag([words])
    assert tags.windows > 10
    assert tags.unseen == 0
    [alone] = ner.tag([words[:8]])
    assert tags.tags == alone.tags * 40


def test_several_at_once_and_in_the_event_loop_are_as_one_after_the_other(ner):
    texts = [f"film {'good ' * n}Ján Novák v Košice" for n in range(30)]
    expected = ner(texts)

    async def ask():
        return await asyncio.gather(*(ner.predict_async([text]) for text in texts))

    assert [one for [one] in asyncio.run(ask())] == expected
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(ner, texts)) == expected


@pytest.mark.parametrize("scheme", list(SCHEMES))
def test_schemes_that_scale_over_a_batch_run_one_text_at_a_time(tmp_path, scheme):
    artifact = replace(write_artifact(tmp_path), scheme=scheme)
    assert scales_over_batch(scheme) == (SCHEMES[scheme].weights == "dynamic")
    assert from_artifact(artifact).batch_size == (1 if SCHEMES[scheme].weights == "dynamic" else BATCH)
    assert from_artifact(artifact, batch_size=7).batch_size == 7


def test_words_and_spans_map_back_to_the_text(ner):
    text = "  Ján\tNovák,\n v  Košice-Kofola."
    tagged = ner(text)
    assert [(word.text, word.tag) for word in tagged.words] == [
        ("Ján", "B-PER"),
        ("Novák", "I-PER"),
        (",", "O"),
        ("v", "O"),
        ("Košice-Kofola", "B-LOC"),
        (".", "O"),
    ]
    assert all(text[word.start : word.end] == word.text for word in tagged.words)
    assert [(span.label, span.text, span.start, span.end) for span in tagged.spans] == [
        ("PER", "Ján\tNovák", 2, 11),
        ("LOC", "Košice-Kofola", 17, 30),
    ]
    assert [span.probability for span in tagged.spans] == pytest.approx([SURE, SURE])


def test_a_span_may_begin_with_inside(ner):
    [first, second] = ner("Novák Kofola").spans
    assert (first, second) == (
        Span("PER", "Novák", first.probability, 0, 5),
        Span("LOC", "Kofola", second.probability, 6, 12),
    )


def test_offsets_survive_lone_surrogates_and_invisible_characters(ner):
    text = "\ud800\u200b \x07Ján\udfff 😀 Novák"
    words = ner(text).words
    assert [(word.text, word.start) for word in words] == [
        ("\ud800", 0),
        ("Ján", 4),
        ("\udfff", 7),
        ("😀", 9),
        ("Novák", 11),
    ]
    assert all(text[word.start : word.end] == word.text for word in words)


@pytest.mark.parametrize("text", ["", "  \n", "\x00", "\u200b"])
def test_a_text_without_words_has_none(ner, text):
    assert (ner(text).words, ner(text).spans, ner(text).windows) == ((), (), 1)


def test_words_without_a_token_follow_the_rule(tmp_path, ner):
    assert ner.tag([["Ján", "\u0007"]])[0].tags == ("B-PER", "O")
    pos = load(write_artifact(tmp_path / "pos", "pos").folder)
    [tags] = pos.tag([["film", "\u0007", "."]])
    assert (tags.tags, tags.probabilities[1], tags.unseen) == (("NOUN", "X", "PUNCT"), 0.0, 1)
    artifact = write_artifact(tmp_path / "other", "pos")
    other = load(seal(replace(artifact, labels=("NOUN", "PUNCT", "SYM"))).folder)
    assert other.tag_words([["\u0007"]]) == [["NOUN"]]


def test_pos_has_words_but_no_spans(tmp_path):
    tagged = load(write_artifact(tmp_path, "pos").folder)("film.")
    assert ([word.tag for word in tagged.words], tagged.spans) == (["NOUN", "PUNCT"], ())


def test_edgecompress_load_is_the_same(tmp_path, sentiment):
    predictor = edgecompress.load(tmp_path / "sentiment", threads=1)
    assert isinstance(predictor, Predictor)
    assert predictor("good") == sentiment("good")


@pytest.mark.parametrize(
    ("given_texts", "said"),
    [
        (7, "expected a str or a list of str, got int"),
        (None, "got NoneType"),
        (b"good", "got int at index 0"),
        (["good", None], "got NoneType at index 1"),
        ([["good"]], "got list at index 0"),
    ],
)
def test_what_is_no_text_is_a_type_error(sentiment, given_texts, said):
    with pytest.raises(TypeError, match=said):
        sentiment(given_texts)


def test_words_must_be_lists_of_texts(ner):
    with pytest.raises(TypeError, match="expected a list of words, got str"):
        ner.tag_words(["Ján Novák"])
    with pytest.raises(TypeError, match="got int at index 0"):
        ner.tag_words([[1]])


def test_the_wrong_method_for_the_task_says_so(sentiment, ner):
    with pytest.raises(ValueError, match="'sentiment' gives one label a text"):
        sentiment.tag_words([["good"]])
    with pytest.raises(ValueError, match="'ner' gives one label a word"):
        ner.labels(["good"])


def refused(artifact):
    with pytest.raises(ArtifactError) as caught:
        load(seal(artifact).folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_unusable_files_are_refused(tmp_path):
    artifact = write_artifact(tmp_path)
    artifact.tokenizer_path.write_text("{")
    assert "is not a tokenizer.json" in refused(artifact)
    artifact.model_path.write_bytes(b"not a graph")
    assert "cannot be opened by onnxruntime" in refused(artifact)


@pytest.mark.parametrize(
    ("rows", "kind", "output", "said"),
    [
        (table("sentiment"), "text", "scores", "gives scores, not logits"),
        (table("sentiment"), "token", "logits", "not 2 axes with 2 labels"),
        (table("ner"), "text", "logits", "not 2 axes with 2 labels"),
    ],
)
def test_a_graph_of_another_task_is_refused(tmp_path, rows, kind, output, said):
    artifact = write_artifact(tmp_path)
    write_graph(artifact.model_path, rows, kind, output)
    assert said in refused(artifact)


def test_logits_that_are_not_numbers_are_refused(tmp_path):
    rows = table("sentiment")
    rows[:] = np.nan
    with pytest.raises(CheckError, match="not numbers"):
        load(write_artifact(tmp_path, rows=rows).folder)("good")


@pytest.mark.parametrize("numbers", [{"threads": -1}, {"batch_size": -1}])
def test_impossible_numbers_are_refused(tmp_path, numbers):
    with pytest.raises(ValueError, match=next(iter(numbers))):
        from_artifact(write_artifact(tmp_path), **numbers)


def test_softmax_is_stable_for_any_size():
    logits = np.array([[1e30, -1e30, 0], [-1e4, -1e4, -1e4]], np.float32)
    assert softmax(logits).tolist() == [[1, 0, 0], pytest.approx([1 / 3] * 3)]
    assert softmax(logits).dtype == np.float32


@given(st.lists(st.sampled_from(["O", "B-PER", "I-PER", "B-LOC", "I-LOC"])))
def test_spans_are_those_that_are_scored(tags):
    assert [(kind, begin, end - 1) for kind, begin, end in span_ranges(tags)] == get_entities(tags)


@given(st.text(max_size=40))
def test_no_text_crashes_and_every_offset_is_true(predictors, text):
    texts, words = predictors
    assert texts(text).label in LABELS["sentiment"]
    assert all(text[word.start : word.end] == word.text for word in words(text).words)


@pytest.fixture(scope="module")
def predictors(tmp_path_factory):
    folder = tmp_path_factory.mktemp("artifacts")
    return tuple(load(write_artifact(folder / task, task).folder, threads=1) for task in ("sentiment", "ner"))


@pytest.mark.parametrize(("given", "held"), [(None, "1"), ("1", "1"), ("0", "0")])
def test_nothing_is_reported_or_kept_at_home_unless_asked_for(tmp_path, given, held):
    write_artifact(tmp_path / "a")
    (tmp_path / "home").mkdir()
    environment = {**os.environ, "HOME": str(tmp_path / "home"), "ORT_DISABLE_TELEMETRY": given or ""}
    if given is None:
        del environment["ORT_DISABLE_TELEMETRY"]
    environment.pop("XDG_CACHE_HOME", None)
    code = f"import edgecompress, os; print(edgecompress.load({str(tmp_path / 'a')!r})('good').label)"
    code += "; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.split() == ["positive", held]
    # Whether onnxruntime leaves a file where it may report is its own affair, and not the same on every machine.
    assert held == "0" or not [*(tmp_path / "home").iterdir()]
