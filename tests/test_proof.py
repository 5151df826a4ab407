from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tiny_tokenizers import SENTENCES, SLOVAK, bpe, unigram, wordpiece
from tokenizers import Tokenizer

from edgecompress.encoder import closure
from edgecompress.encoder.counting import count
from edgecompress.encoder.proof import mapping, verify
from edgecompress.encoder.tokenizer import cut, trim
from edgecompress.encoder.vocabulary import Rule, select

FAMILIES = {"unigram": unigram, "wordpiece": wordpiece, "bpe": bpe}


@pytest.fixture(params=list(FAMILIES))
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    return FAMILIES[request.param]()


def trimmed(old: Tokenizer, **rule: object) -> tuple[Tokenizer, np.ndarray]:
    return cut(old, select(old, [(count(old, SLOVAK), 1.0)], Rule(**rule)))


def writable(old: Tokenizer) -> str:
    """The characters that the trimmed vocabularies below keep, wherever in a word they stand."""
    seen = count(old, SLOVAK).characters
    prefix = closure.layout(old).model.get("continuing_subword_prefix") or ""
    return "".join(
        sorted(c for c in seen if closure.byte_tokens(closure.layout(old)) or {c, prefix + c} <= set(old.get_vocab()))
    )


@settings(max_examples=120, deadline=None)
@given(data=st.data(), family=st.sampled_from(sorted(FAMILIES)), size=st.integers(0, 60))
def test_any_text_over_the_kept_alphabet_round_trips_as_before(data: st.DataObject, family: str, size: int) -> None:
    old = FAMILIES[family]()
    least = len(trimmed(old, coverage=1e-9)[1])
    new, _ = trimmed(old, size=least + size)
    text = data.draw(st.lists(st.text(writable(old), min_size=1, max_size=12), max_size=5).map(" ".join))
    one, two = (side.decode(side.encode(text).ids) for side in (old, new))
    assert one == two
    unknown = closure.layout(new).unknown
    assert unknown not in new.encode(text).ids


@settings(max_examples=120, deadline=None)
@given(data=st.data(), family=st.sampled_from(sorted(FAMILIES)))
def test_where_every_token_is_kept_segmentation_and_offsets_are_identical(data: st.DataObject, family: str) -> None:
    old = FAMILIES[family]()
    new, order = trimmed(old)
    words = [word for sentence in SENTENCES for word in sentence.split()]
    some = st.one_of(st.sampled_from(words), st.text(max_size=5), st.sampled_from(["日本", "☃", "Ω", "q̄", "ŵŵ"]))
    text = data.draw(st.lists(some, max_size=8).map(" ".join))
    before = old.encode(text)
    assume(set(before.ids) <= set(order.tolist()))  # unknown characters among them: their penalty is the old one
    after = new.encode(text)
    assert order[after.ids].tolist() == before.ids
    assert (after.tokens, after.offsets, after.type_ids) == (before.tokens, before.offsets, before.type_ids)


def test_ids_are_mapped_by_the_tokens_strings(tokenizer: Tokenizer) -> None:
    new, order = trimmed(tokenizer)
    assert mapping(tokenizer, new).tolist() == order.tolist()
    back = mapping(new, tokenizer)
    assert [back[at] for at in order] == list(range(len(order)))
    assert (back == -1).sum() == tokenizer.get_vocab_size() - len(order)


def test_tokens_that_only_the_new_one_has_are_differences() -> None:
    old, new = wordpiece(), unigram()
    proof = verify(old, new, mapping(old, new), SENTENCES)
    assert proof.unchanged == 0
    assert len(proof.examples) == 10


def test_the_ten_worst_come_first_and_the_text_may_be_a_stream(tokenizer: Tokenizer) -> None:
    new = trim(tokenizer, select(tokenizer, [(count(tokenizer, SLOVAK[:2]), 1.0)], Rule()))
    order = mapping(tokenizer, new)
    proof = verify(tokenizer, new, order, (text for text in SENTENCES * 12))  # more than one batch
    assert proof == verify(tokenizer, new, order, SENTENCES * 12)
    unknown = {tokenizer.id_to_token(at) for at in [closure.layout(tokenizer).unknown] if at is not None}

    def badness(old: tuple[str, ...], new: tuple[str, ...]) -> int:
        return len(new) - len(old) + sum(t in unknown for t in new) - sum(t in unknown for t in old)

    found = [badness(example.old, example.new) for example in proof.examples]
    assert len(found) == 10
    if tokenizer.to_str().find('"Unigram"') < 0:  # whose unknown tokens are named by their text
        everyone = sorted(
            (
                badness(
                    tuple(tokenizer.encode(text, add_special_tokens=False).tokens),
                    tuple(new.encode(text, add_special_tokens=False).tokens),
                )
                for text in SENTENCES
            ),
            reverse=True,
        )
        assert found == sorted(found, reverse=True)
        assert found[0] == everyone[0]


def test_characters_a_token(tokenizer: Tokenizer) -> None:
    everything = np.arange(tokenizer.get_vocab_size())
    proof = verify(tokenizer, tokenizer, everything, SLOVAK)
    letters = sum(len("".join(text.split())) for text in SLOVAK)
    tokens = sum(len(e.ids) for e in tokenizer.encode_batch(list(SLOVAK), add_special_tokens=False))
    assert proof.characters_old == proof.characters_new == letters / tokens
