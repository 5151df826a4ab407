"""Requests that a server must survive: each kind makes a case from a random source, and says what may come of it.

A case is bytes as they go over the wire, in parts with pauses between them. "closed" stands for a connection that ends
without an answer: a client that broke off has no right to one.
"""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

OK, REFUSED = (200,), (422,)
DROPPED = ("closed",)
LETTERS = "aábcčdďeéfghiíjklĺľmnňoópqrŕsštťuúvwxyýzž"
MARKS = "\u0301\u0323\u0308\u064b\u0651\u05b8\u0e31\u0f71\u20dd\ufe0f\u200d"
BIDI = "\u202a\u202b\u202d\u202e\u202c\u2066\u2067\u2068\u2069\u200e\u200f"
EMOJI = "🙂👩‍👩‍👧‍👦🏳️‍🌈👍🏽🇸🇰"
RTL = "שלוםسلاممرحبا"
LIMITS = {"chars": 10_000, "texts": 256, "body": 1_000_000}


@dataclass(frozen=True)
class Case:
    """``parts`` are sent one after the other with ``pause`` seconds between them; then ``answers`` are awaited, each of
    a status in ``may``; ``end`` is what the client does: "keep", "reset" or "close" the connection.
    """

    parts: Sequence[bytes]
    may: Sequence[int | str]
    answers: int = 1
    pause: float = 0.0
    end: str = "keep"
    reads: bool = True


@dataclass(frozen=True)
class World:
    """What there is to ask: real texts, the names of models of text and of token tasks, the token."""

    texts: Sequence[str]
    text_models: Sequence[str]
    token_models: Sequence[str]
    token: str

    @property
    def models(self) -> list[str]:
        """All names."""
        return [*self.text_models, *self.token_models]


Maker = Callable[[random.Random, World], Case]


def head(length: int | None, token: str, *fields: str, method: str = "POST", path: str = "/v1/predict") -> bytes:
    """Return a request's head with the token, if any, and JSON's type, unless ``fields`` name these."""
    given = {field.partition(":")[0].lower() for field in fields}
    lines = [f"{method} {path} HTTP/1.1", "host: localhost", *fields]
    if token and "authorization" not in given:
        lines.append(f"authorization: Bearer {token}")
    if "content-type" not in given:
        lines.append("content-type: application/json")
    if length is not None:
        lines.append(f"content-length: {length}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8", "surrogatepass")


def whole(body: bytes, token: str, *fields: str, **more: str) -> bytes:
    """Return a whole request."""
    return head(len(body), token, *fields, **more) + body


def asking(world: World, data: Any, may: Sequence[int | str] = OK, **more: Any) -> Case:
    """Return a case of JSON."""
    return Case([whole(json.dumps(data).encode(), world.token)], may, **more)


def any_text(drawn: random.Random, world: World) -> str:
    """Return a real text."""
    return drawn.choice(world.texts)


def from_letters(drawn: random.Random, letters: str, most: int = 60) -> str:
    """Return a text of these characters."""
    return "".join(drawn.choices(letters + " ", k=drawn.randrange(1, most)))


def one(drawn: random.Random, world: World, text: str) -> Case:
    """Return a good request for a text, which must be answered."""
    escaped = drawn.random() < 0.5
    data = {"model": drawn.choice(world.models), "text": text}
    return Case([whole(json.dumps(data, ensure_ascii=escaped).encode("utf-8"), world.token)], OK)


def planes(drawn: random.Random, world: World) -> Case:
    """Characters of one Unicode plane, assigned or not, without surrogates."""
    plane = drawn.randrange(17) << 16
    points = (plane + drawn.randrange(0x10000) for _ in range(drawn.randrange(1, 200)))
    return one(drawn, world, "".join(chr(point) for point in points if not 0xD800 <= point < 0xE000))


def controls(drawn: random.Random, world: World) -> Case:
    """Control characters between letters."""
    odd = "".join(map(chr, [*range(32), *range(127, 160), 0xAD, 0x2028, 0x2029, 0xFEFF, 0xFFFE, 0xFFFF]))
    return one(drawn, world, from_letters(drawn, odd + "ab"))


