from __future__ import annotations

import json

import pytest

from edgecompress.serve.asked import Asked, read
from edgecompress.serve.refusal import Refusal
from edgecompress.serve.settings import Settings

LIMITS = Settings(max_texts=3, max_chars=10)


@pytest.mark.parametrize(
    ("body", "asked"),
    [
        ({"text": "a"}, Asked(None, ["a"])),
        ({"text": ""}, Asked(None, [""])),
        ({"model": None, "text": "a"}, Asked(None, ["a"])),
        ({"model": "m", "texts": ["a", "b", "c"]}, Asked("m", ["a", "b", "c"])),
        ({"texts": ["ž" * 10, "\0", "🙂"]}, Asked(None, ["ž" * 10, "\0", "🙂"])),
        ({"words": [["a", "b"], []]}, Asked(None, sentences=[["a", "b"], []])),
        ({"words": [["123456789"]]}, Asked(None, sentences=[["123456789"]])),
    ],
)
def test_good(body, asked):
    assert read(json.dumps(body).encode(), LIMITS) == asked
    assert asked.count == len(next(value if isinstance(value, list) else [value] for name, value in body.items()
                                   if name != "model"))  # fmt: skip


@pytest.mark.parametrize(
    ("body", "code", "says"),
    [
        (b"", "bad_json", "not JSON"),
        (b"{", "bad_json", "character 1"),
        (b"[]", "bad_json", "a list, not an object"),
        (b"null", "bad_json", "null, not"),
        (b"3", "bad_json", "a number, not"),
        (b'{"text": NaN}', "bad_json", "NaN"),
        (b'{"text": ' + b"9" * 5000 + b"}", "bad_json", "number"),
        (b"[" * 100_000, "bad_json", "nesting"),
        (b'\xef\xbb\xbf{"text": "a"}', "bad_json", "not JSON"),
        (b'{"text": "\xff"}', "bad_utf8", "byte 10"),
        ('{"text": "a"}'.encode("utf-16"), "bad_utf8", "byte 0"),
        (b"{}", "bad_request", "exactly one of text, texts, words, not none"),
        (b'{"text": "a", "texts": ["a"]}', "bad_request", "not text and texts"),
        (b'{"text": "a", "txet": 1}', "bad_request", '"txet"'),
        (b'{"text": "a", "\\ud800": 1}', "bad_request", "ud800"),
        (b'{"text": "a", "model": 1}', "bad_request", "model is a number"),
        (b'{"text": null}', "bad_request", "text is null"),
        (b'{"text": ["a"]}', "bad_request", "text is a list"),
        (b'{"texts": "a"}', "bad_request", "texts is a text"),
        (b'{"texts": []}', "bad_request", "texts is empty"),
        (b'{"texts": ["a", true]}', "bad_request", "texts[1] is true"),
        (b'{"texts": ["a", {}]}', "bad_request", "texts[1] is an object"),
        (b'{"words": ["a"]}', "bad_request", "words[0] is a text"),
        (b'{"words": [["a", 1.5]]}', "bad_request", "words[0][1] is a number"),
        (b'{"text": "a\\udc00"}', "bad_text", "character 1"),
        (b'{"words": [["a", "\\ud800"]]}', "bad_text", "words[0][1]"),
        (b'{"texts": ["a", "b", "c", "d"]}', "too_many_texts", "holds 4, at most 3"),
        (b'{"text": "12345678901"}', "text_too_long", "11 characters, at most 10"),
        (b'{"words": [["12345", "1234"]]}', "text_too_long", "11 characters"),
        (b'{"words": [["","","","","","","","","","",""]]}', "text_too_long", "11 words"),
    ],
)
def test_bad(body, code, says):
    with pytest.raises(Refusal) as found:
        read(body, LIMITS)
    assert (found.value.code, says in found.value.message) == (code, True), found.value.message
    found.value.message.encode("utf-8")  # the message can be sent


def test_a_message_repeats_no_text_of_the_caller():
    for body in ({"text": "a secret of mine"}, {"texts": ["a secret of mine"]}, {"words": [["a secret of mine"]]}):
        with pytest.raises(Refusal) as found:
            read(json.dumps(body).encode(), LIMITS)
        assert "secret" not in found.value.message
