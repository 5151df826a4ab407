"""Word patterns in JavaScript find what they find in Python. Those that run JavaScript are skipped without node."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import unicodedata
from typing import Any

import pytest

from edgecompress.errors import ArtifactError
from edgecompress.web.pattern import to_javascript
from edgecompress.words import DEFAULT_WORD_PATTERN, word_offsets

NODE = shutil.which("node")
SCRIPT = """
let text = "";
process.stdin.on("data", (part) => { text += part; });
process.stdin.on("end", () => {
  const { source, texts } = JSON.parse(text);
  const pattern = new RegExp(source, "gv");
  console.log(JSON.stringify(texts.map((one) => Array.from(one.matchAll(pattern), (match) => match[0]))));
});
"""
TEXTS = [
    "Peter Sagan sa narodil v Žiline.", "don't ta' Malta 'hello' she said", "‘quoted' ’tis rock 'n' roll", "",
    "10.5 kg, 3:0 a 1,2,3 .5", "well-known- a-b --", "❤️ 👩‍👩‍👧 ☃", "नमस्ते दुनिया", "مَرْحَبًا", "e\u0301\u0302 \u0301",
    "a_b __", "a\u200db\u200b \ufeffx\u00a0y\x1cz\x85w", "½ ² Ⅷ ① ٣.٤", "日本語 สวัสดี", "a\nb\r\n", "𝒜𝒷 \U000e0101",
]  # fmt: skip
PATTERNS = [
    DEFAULT_WORD_PATTERN, r"\w+|[^\w\s]", r"\S+", r"(?s).", r".+?(?=\s|$)", r"(a)?b(?(1)c|d)",
    r"(x|y)?\d+(?(1)[a-c]*)\w", r"\b\w+\b", r"[^\W\d_]+", r"(?<!a)b|^\w", r"\B.", r"\w\Z",
    r"(?x) \w  # a letter", r"[\]\-^|{}&]+|[^a-zž]",
]  # fmt: skip


def in_javascript(pattern: str, texts: list[str]) -> Any:
    if NODE is None:
        pytest.skip("needs node")
    given = json.dumps({"source": to_javascript(pattern), "texts": texts})
    done = subprocess.run([NODE, "-e", SCRIPT], input=given, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def in_python(pattern: str, texts: list[str]) -> list[list[str]]:
    return [[text[start:end] for start, end in word_offsets(pattern, text)] for text in texts]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_the_same_words(pattern: str) -> None:
    texts = [*TEXTS, "abc bd bc xd x1a y22bcz 7q"]
    assert in_javascript(pattern, texts) == in_python(pattern, texts)


@pytest.mark.parametrize("pattern", [r"\w", r"\d", r"\s", DEFAULT_WORD_PATTERN])
def test_every_character_is_in_the_same_class(pattern: str) -> None:
    # those that Python's Unicode has not assigned may be letters in a newer one
    points = [p for p in range(sys.maxunicode + 1) if unicodedata.category(chr(p)) not in ("Cn", "Cs")]
    texts = [chr(point) for point in points]
    ours, theirs = in_python(pattern, texts), in_javascript(pattern, texts)
    assert [hex(p) for p, a, b in zip(points, ours, theirs, strict=True) if a != b] == []


@pytest.mark.parametrize(
    ("pattern", "named"),
    [
        (r"(a)\1", "groupref"),
        (r"(?>a)b", "atomic group"),
        (r"a++", "possessive repeat"),
        (r"(?i)a", "IGNORECASE"),
        (r"a(?i:b)", "a flag inside a group"),
        (r"a*", "a match of no characters"),
        (r"(?:(a)|b)(?(1)c|d)", "groupref exists"),
    ],
)
def test_what_javascript_cannot_say_is_refused_by_name(pattern: str, named: str) -> None:
    with pytest.raises(ArtifactError, match=named):
        to_javascript(pattern)
