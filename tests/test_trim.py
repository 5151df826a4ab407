"""The trim stage: what its options keep, that no row is random, and what it refuses."""

from __future__ import annotations

import dataclasses
import string

import numpy as np
import pytest
import torch
from test_surgery import every_family
from tiny_models import SLOVAK, SWAHILI, bundle, corpus, tokenizer

from edgecompress.encoder import closure
from edgecompress.encoder.tokenizer import order
from edgecompress.errors import CorpusError, VocabularyError
from edgecompress.options import Selection
from edgecompress.stages.trim import trim


@every_family
@pytest.mark.parametrize("fill", ["none", "rank"])
def test_every_row_is_the_trained_one_of_its_token(tmp_path, family, fill):
    made = bundle(family)
    old = made.tokenizer.get_vocab()
    size = len(trim(made, corpora=(corpus(tmp_path, lines=SLOVAK[:4]),)).tokenizer) + 25
    less = trim(made, corpora=(corpus(tmp_path, lines=SLOVAK[:4]),), size=size, selection=Selection(fill=fill))
    before, after = (one.model.get_input_embeddings().weight for one in (made, less))
    for token, at in less.tokenizer.get_vocab().items():
        assert torch.equal(after[at], before[old[token]]), token
    outputs = [one.model.get_output_embeddings() for one in (made, less)]
    for token, at in less.tokenizer.get_vocab().items():
        assert outputs[1].bias[at] == outputs[0].bias[old[token]]


@every_family
def test_pieces_that_are_newly_reached_keep_their_trained_rows(tmp_path, family):
    """Where the best piece was cut away, the others that cut the text have the vectors they were trained to."""
    made = bundle(family)
    less = trim(made, corpora=(corpus(tmp_path, lines=SLOVAK[:3]),))
    old, rows = made.tokenizer.get_vocab(), made.model.get_input_embeddings().weight
    new_rows = less.model.get_input_embeddings().weight
    fresh = set()
    for text in SLOVAK[3:]:
        before, after = (one.tokenizer.tokenize(text) for one in (made, less))
        ids = less.tokenizer(text, add_special_tokens=False)["input_ids"]
        fresh |= set(after) - set(before)
        names = less.tokenizer.convert_ids_to_tokens(ids)
        assert all(torch.equal(new_rows[at], rows[old[name]]) for at, name in zip(ids, names, strict=True))
    assert fresh


def test_padding_stays_where_the_model_looks_for_it(tmp_path):
    for family in ("bert", "roberta", "xlm-roberta", "distilbert"):
        less = trim(bundle(family), corpora=(corpus(tmp_path),))
        embeddings = less.model.get_input_embeddings()
        assert embeddings.padding_idx == less.model.config.pad_token_id == less.tokenizer.pad_token_id


def test_must_keep_files_and_tokens_stay(tmp_path):
    made, text = bundle("bert"), corpus(tmp_path, lines=SLOVAK[:2])
    unseen = sorted(set(made.tokenizer.get_vocab()) - set(trim(made, corpora=(text,)).tokenizer.get_vocab()))
    (tmp_path / "keep.txt").write_text("\n".join(unseen[:3]) + "\n\n", encoding="utf-8")
    chosen = Selection(keep_files=(tmp_path / "keep.txt",))
    less = trim(made, corpora=(text,), keep=(unseen[5],), selection=chosen)
    assert {*unseen[:3], unseen[5]} <= set(less.tokenizer.get_vocab())
    assert less.history[-1].options["selection"]["keep_files"] == ["keep.txt"]


def test_digits_and_letters_stay_though_the_text_lacks_them(tmp_path):
    made, text = bundle("bert"), corpus(tmp_path, lines=("a b c",))
    known = set(made.tokenizer.get_vocab())
    less = set(trim(made, corpora=(text,), selection=Selection(letters="žŽ")).tokenizer.get_vocab())
    assert known & set(string.digits + string.punctuation) <= less
    assert known & {"ž", "##ž", "Ž", "##Ž"} <= less
    pytest.importorskip("gflanguages")
    wider = set(trim(made, corpora=(text,), selection=Selection(alphabet=("sk",))).tokenizer.get_vocab())
    assert known & set("áäčďéíĺľňóôŕšťúýž") <= wider


def test_what_was_dropped_is_reported(tmp_path):
    made, text = bundle("xlm-roberta"), corpus(tmp_path)
    details = trim(made, corpora=(text,)).history[-1].details
    assert details["dropped"]["tokens"] == details["of"] - details["kept"]
    assert sum(details["dropped"]["by_script"].values()) == details["dropped"]["tokens"]
    assert details["dropped"]["by_frequency"] == {"never": details["dropped"]["tokens"]}
    assert details["unchanged_texts"] == 1.0
    assert details["held_out"]["unchanged_texts"] == 1.0  # the same lines again and again
    few = trim(made, corpora=(corpus(tmp_path, lines=SLOVAK[:4], repeat=1),))
    assert few.history[-1].details["held_out"] is None


