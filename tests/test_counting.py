"""Counting by distinct word is the same as counting line by line, for every tokenizer, text and table size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_tokenizers import SENTENCES, SLOVAK, bpe, real, unigram, wordpiece
from tokenizers import AddedToken, Regex, Tokenizer, normalizers, pre_tokenizers
from transformers import BertTokenizerFast

from edgecompress.corpus import Corpus, lines
from edgecompress.encoder import closure, counting
from edgecompress.encoder.counting import Counts, count
from edgecompress.progress import Event, listening

ODD = (
    "", " ", "  ", "\t", "a  b", " a", "a ", "a\u00a0b", "a \u0301b", "\u0301a", "¨ x ¨", "a ﷺ b", "﹉ ", "▁ a▁b ▁▁",
    "<mask> kôň <mask>kôň", "x<s>y </s> <unk>[UNK] [MASK]", "日本 語", "🙂 🇸🇰 👍🏽 x", "a\u200bb \u200b c",
    "ﾞ ｶﾞ", "\u0600 a \u0600",
    "it's 's n't 12 1 2", "Ǆ ǅ ½ Ⅷ ﬁ ͺ ʼn", "क्षि ा क", "ᄀ ᅡ 가 ᄀ ᅡ", "dom, dom. (dom) dom-dom", "\x00 \ufffd a\ufffd",
    "\u0d4e a", "Σ ΑΣ",
)  # fmt: skip


def _xlmr_like() -> Tokenizer:
    made = unigram()
    runs = normalizers.Replace(Regex(" {2,}"), " ")
    made.normalizer = normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC(), runs])
    made.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    return made


def _first() -> Tokenizer:
    made = unigram()
    made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    return made


def _lower() -> Tokenizer:
    made = wordpiece()
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    return made


def _prefixed() -> Tokenizer:
    made = bpe()
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    return made


def _with(made: Tokenizer, part: object) -> Tokenizer:
    made.pre_tokenizer = part
    return made


def _spanning() -> Tokenizer:
    made = wordpiece()
    made.add_tokens([AddedToken("stará mama", normalized=False)])
    return made


BY_WORD = {
    "unigram": unigram,
    "wordpiece": wordpiece,
    "bpe": bpe,
    "xlm-r": _xlmr_like,
    "first": _first,
    "lower": _lower,
    "prefixed": _prefixed,
    "blanks": lambda: _with(wordpiece(), pre_tokenizers.WhitespaceSplit()),
}
WHOLE = {
    "never": lambda: _with(unigram(), pre_tokenizers.Metaspace(prepend_scheme="never")),
    "unsplit": lambda: _with(unigram(), pre_tokenizers.Metaspace(split=False)),
    "no regex": lambda: _with(bpe(), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)),
    "spanning": _spanning,
}


def same(one: Counts, two: Counts) -> bool:
    return np.array_equal(one.tokens, two.tokens) and (one.characters, one.lines, one.total) == (
        two.characters,
        two.lines,
        two.total,
    )


@pytest.mark.parametrize("name", [*BY_WORD, *WHOLE])
def test_by_word_is_exact(name: str) -> None:
    made = (BY_WORD | WHOLE)[name]()
    texts = [*ODD, *SENTENCES, *ODD, *SLOVAK, *(" ".join(pair) for pair in zip(ODD, SENTENCES, strict=False))]
    assert same(count(made, texts, documents=False), count(made, texts))
    for text in texts:
        assert same(count(made, [text], documents=False), count(made, [text])), text


_words = st.one_of(
    st.sampled_from([word for sentence in SENTENCES for word in sentence.split()]),
    st.text(max_size=6),
    st.sampled_from(ODD),
)


@settings(max_examples=150, deadline=None)
@given(texts=st.lists(st.lists(_words, max_size=6).map(" ".join), max_size=5), name=st.sampled_from(sorted(BY_WORD)))
def test_by_word_is_exact_on_any_text(texts: list[str], name: str) -> None:
    made = BY_WORD[name]()
    assert same(count(made, texts, documents=False), count(made, texts))


@pytest.mark.parametrize(("full", "full_text"), [(20, 10**9), (10**9, 100)])
@pytest.mark.parametrize("name", BY_WORD)
def test_a_full_table_is_emptied_without_a_loss(
    name: str, full: int, full_text: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of words, or, in languages that leave no spaces between them, of their characters."""
    made = BY_WORD[name]()
    whole = count(made, SENTENCES * 3, documents=False)
    sizes: list[int] = []
    empty = counting._empty

    def watched(tally: object, table: dict[str, int], firsts: object) -> None:
        sizes.append(len(table))
        empty(tally, table, firsts)

    monkeypatch.setattr(counting, "_empty", watched)
    monkeypatch.setattr(counting, "_FULL", full)
    monkeypatch.setattr(counting, "_FULL_TEXT", full_text)
    monkeypatch.setattr(counting, "_TEXT", 100)
    assert same(count(made, SENTENCES * 3, documents=False), whole)
    assert len(sizes) > 20
    assert max(sizes) < 20 + 30  # what one batch of 100 characters and a line may add


def test_documents_are_left_out_where_lines_are_not_looked_at() -> None:
    assert count(wordpiece(), SLOVAK, documents=False).documents is None
    documents = count(wordpiece(), SLOVAK).documents
    assert documents is not None
    assert int(documents.max()) <= len(SLOVAK)


def test_progress_and_generators() -> None:
    events: list[Event] = []
    with listening(events.append):
        counted = count(wordpiece(), (text for text in SLOVAK), documents=False, task="words")
    assert counted.lines == len(SLOVAK)
    assert [(event.task, event.done) for event in events] == [("words", len(SLOVAK))]
    assert count(unigram(), [], documents=False).total == 0


def test_rows_are_one_past_the_highest_id() -> None:
    for made in (unigram(), wordpiece(), bpe()):
        assert closure.rows(made) == closure.layout(made).rows
        made.add_special_tokens(["<late>"])
        assert closure.rows(made) == closure.layout(made).rows


def _real(name: str) -> Tokenizer:
    if name == "xlm-r":
        return Tokenizer.from_file(str(real("xlm-r/tokenizer.json")))
    return BertTokenizerFast(str(real("mbert/vocab.txt")), do_lower_case=False).backend_tokenizer


@pytest.mark.parametrize("name", ["xlm-r", "mbert"])
def test_real_tokenizers_on_real_text(name: str) -> None:
    made = _real(name)
    folder: Path = real("xlm-r/tokenizer.json").parents[2] / "data" / "text" / "slk_Latn"
    text = list(lines(Corpus("slk", tuple(folder / f"{file}.txt.gz" for file in ("ud-snk-train", "eforms")))))
    assert same(count(made, [*text, *ODD], documents=False), count(made, [*text, *ODD]))
