"""How raw text is cut into words, for tasks that give one label a word.

Training data come as words; a user's text does not. The pattern below says where its words are, so that the model meets
what it was trained on. It is stored in every token artifact.
"""

from __future__ import annotations

import re
from functools import lru_cache

# Combining marks (general category M), which the standard library's \w leaves out: Devanagari vowel signs, Arabic and
# Hebrew points, loose accents. Neighbouring ranges are joined where only letters, digits or unassigned points lie
# between, which changes nothing here because a word may hold those anyway.
_MARK_RANGES = """
    300-36f 483-489 591-5bd 5bf 5c1-5c2 5c4-5c5 5c7 610-61a 64b-65f 670 6d6-6dc 6df-6e8 6ea-6ed 711-7f3 7fd 816-82d
    859-85b 898-8e1 8e3-963 981-9e3 9fe-a75 a81-ae3 afa-b63 b82-bd7 c00-c63 c81-c83 cbc-d4d d57-d63 d81-df3 e31-e3a
    e47-e4e eb1-ecd f18-f19 f35 f37 f39 f3e-f84 f86-fbc fc6 102b-103e 1056-109d 135d-135f 1712-1734 1752-17d3 17dd
    180b-180d 180f-193b 1a17-1a1b 1a55-1a7f 1ab0-1b44 1b6b-1b73 1b80-1bf3 1c24-1c37 1cd0-1cd2 1cd4-1dff 20d0-20f0
    2cef-2cf1 2d7f-2dff 302a-302f 3099-309a a66f-a672 a674-a67d a69e-a6f1 a802-a827 a82c a880-a8c5 a8e0-a8f1 a8ff-a92d
    a947-a953 a980-a9c0 a9e5-aa4d aa7b-aac1 aaeb-aaef aaf5-aaf6 abe3-abea abec-abed fb1e fe00-fe0f fe20-fe2f
    101fd-1037a 10a01-10a3f 10ae5-10ae6 10d24-10eac 10f46-10f50 10f82-10f85 11000-11046 11070-110ba 110c2 11100-11134
    11145-11173 11180-111c0 111c9-111cc 111ce-111cf 1122c-11237 1123e 112df-11446 1145e-114c3 115af-115c0 115dc-11640
    116ab-116b7 1171d-1172b 1182c-1183a 11930-11943 119d1-119e0 119e4-11a3e 11a47-11a99 11c2f-11c3f 11c92-11ef6
    16af0-16af4 16b30-16b36 16f4f-16f92 16fe4-16ff1 1bc9d-1bc9e 1cf00-1cf46 1d165-1d169 1d16d-1d172 1d17b-1d182
    1d185-1d18b 1d1aa-1d1ad 1d242-1d244 1da00-1da36 1da3b-1da6c 1da75 1da84 1da9b-1e136 1e2ae-1e2ef 1e8d0-1e94a
    e0100-e01ef
"""


def _mark_ranges() -> str:
    """Return the mark ranges as the inside of a regular expression's character class."""
    ranges = (part.partition("-") for part in _MARK_RANGES.split())
    escaped = ((_escape(int(low, 16)), _escape(int(high or low, 16))) for low, _, high in ranges)
    return "".join(f"{low}-{high}" for low, high in escaped)


def _escape(point: int) -> str:
    digits = f"{point:04x}"
    return rf"\u{digits}" if len(digits) == len("ffff") else rf"\U{point:08x}"


def _default_pattern() -> str:
    """Build the default pattern; see :data:`DEFAULT_WORD_PATTERN`."""
    letter = r"[^\W_]"
    # also what Uzbek and Hawaiian write for ʻ (‘), Hebrew in acronyms (״ ׳), Armenian over a stressed vowel (՛ ՜ ՞)
    joiner = r"['’‘ʼ\-‐‑·״׳՛՜՞\u00ad\u200c\u200d]"
    number = r"(?<=\d)[.,:](?=\d)"
    marks = _mark_ranges()
    half = rf"[\u200c\u200d](?=[{marks}])"  # Bengali and Kannada: consonant, joiner, virama
    word = rf"{letter}(?:{letter}|[{marks}]|{joiner}(?={letter})|{half}|{number})*"
    quoted, final_apostrophe = r"((?<=['’‘]))?", r"(?:(?<=[^\W_])['’](?!\S))?"
    invisible = r"\x00-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff"
    other = rf"(?:[^\w\s{invisible}]|_)\ufe0f?"  # an emoji keeps its variation selector
    return rf"{quoted}{word}(?(1)|{final_apostrophe})|{other}"


DEFAULT_WORD_PATTERN: str = _default_pattern()
"""Letters with their marks and digits hold together, also across inner apostrophes, hyphens and zero-width joiners
("don't", "ta'", "well-known", "10.5"); any other visible character is a word of its own. A closing apostrophe belongs
to its word before a space, unless the word follows an opening one ("ta' Malta" against "'hello' she said"). Languages
written without spaces (Chinese, Thai) need a splitter of their own: give `tokens`, not text."""


@lru_cache(maxsize=16)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


def word_offsets(pattern: str, text: str) -> list[tuple[int, int]]:
    """Return start and end of every word of ``text``, as Python string indices. Raises re.error for a bad pattern."""
    return [match.span() for match in _compiled(pattern).finditer(text) if match.end() > match.start()]