def test_the_proof_is_on_lines_that_chose_nothing(tmp_path):
    """One line of twenty has words of its own: they stay, and the proof says what another such line would have met."""
    made = bundle("xlm-roberta")
    same = trim(made, corpora=(corpus(tmp_path, lines=(SLOVAK[0],) * 40, repeat=1),)).history[-1].details
    lines = (*[SLOVAK[0]] * 19, SWAHILI[0], *[SLOVAK[0]] * 20)
    alone = trim(made, corpora=(corpus(tmp_path, lines=lines, repeat=1),))
    details = alone.history[-1].details
    assert (same["held_out"]["texts"], same["held_out"]["unchanged_texts"]) == (2, 1.0)
    assert (details["unchanged_texts"], details["held_out"]["unchanged_texts"]) == (1.0, 0.5)
    assert details["held_out"]["tokens_per_word"][1] > details["held_out"]["tokens_per_word"][0]
    assert alone.tokenizer.tokenize(SWAHILI[0]) == made.tokenizer.tokenize(SWAHILI[0])


def test_min_documents_still_counts_lines(tmp_path):
    made = bundle("bert")
    few, many = (trim(made, corpora=(corpus(tmp_path, repeat=1),), min_documents=n) for n in (5, 1))
    assert len(few.tokenizer) < len(many.tokenizer)


def test_two_runs_give_the_same_ids(tmp_path):
    made = bundle("roberta")
    texts = (corpus(tmp_path), corpus(tmp_path, "swh", SWAHILI, weight=2.0))
    one, two = (trim(made, corpora=texts, size=330, selection=Selection(0.99, fill="script")) for _ in range(2))
    assert one.tokenizer.backend_tokenizer.to_str() == two.tokenizer.backend_tokenizer.to_str()


def problem(*args, **options):
    with pytest.raises((VocabularyError, CorpusError)) as caught:
        trim(*args, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_bad_selections_are_one_line(tmp_path):
    made, text = bundle("bert"), corpus(tmp_path)
    assert "no token occurs 100000 times" in problem(made, corpora=(text,), min_count=100_000)
    assert "no token 'qqqq' to keep" in problem(made, corpora=(text,), keep=("qqqq",))
    (tmp_path / "keep.txt").write_text("Dnes\nqqqq\n")
    chosen = Selection(keep_files=(tmp_path / "keep.txt",))
    assert "no token" in problem(made, corpora=(text,), selection=chosen)
    missing = Selection(keep_files=(tmp_path / "none.txt",))
    assert "none.txt does not exist" in problem(made, corpora=(text,), selection=missing)
    georgian = corpus(tmp_path, "kat", ("თბილისი საქართველოს დედაქალაქია", "დღეს კარგი ამინდია"))
    assert "does not know this script" in problem(made, corpora=(georgian,))
    assert "coverage 2.0 is not a share" in problem(made, corpora=(text,), selection=Selection(coverage=2.0))


def test_a_tokenizer_with_more_ids_than_the_model_has_rows_is_refused(tmp_path):
    made = bundle("bert")
    larger = tokenizer("bert")
    larger.add_tokens(["ekg"])
    wrong = dataclasses.replace(made, tokenizer=larger)
    assert "has id 360, the model only 360 embedding rows" in problem(wrong, corpora=(corpus(tmp_path),))


def test_ids_are_dense_whatever_is_kept(tmp_path):
    for family in ("bert", "roberta", "xlm-roberta"):
        made = bundle(family)
        less = trim(made, corpora=(corpus(tmp_path, lines=SLOVAK[:5]),))
        ids = sorted(less.tokenizer.get_vocab().values())
        assert ids == list(range(less.model.config.vocab_size))
        backend = made.tokenizer.backend_tokenizer
        kept = np.array([backend.token_to_id(name) for name in less.tokenizer.get_vocab()])
        assert order(backend, kept).tolist() == sorted(kept.tolist())
        assert closure.rows(less.tokenizer.backend_tokenizer) == len(ids)


def test_a_script_whose_letters_are_mostly_unknown_is_refused_beside_known_signs(tmp_path):
    mixed = corpus(tmp_path, lines=["თბილისი a საქართველოს a დედაქალაქია a"] * 4)
    with pytest.raises(VocabularyError, match=r"9\d% of the characters of the text are unknown to the tokenizer"):
        trim(bundle("xlm-roberta"), corpora=(mixed,))