def marks(drawn: random.Random, world: World) -> Case:
    """Return combining marks, emoji, right-to-left and directions in any order, one mark a thousand times."""
    text = from_letters(drawn, drawn.choice([MARKS + "aع", EMOJI, RTL, BIDI + RTL + "ab", MARKS + BIDI + EMOJI + RTL]))
    return one(drawn, world, text + drawn.choice(MARKS) * drawn.choice([0, 0, 1000]))


def empties(drawn: random.Random, world: World) -> Case:
    """Nothing, in each place where nothing may stand."""
    name, tokens = drawn.choice(world.models), drawn.choice(world.token_models)
    cases: list[tuple[Any, Sequence[int | str]]] = [
        ({"model": name, "text": ""}, OK),
        ({"model": name, "text": " \n\t\u00a0"}, OK),
        ({"model": name, "texts": [""] * 3}, OK),
        ({"model": tokens, "words": [[]]}, OK),
        ({"model": tokens, "words": [["", " ", "\u200b"], []]}, OK),
        ({"model": name, "texts": []}, REFUSED),
        ({"model": tokens, "words": []}, REFUSED),
        ({}, REFUSED),
        ({"model": "", "text": "a"}, (404,)),
        ({"model": name}, REFUSED),
    ]
    return asking(world, *drawn.choice(cases))


def several(drawn: random.Random, world: World) -> Case:
    """As many texts as may be, or one more."""
    count = drawn.choice([2, 8, 32, 33, LIMITS["texts"], LIMITS["texts"] + 1])
    texts = [any_text(drawn, world)[:80] for _ in range(count)]
    return asking(
        world, {"model": drawn.choice(world.models), "texts": texts}, REFUSED if count > LIMITS["texts"] else (200, 503)
    )


