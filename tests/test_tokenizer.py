from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_tokenizers import SENTENCES, SHARED, SLOVAK, bpe, real, unigram, wordpiece
from tokenizers import AddedToken, Tokenizer, models, processors
from transformers import BertConfig, BertModel, BertTokenizerFast, PreTrainedTokenizerFast

from edgecompress.corpus import Corpus, lines
from edgecompress.encoder import bundle, closure
from edgecompress.encoder.counting import count
from edgecompress.encoder.proof import verify
from edgecompress.encoder.tokenizer import check_reload, order, trim, wrap
from edgecompress.encoder.vocabulary import Rule, select
from edgecompress.errors import CheckError, VocabularyError

FAMILIES = {"unigram": unigram, "wordpiece": wordpiece, "bpe": bpe}
FOREIGN = ("日本 snow ☃ man", "Ωmega", "a\u0301no", "", "   ", "<mask> kôň <mask>", "ďakujem️🙂")


@pytest.fixture(params=list(FAMILIES))
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    return FAMILIES[request.param]()


def closed(tokenizer: Tokenizer, wanted: set[int]) -> np.ndarray:
    tokens = closure.layout(tokenizer)
    made_of = closure.parents(tokens)
    kept: set[int] = set()
    for token in closure.always(tokens) | wanted:
        kept |= closure.ancestors(token, made_of, kept)
    return np.array(sorted(kept))


def like(tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
    names = ("[CLS]", "[SEP]", "[UNK]", "[PAD]", "[MASK]")
    if tokenizer.token_to_id("[CLS]") is None:
        names = ("<s>", "</s>", "<unk>", "<pad>", "<mask>")
    roles = ("cls_token", "sep_token", "unk_token", "pad_token", "mask_token")
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=64, **dict(zip(roles, names, strict=True))
    )


def test_trimming_nothing_is_the_identity(tokenizer: Tokenizer) -> None:
    everything = np.arange(tokenizer.get_vocab_size())
    assert trim(tokenizer, everything).to_str() == tokenizer.to_str()


def test_the_original_is_left_as_it_is(tokenizer: Tokenizer) -> None:
    before = tokenizer.to_str()
    trim(tokenizer, closed(tokenizer, set(range(60))))
    assert tokenizer.to_str() == before


@settings(max_examples=60, deadline=None)
@given(data=st.data(), family=st.sampled_from(sorted(FAMILIES)))
def test_a_text_of_kept_tokens_gives_the_mapped_ids(data: st.DataObject, family: str) -> None:
    old = FAMILIES[family]()
    words = sorted({word for sentence in SENTENCES for word in sentence.split()})
    texts = data.draw(st.lists(st.lists(st.sampled_from(words), max_size=6).map(" ".join), min_size=1, max_size=6))
    extra = data.draw(st.sets(st.integers(0, old.get_vocab_size() - 1), max_size=40))
    kept = closed(old, extra.union(*(encoding.ids for encoding in old.encode_batch(texts))))
    new, ids = trim(old, kept), order(old, kept)
    for pair in (False, True):
        for text in texts:
            one, two = (side.encode(text, text if pair else None) for side in (old, new))
            assert ids[two.ids].tolist() == one.ids
            assert (two.tokens, two.offsets, two.type_ids) == (one.tokens, one.offsets, one.type_ids)


@settings(max_examples=60, deadline=None)
@given(text=st.text(max_size=40), family=st.sampled_from(sorted(FAMILIES)))
def test_any_text_whose_tokens_are_kept_is_cut_alike(text: str, family: str) -> None:
    old = FAMILIES[family]()
    kept = closed(old, set(old.encode(text).ids))
    new, ids = trim(old, kept), order(old, kept)
    assert ids[new.encode(text).ids].tolist() == old.encode(text).ids
    assert new.encode(text).offsets == old.encode(text).offsets


def test_ids_are_dense_and_in_old_order(tokenizer: Tokenizer) -> None:
    kept = closed(tokenizer, set(range(0, tokenizer.get_vocab_size(), 3)))
    new, ids = trim(tokenizer, kept), order(tokenizer, kept)
    assert np.all(np.diff(ids) > 0)
    assert sorted(new.get_vocab().values()) == list(range(len(ids)))
    assert all(new.id_to_token(at) == tokenizer.id_to_token(int(old)) for at, old in enumerate(ids))


