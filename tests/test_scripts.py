from __future__ import annotations

from tiny_tokenizers import bpe, unigram, wordpiece

from edgecompress.encoder import closure, scripts


def test_the_script_of_a_letter() -> None:
    named = {"a": "LATIN", "ž": "LATIN", "ж": "CYRILLIC", "か": "HIRAGANA", "語": "CJK", "क": "DEVANAGARI"}
    assert {char: scripts.script(char) for char in named} == named
    assert {scripts.script(char) for char in "1.▁ \u0301🙂"} == {""}
    assert scripts.scripts_of("aж1") == {"LATIN", "CYRILLIC"}


def test_a_script_is_main_from_a_hundredth_of_the_letters_of_one_text() -> None:
    assert scripts.main_scripts([{"a": 990, "ж": 11, "か": 9, "1": 10_000}]) == {"LATIN", "CYRILLIC"}
    assert scripts.main_scripts([{"a": 10_000}, {"ж": 3}]) == {"LATIN", "CYRILLIC"}
    assert scripts.main_scripts([{}]) == set()


def test_tokens_are_spelled_as_text() -> None:
    assert scripts.speller(closure.layout(unigram()))("▁ľud") == " ľud"
    assert scripts.speller(closure.layout(wordpiece()))("##ľud") == "ľud"
    old = bpe()
    spell = scripts.speller(closure.layout(old))
    assert "".join(map(spell, old.encode("dom v meste", add_special_tokens=False).tokens)) == "dom v meste"
    half = next(name for name in old.encode("🙂").tokens if spell(name) == "")  # one byte of four is no letter
    assert scripts.scripts_of(spell(half)) == set()
