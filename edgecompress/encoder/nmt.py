"""SentencePiece's first normalization step, in parts that every reader of tokenizer.json knows.

The tokenizers library has it as ``Nmt``, which transformers.js does not read; two replacements do the same.
"""

from __future__ import annotations

from tokenizers import Regex, normalizers

# Control characters that are dropped, and blanks and format characters that become a space.
DROPPED = "[\x01-\x08\x0b\x0e-\x1f\x7f\x8f\x9f]"
BLANKS = "[\t\n\x0c\r\u1680\u200b-\u200f\u2028\u2029\u2581\ufeff\ufffd]"
RUNS = " {2,}"


def nmt() -> list[normalizers.Normalizer]:
    """Return what ``normalizers.Nmt()`` does."""
    return [normalizers.Replace(Regex(DROPPED), ""), normalizers.Replace(Regex(BLANKS), " ")]