def test_order_adds_what_no_tokenizer_works_without() -> None:
    old = unigram()
    assert order(old, np.array([7, 5, 7])).tolist() == [0, 1, 2, 3, 5, 7, 320]
    assert trim(old, np.array([5])).token_to_id("<mask>") == 5
    for wrong in (-1, 321):
        with pytest.raises(VocabularyError, match=f"id {wrong} is no token"):
            order(old, np.array([wrong]))


def test_the_penalty_of_unknown_characters_stays() -> None:
    old = unigram()
    new = trim(old, closed(old, {8, 9}))
    worst = [min(score for _, score in json.loads(side.to_str())["model"]["vocab"]) for side in (old, new)]
    assert worst[0] == worst[1]


def test_bpe_keeps_a_merge_only_with_its_parts() -> None:
    vocab = {"<unk>": 0, "a": 1, "b": 2, "c": 3, "ab": 4, "bc": 5, "abc": 6}
    merges = [("a", "b"), ("b", "c"), ("a", "bc"), ("ab", "c")]
    old = Tokenizer(models.BPE(vocab=vocab, merges=merges, unk_token="<unk>"))
    tokens = closure.layout(old)
    assert closure.ancestors(6, closure.parents(tokens), set()) == {1, 2, 3, 4, 5, 6}
    assert trim(old, closed(old, {6})).encode("abc").tokens == ["abc"]
    small = json.loads(trim(old, np.array([1, 2, 3, 4])).to_str())["model"]
    assert small["merges"] == [["a", "b"]]
    assert small["vocab"] == {"<unk>": 0, "a": 1, "b": 2, "c": 3, "ab": 4}


def test_padding_truncation_and_processors_are_remapped(tokenizer: Tokenizer) -> None:
    pad = "[PAD]" if tokenizer.token_to_id("[PAD]") is not None else "<pad>"
    last = tokenizer.get_vocab_size()
    tokenizer.add_tokens([AddedToken("ekg", normalized=True)])
    tokenizer.add_special_tokens(["<late>"])
    tokenizer.enable_padding(pad_id=last + 1, pad_token="<late>", length=9)
    tokenizer.enable_truncation(9)
    inner = tokenizer.post_processor
    tokenizer.post_processor = processors.Sequence([inner, processors.ByteLevel()])
    kept = closed(tokenizer, {tokenizer.token_to_id(pad), *tokenizer.encode("Dnes ekg").ids})
    new, ids = trim(tokenizer, kept), order(tokenizer, kept)
    assert new.token_to_id("<late>") == len(ids) - 1
    for text in ("Dnes ekg", SLOVAK[1]):
        assert len(new.encode(text).ids) == 9
    assert ids[new.encode("Dnes ekg").ids].tolist() == tokenizer.encode("Dnes ekg").ids


def test_bert_processing_is_remapped() -> None:
    old = wordpiece()
    old.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    new = trim(old, closed(old, set(old.encode("Dnes").ids) - {0}))
    assert new.encode("Dnes").tokens == old.encode("Dnes").tokens
    assert new.encode("Dnes").ids[0] == new.token_to_id("[CLS]")


def test_another_kind_of_model_is_refused() -> None:
    words = Tokenizer(models.WordLevel({"a": 0, "[UNK]": 1}, "[UNK]"))
    with pytest.raises(VocabularyError, match="a WordLevel tokenizer cannot be trimmed"):
        trim(words, np.array([0]))


def test_saved_and_reloaded_gives_the_same_ids(tokenizer: Tokenizer, tmp_path: Path) -> None:
    counts = count(tokenizer, SLOVAK)
    kept = select(tokenizer, [(counts, 1.0)], Rule())
    wrapped = wrap(trim(tokenizer, kept), like(tokenizer))
    config = BertConfig(
        vocab_size=len(kept),
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        intermediate_size=8,
        max_position_embeddings=64,
    )
    bundle.save(bundle.Bundle(BertModel(config, add_pooling_layer=False).eval(), wrapped), tmp_path)
    check_reload(tmp_path, wrapped, [*SENTENCES, *FOREIGN])
    assert wrapped.backend_tokenizer.to_str() == trim(tokenizer, kept).to_str()
    other = wrap(tokenizer, like(tokenizer))
    with pytest.raises(CheckError, match="reads the tokenizer differently, for example on 'Dnes"):
        check_reload(tmp_path, other, SENTENCES)


