"""Whether a tokenizer cuts a line word by word, so that counting may look at each distinct word once.

"Word" is what stands between two single spaces. Normalizers and pre-tokenizers that are known not to look across a
space are listed here; anything else is tokenized line by line. So is a line in which a word could meet its neighbour:
one with other blanks, with control or format characters, with a combining mark after a space, or with an added token.
"""

from __future__ import annotations

import json
import re
import sys
import unicodedata
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from edgecompress.encoder import nmt

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tokenizers import Tokenizer

    from edgecompress.records import Json

_NORMALIZERS = {
    "Nmt",
    "NFC",
    "NFD",
    "NFKC",
    "NFKD",
    "BertNormalizer",
    "Lowercase",
    "StripAccents",
    "Precompiled",
    "Strip",
}
_BLANK_SPLITTERS = {"BertPreTokenizer", "Whitespace", "WhitespaceSplit"}
_WITHIN_WORDS = {"BertPreTokenizer", "Punctuation", "Digits"}
_REPLACED = [{"Regex": pattern} for pattern in (nmt.RUNS, nmt.DROPPED, nmt.BLANKS)]  # none of them stands in a word
# Joined to what follows them, or to what precedes, though they are letters and symbols by category.
_JOINING = {0x0D4E, 0x111C2, 0x111C3, 0x1193F, 0x11941, 0x11A3A, *range(0x11A84, 0x11A8A), 0x11D46, 0x11F02}
_JOINING |= {0xFF9E, 0xFF9F, ord("▁"), 0xFFFD}  # the last is a blank to SentencePiece
_HIGHEST = 0x20000


@dataclass(frozen=True)
class Words:
    """How to count by word: ``bare_first`` where the first word of a line lacks the space that the others begin with.

    ``added`` finds an added token.
    """

    bare_first: bool
    added: re.Pattern[str]

    def suspects(self, words: Iterable[str]) -> set[str]:
        """Return what must not occur in a line, nor in its words and the spaces around them, to count it by word."""
        unusual, orphan = _patterns()
        padded = f" {' '.join(words)} "
        found = {"  "} if "  " in padded else set()
        return found.union(unusual.findall(padded), orphan.findall(padded), self.added.findall(padded))


def whole(line: str, suspects: set[str]) -> bool:
    """Whether ``line`` has to be tokenized whole, given the suspects in its words."""
    padded = f" {line} "
    return any(suspect in padded for suspect in suspects)


def words(tokenizer: Tokenizer) -> Words | None:
    """Return how to count by word with this tokenizer, None when it may look across the spaces between words."""
    normalizers = list(_flat(_spec(tokenizer.normalizer), "normalizers"))
    if not all(map(_keeps_apart, normalizers)):
        return None
    added = tokenizer.get_added_tokens_decoder().values()
    if any(" " in token.content or (normalizers and token.normalized) for token in added):
        return None  # its spelling in the line is not known, or spans words
    splitter = _splitter(list(_flat(_spec(tokenizer.pre_tokenizer), "pretokenizers")))
    names = "|".join(sorted(re.escape(token.content) for token in added)) or r"(?!)"
    return None if splitter is None else Words(splitter == "bare", re.compile(names))


def _spec(part: Any) -> Json | None:
    """Return a part of a tokenizer as its JSON says it, without reading the whole vocabulary."""
    return None if part is None else json.loads(part.__getstate__())


def _flat(part: Json | None, inside: str) -> Iterator[Json]:
    """Yield the parts of a normalizer or pre-tokenizer, sequences opened."""
    if part is None:
        return
    if part["type"] != "Sequence":
        yield part
    for inner in part.get(inside, []):
        yield from _flat(inner, inside)


def _keeps_apart(part: Json) -> bool:
    """Whether a normalizer never changes a word because of the next one."""
    return part["type"] in _NORMALIZERS or (part["type"] == "Replace" and part["pattern"] in _REPLACED)


def _splitter(parts: list[Json]) -> str | None:
    """Return "bare" or "alike" for a pre-tokenizer that splits at every space, None for another one."""
    if not parts:
        return None
    first, rest = parts[0], parts[1:]
    if first["type"] in _BLANK_SPLITTERS and all(_within(part) for part in rest):
        return "alike"
    if not rest and first["type"] == "Metaspace" and first.get("prepend_scheme") in ("always", "first"):
        return "alike" if first.get("split", True) and first["replacement"] == "▁" else None
    if not rest and first["type"] == "ByteLevel" and first.get("use_regex", True):
        return "alike" if first["add_prefix_space"] else "bare"
    return None


def _within(part: Json) -> bool:
    """Whether a later pre-tokenizer does the same to every word, first or not."""
    every: Any = part.get("prepend_scheme") == "always" and part["replacement"] == "▁"
    return part["type"] in _WITHIN_WORDS or (part["type"] == "Metaspace" and bool(every))


@cache
def _patterns() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Return what finds an unusual character, and what finds a combining mark after a space."""
    usual, marks = [], []
    for point in range(min(_HIGHEST, sys.maxunicode)):
        kind = unicodedata.category(chr(point))
        if kind[0] == "M":
            marks.append(point)
        elif _is_usual(point, kind):
            usual.append(point)
    return re.compile(f"[^ {_ranges(sorted(usual + marks))}]"), re.compile(f" [{_ranges(marks)}]")


def _is_usual(point: int, kind: str) -> bool:
    """Whether a character is visible, stands by itself, and holds no blank in its compatibility form."""
    if point in _JOINING or kind[0] not in "LNPS" or (kind == "Sk" and point > 0x7F):  # noqa: PLR2004 - ASCII
        return False
    return not any(map(str.isspace, unicodedata.normalize("NFKC", chr(point))))


def _ranges(points: list[int]) -> str:
    """Return code points as the inside of a character class."""
    starts = [point for at, point in enumerate(points) if at == 0 or points[at - 1] != point - 1]
    ends = [point for at, point in enumerate(points) if at + 1 == len(points) or points[at + 1] != point + 1]
    return "".join(f"\\U{one:08x}-\\U{two:08x}" for one, two in zip(starts, ends, strict=True))
