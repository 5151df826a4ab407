"""The script that characters and tokens are written in, by the names that Unicode gives to letters."""

from __future__ import annotations

import unicodedata
from collections import Counter
from functools import cache
from typing import TYPE_CHECKING

from tokenizers import decoders

from edgecompress.encoder import closure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from edgecompress.encoder.closure import Layout

_MAIN = 0.01  # of the letters of a text
OTHER = "no letter"
UNREAD = "\ufffd"  # what stands for bytes that are no whole character


@cache
def script(char: str) -> str:
    """Return the script of a letter ("LATIN", "CYRILLIC", "CJK"), the first word of its Unicode name; else ""."""
    return unicodedata.name(char, "").partition(" ")[0] if char.isalpha() else ""


def scripts_of(text: str) -> set[str]:
    """Return the scripts of the letters in ``text``."""
    return set(map(script, text)) - {""}


def main_scripts(seen: Iterable[Mapping[str, int]]) -> set[str]:
    """Return the scripts that make up a hundredth of the letters in any of the character counts."""
    found: set[str] = set()
    for characters in seen:
        letters: Counter[str] = Counter()
        for char, times in characters.items():
            letters[script(char)] += times
        del letters[""]
        found |= {name for name, times in letters.items() if times >= _MAIN * letters.total()}
    return found


def speller(tokens: Layout) -> Callable[[str], str]:
    """Return a function from a token to the text it stands for, as far as the token alone tells it."""
    read = reader(tokens)
    return lambda token: read(token).replace(UNREAD, "")


def reader(tokens: Layout) -> Callable[[str], str]:
    """Return a function from a token to the text it stands for, with U+FFFD for bytes that are no whole character."""
    prefix = tokens.model.get("continuing_subword_prefix") or ""
    if any(name == "Ġ" for name in closure.byte_tokens(tokens)):
        decoder = decoders.ByteLevel()
        return lambda token: str(decoder.decode([token]))
    return lambda token: token.removeprefix(prefix).replace("▁", " ") if prefix else token.replace("▁", " ")