def test_wrap_carries_the_specials_and_the_longest_input(tokenizer: Tokenizer) -> None:
    original = like(tokenizer)
    wrapped = wrap(trim(tokenizer, closed(tokenizer, set(range(40)))), original)
    assert wrapped.special_tokens_map == original.special_tokens_map
    assert wrapped.model_max_length == 64
    assert wrapped.mask_token_id == wrapped.backend_tokenizer.token_to_id(original.mask_token)
    assert wrapped("Dnes", padding="max_length", max_length=12)["input_ids"][-1] == wrapped.pad_token_id


def test_the_proof_of_an_untouched_tokenizer(tokenizer: Tokenizer) -> None:
    everything = np.arange(tokenizer.get_vocab_size())
    proof = verify(tokenizer, tokenizer, everything, [*SENTENCES, *FOREIGN])
    assert (proof.texts, proof.unchanged, proof.examples) == (len(SENTENCES) + len(FOREIGN), 1.0, ())
    assert proof.unknown_old == proof.unknown_new
    assert proof.fertility_old == proof.fertility_new > 1
    assert 0.9 < proof.coverage_old == proof.coverage_new <= 1


def test_the_proof_shows_what_was_lost() -> None:
    old = wordpiece()
    kept = closed(old, set(old.encode("Dnes ráno").ids))
    proof = verify(old, trim(old, kept), order(old, kept), ["Dnes ráno", "Dnes škola"])
    assert (proof.unchanged, proof.coverage_old, proof.unknown_old) == (0.5, 1.0, 0.0)
    assert proof.unknown_new == pytest.approx(1 / 8)
    assert proof.coverage_new == pytest.approx(1 - 5 / 17)
    (example,) = proof.examples
    assert example.text == "Dnes škola"
    assert example.new[-1] == "[UNK]"
    with pytest.raises(VocabularyError, match="no texts"):
        verify(old, old, np.arange(3), [])


def trimmed_on_slovak(old: Tokenizer, size: int | None) -> tuple[Tokenizer, np.ndarray, list[str]]:
    names = ("ud-snk-train", "commonvoice", "msdocs-human", "eforms")
    text = Corpus("slk", tuple(SHARED / "text" / "slk_Latn" / f"{name}.txt.gz" for name in names))
    kept = select(old, [(count(old, lines(text)), 1.0)], Rule(size=size))
    held_out = (SHARED / "flores" / "slk_Latn" / "devtest.txt").read_text(encoding="utf-8").splitlines()
    return trim(old, kept), order(old, kept), held_out


def test_real_xlm_r_trimmed_on_slovak() -> None:
    old = Tokenizer.from_file(str(real("xlm-r/tokenizer.json")))
    new, ids, held_out = trimmed_on_slovak(old, None)
    proof = verify(old, new, ids, held_out)
    assert new.get_vocab_size() == len(ids) < 13_000
    assert proof.unchanged > 0.33  # 0.343 on these four small sources (12,638 pieces); 0.693 on all twelve (25,379)
    assert proof.unknown_old == 0
    assert proof.unknown_new < 1e-3
    assert proof.fertility_new / proof.fertility_old < 1.06
    assert proof.coverage_new > 0.999
    seen_only = [text for text in held_out if np.isin(old.encode(text).ids, ids).all()]
    assert verify(old, new, ids, seen_only).unchanged == 1.0


def test_real_mbert_trimmed_on_slovak() -> None:
    old = BertTokenizerFast(str(real("mbert/vocab.txt")), do_lower_case=False).backend_tokenizer
    new, ids, held_out = trimmed_on_slovak(old, 8_000)
    assert new.get_vocab_size() == len(ids) == 8_000
    assert [new.id_to_token(at) for at in range(5)] == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    seen_only = [text for text in held_out if np.isin(old.encode(text).ids, ids).all()]
    assert len(seen_only) > 100
    assert verify(old, new, ids, seen_only).unchanged == 1.0
