"""From the bytes of a request to what it asks for, each mistake with its own answer. Nothing here knows of HTTP."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from edgecompress.serve.refusal import Refusal
from edgecompress.serve.settings import Settings

FIELDS = {
    "text": "one text",
    "texts": "a list of texts",
    "words": "a list of sentences, each a list of words (token tasks alone)",
}
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Asked:
    """A checked request: ``model`` is None for the only one; either ``texts`` or ``sentences`` holds something."""

    model: str | None
    texts: Sequence[str] = ()
    sentences: Sequence[Sequence[str]] = ()

    @property
    def count(self) -> int:
        """How many texts or sentences there are."""
        return len(self.texts) + len(self.sentences)

    @property
    def sizes(self) -> list[int]:
        """Characters of each text or sentence."""
        return [*map(len, self.texts), *(sum(map(len, words)) + len(words) for words in self.sentences)]

    def part(self, begin: int, end: int) -> Asked:
        """Return a request for the texts or sentences from ``begin`` to before ``end``."""
        return Asked(self.model, self.texts[begin:end], self.sentences[begin:end])


def read(body: bytes, settings: Settings) -> Asked:
    """Read a request. Raises Refusal with bad_utf8, bad_json, bad_request, bad_text or the limit that is exceeded."""
    data = _object(body)
    unknown = sorted(set(data) - {"model", *FIELDS})
    if unknown:
        raise Refusal("bad_request", f"unknown field {_short(unknown[0])}: the fields are model, {', '.join(FIELDS)}")
    given = [name for name in FIELDS if name in data]
    if len(given) != 1:
        raise Refusal("bad_request", f"give exactly one of {', '.join(FIELDS)}, not {' and '.join(given) or 'none'}")
    model = data.get("model")
    if model is not None and not isinstance(model, str):
        raise Refusal("bad_request", f"model is {_kind(model)}, not a name")
    return _checked(model, given[0], data[given[0]], settings)


def _object(body: bytes) -> dict[str, Any]:
    try:
        data = _from_json(body.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise Refusal("bad_utf8", f"the body is not UTF-8 (byte {error.start}): encode it as UTF-8") from error
    except json.JSONDecodeError as error:
        raise Refusal("bad_json", f"the body is not JSON ({error.msg}, character {error.pos})") from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits; thousands of brackets
        raise Refusal("bad_json", "the body holds a number or a nesting that no request needs") from error
    if not isinstance(data, dict):
        raise Refusal("bad_json", f"the body is {_kind(data)}, not an object")
    return data


def _no_constant(name: str) -> None:
    raise Refusal("bad_json", f"the body holds {name}, which JSON does not know")


_from_json = json.JSONDecoder(parse_constant=_no_constant).decode  # json.loads makes such an object for each body


def _checked(model: str | None, field: str, value: Any, settings: Settings) -> Asked:
    if field == "text":
        value = [value]
    if not isinstance(value, list) or not value:
        what = "empty" if value == [] else _kind(value)
        raise Refusal("bad_request", f"{field} is {what}: give {FIELDS[field]}")
    if len(value) > settings.max_texts:
        raise Refusal("too_many_texts", f"{field} holds {len(value)}, at most {settings.max_texts} are allowed")
    for index, one in enumerate(value):
        where = field if field == "text" else f"{field}[{index}]"
        if field == "words":
            _check_sentence(one, where, settings.max_chars)
        else:
            _check_text(one, where, settings.max_chars)
    return Asked(model, sentences=value) if field == "words" else Asked(model, texts=value)


def _check_sentence(words: Any, where: str, most: int) -> None:
    if not isinstance(words, list):
        raise Refusal("bad_request", f"{where} is {_kind(words)}, not a list of words")
    if len(words) > most:
        raise Refusal("text_too_long", f"{where} has {len(words)} words, at most {most} characters are allowed")
    for index, word in enumerate(words):
        _check_text(word, f"{where}[{index}]", most)
    length = sum(len(word) + 1 for word in words)
    if length > most:
        raise Refusal("text_too_long", f"{where} has {length} characters, at most {most} are allowed")


def _check_text(text: Any, where: str, most: int) -> None:
    if not isinstance(text, str):
        raise Refusal("bad_request", f"{where} is {_kind(text)}, not a text")
    if len(text) > most:
        raise Refusal("text_too_long", f"{where} has {len(text)} characters, at most {most} are allowed")
    found = _SURROGATE.search(text)
    if found:
        raise Refusal("bad_text", f"{where} holds a lone surrogate at character {found.start()}")


def _kind(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    kinds = ((str, "a text"), (int | float, "a number"), (list, "a list"), (dict, "an object"))
    return next(name for kind, name in kinds if isinstance(value, kind))


def _short(text: str, limit: int = 40) -> str:
    shown = json.dumps(text)  # ASCII: a surrogate in a name must not break the answer that names it
    return shown if len(shown) <= limit else f'{shown[: limit - 2]}…"'