def lengths(drawn: random.Random, world: World) -> Case:
    """One text at the limit, or just beyond it; also one without a space, and of full stops alone."""
    limit = LIMITS["chars"]
    real = " ".join(world.texts[:1000])
    text = drawn.choice(
        [real * (2 * limit // len(real) + 1), "x" * 2 * limit, "." * 2 * limit, "ž" * 2 * limit, "語" * 2 * limit]
    )
    size = drawn.choice([limit // 3, limit, limit + 1])
    return asking(
        world, {"model": drawn.choice(world.models), "text": text[:size]}, REFUSED if size > limit else (200, 503)
    )


def word_lists(drawn: random.Random, world: World) -> Case:
    """Sentences of odd words, and of very many."""
    odd = ["", " ", "a b", "\n", "\u0000", "🙂", "́", "x" * 300, "don't", "\u200b", any_text(drawn, world)[:200]]
    good: list[Any] = [drawn.choices(odd, k=drawn.randrange(1, 30)), ["a"] * drawn.choice([1000, 5000]), ["."] * 5000]
    bad: list[Any] = [["a"] * 20_000, [""] * 10_001, ["a", 1], "ab", [["a"]], None, [None], {"a": 1}]
    fine = drawn.random() < 0.6
    case = {"model": drawn.choice(world.token_models), "words": [drawn.choice(good if fine else bad)]}
    if fine and drawn.random() < 0.2:
        return asking(world, {**case, "model": drawn.choice(world.text_models)}, REFUSED)
    return asking(world, case, (200, 503) if fine else REFUSED)


def wrong_types(drawn: random.Random, world: World) -> Case:
    """Return a field of a type that it must not have."""
    wrong = drawn.choice([None, True, 0, -1.5, 1e300, [], {}, [1], {"text": "a"}, [["a"]], 10**300])
    field = drawn.choice(["text", "texts", "model"])
    data = {"model": drawn.choice(world.models), "text": "a", field: wrong}
    if field == "texts":
        del data["text"]
    return asking(world, data, (200, 422) if field == "model" and wrong is None else REFUSED)


def names(drawn: random.Random, world: World) -> Case:
    """Models and fields that are not there."""
    odd = [
        "../" * 9 + "etc/passwd",
        "..",
        "/etc/passwd",
        "topic/../ner",
        "%2e%2e",
        "a\u0000b",
        "x" * 5000,
        "🙂",
        "Topic",
        " ",
    ]
    if drawn.random() < 0.7:
        return asking(world, {"model": drawn.choice(odd), "text": "a"}, (404,))
    return asking(world, {"model": world.models[0], "text": "a", drawn.choice([*odd, "Text", "options"]): 1}, REFUSED)


def surrogates(drawn: random.Random, world: World) -> Case:
    """Lone surrogates, escaped and as bytes, in each field."""
    lone = chr(drawn.randrange(0xD800, 0xE000))
    text, name = from_letters(drawn, LETTERS) + lone + "a", drawn.choice(world.models)
    if drawn.random() < 0.3:
        return Case(
            [whole(json.dumps({"text": text}, ensure_ascii=False).encode("utf-8", "surrogatepass"), world.token)],
            (400,),
        )
    places: list[tuple[Any, Sequence[int]]] = [
        ({"model": name, "text": text}, REFUSED),
        ({"model": name, "texts": ["a", text]}, REFUSED),
        ({"model": drawn.choice(world.token_models), "words": [["a", text]]}, REFUSED),
        ({"model": lone, "text": "a"}, (404,)),
        ({"model": name, lone: "a"}, REFUSED),
        ({"model": name, "text": "\ud83d\ude42"}, OK),
    ]
    return asking(world, *drawn.choice(places))


def malformed(drawn: random.Random, world: World) -> Case:
    """JSON that is none."""
    good = json.dumps({"model": world.models[0], "text": any_text(drawn, world)})
    deep = drawn.choice([10, 1000, 100_000])
    bad: list[bytes] = [
        good[: drawn.randrange(len(good) - 1)].encode(),
        good.encode() + b"}",
        b"",
        b"null",
        b"[]",
        b'"text"',
        b"\x00",
        b"{'text': 'a'}",
        b'{"text": NaN}',
        b'{"text": "a", "model": -Infinity}',
        b'{"text": ' + b"9" * 10_000 + b"}",
        b"[" * deep,
        b'{"text":' * deep,
        b"[" * deep + b"]" * deep,
        good.encode("utf-16"),
        b"\xef\xbb\xbf" + good.encode(),
        b'{"text": "a\nb"}',
        b'{"text": "\xff\xfe"}',
        b'{"text": "\\x41"}',
        b'{"text": "\\u12"}',
        b'{"text": "a",}',
        gzip.compress(good.encode()),
        b'{"text": "a"} {"text": "b"}',
        b'{"text" "a"}',
        b"<text>a</text>",
        b"text=a",
    ]
    return Case([whole(drawn.choice(bad), world.token)], (400,))


def damaged(drawn: random.Random, world: World) -> Case:
    """Return a good body with some bytes changed: what it means is open, that it is answered is not."""
    raw = bytearray(json.dumps({"model": world.models[0], "text": any_text(drawn, world)}, ensure_ascii=False).encode())
    for _ in range(drawn.randrange(1, 6)):
        raw[drawn.randrange(len(raw))] = drawn.randrange(256)
    return Case([whole(bytes(raw), world.token)], (200, 400, 404, 422))


def twice(drawn: random.Random, world: World) -> Case:
    """Fields of the JSON given twice: the last one counts."""
    name = world.models[0]
    bodies: list[tuple[str, Sequence[int]]] = [
        (f'{{"model": "{name}", "text": 1, "text": "a"}}', OK),
        (f'{{"model": "{name}", "text": "a", "text": 1}}', REFUSED),
        (f'{{"model": "no", "model": "{name}", "text": "a"}}', OK),
    ]
    body, may = drawn.choice(bodies)
    return Case([whole(body.encode(), world.token)], may)


BODIES: Mapping[str, tuple[int, Maker]] = {
    "real text": (6, lambda drawn, world: one(drawn, world, any_text(drawn, world))),
    "unicode planes": (8, planes),
    "control characters": (5, controls),
    "marks, emoji, right-to-left": (5, marks),
    "empty": (4, empties),
    "several texts": (2, several),
    "long texts": (2, lengths),
    "word lists": (4, word_lists),
    "wrong types": (6, wrong_types),
    "names": (5, names),
    "lone surrogates": (5, surrogates),
    "malformed JSON": (10, malformed),
    "damaged JSON": (5, damaged),
    "fields twice": (1, twice),
}
