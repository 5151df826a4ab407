from __future__ import annotations

import string

import pytest
from tiny_tokenizers import unigram, wordpiece

from edgecompress.encoder import letters
from edgecompress.errors import MissingExtraError, VocabularyError


def test_digits_and_punctuation_are_always_there() -> None:
    found = letters.characters(wordpiece())
    assert set(string.digits + string.punctuation) <= set(found)
    assert found == "".join(sorted(found))
    assert " " not in found


def test_letters_come_in_both_cases_and_normalized() -> None:
    found = letters.characters(unigram(), letters="ŽſｘÅ")
    assert set("ŽžsxXå") <= set(found)
    assert not set("ｘ\u212b") & set(found)


@pytest.mark.parametrize(
    ("language", "some"), [("sk", "ĺľŕťďäôŽ"), ("mt", "ċġħżĦ"), ("sr_Cyrl", "ђжћџ"), ("sr-Latn", "đž")]
)
def test_alphabets_are_those_of_cldr(language: str, some: str) -> None:
    pytest.importorskip("gflanguages")
    found = letters.alphabet(language)
    assert set(some) | set("0123456789") <= found
    assert not any(map(str.isspace, found))
    assert set(some) <= set(letters.characters(wordpiece(), [language]))


def test_an_unknown_language_is_one_line() -> None:
    pytest.importorskip("gflanguages")
    with pytest.raises(VocabularyError, match="no alphabet of 'klingon': give a BCP 47 tag"):
        letters.alphabet("klingon")
    with pytest.raises(VocabularyError, match="several scripts, choose from sr_"):
        letters.alphabet("sr")


def test_the_package_is_asked_for_only_where_a_language_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(letters, "find_spec", lambda _: None)
    letters.alphabet.cache_clear()
    assert letters.characters(wordpiece())
    with pytest.raises(MissingExtraError, match="gflanguages"):
        letters.characters(wordpiece(), ["sk"])
