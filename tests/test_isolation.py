from __future__ import annotations

import pytest
from test_counting import BY_WORD, WHOLE
from tiny_tokenizers import real, unigram
from tokenizers import AddedToken, Tokenizer, normalizers, pre_tokenizers

from edgecompress.encoder import isolation


@pytest.mark.parametrize("name", BY_WORD)
def test_these_cut_word_by_word(name: str) -> None:
    assert isolation.words(BY_WORD[name]()) is not None


@pytest.mark.parametrize("name", WHOLE)
def test_these_may_look_across_spaces(name: str) -> None:
    assert isolation.words(WHOLE[name]()) is None


def test_what_is_not_known_is_not_trusted() -> None:
    made = unigram()
    made.normalizer = normalizers.Replace("a b", "c")
    assert isolation.words(made) is None
    made = unigram()
    made.add_tokens([AddedToken("ekg", normalized=True)])
    assert isolation.words(made) is None
    made.normalizer = None
    assert isolation.words(made) is not None
    made.pre_tokenizer = None
    assert isolation.words(made) is None
    made.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.ByteLevel()])
    assert isolation.words(made) is None


def test_suspects_make_a_line_whole() -> None:
    words = isolation.words(unigram())
    assert words is not None
    assert not words.suspects(["Dnes", "ráno,", "(pršalo)", "a\u0301no", "日本"])
    for text in ("a  b", " a", "a ", "", "a\u00a0b", "a\tb", "a \u0301b", "x<mask>y", "¨", "👍🏽", "▁"):
        suspects = words.suspects(text.split(" "))
        assert suspects, text
        assert isolation.whole(text, suspects)
        assert not isolation.whole("Dnes ráno", suspects)


def test_no_usual_character_of_the_real_xlm_r_becomes_a_blank_or_nothing() -> None:
    normalizer = Tokenizer.from_file(str(real("xlm-r/tokenizer.json"))).normalizer
    unusual, orphan = isolation._patterns()
    usual = [char for char in map(chr, range(0x20, 0x20000)) if not unusual.match(char)]
    assert len(usual) > 75_000
    for char in usual:
        form = normalizer.normalize_str(char)
        marks = orphan.match(f" {char}")
        assert char == " " or marks or (form and not any(map(str.isspace, form))), f"U+{ord(char):04X}"
