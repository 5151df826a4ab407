from __future__ import annotations

from tokenizers import normalizers

from edgecompress.encoder.nmt import nmt


def test_it_does_what_nmt_does_to_every_character() -> None:
    ours, theirs = normalizers.Sequence(nmt()), normalizers.Nmt()
    for point in (*range(1, 0xD800), *range(0xE000, 0x10FFF)):
        text = f"a{chr(point)}b"
        assert ours.normalize_str(text) == theirs.normalize_str(text), hex(point)
