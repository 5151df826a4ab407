"""Characters that a vocabulary keeps though the text may lack them: a language's alphabet, digits, punctuation.

Alphabets are CLDR's exemplar characters (main and auxiliary, both cases, and the language's digits and punctuation), as
the package ``gflanguages`` of Google Fonts ships them for 1,600 languages.
"""

from __future__ import annotations

import string
import unicodedata
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from edgecompress.errors import MissingExtraError, VocabularyError
from edgecompress.extras import install

if TYPE_CHECKING:
    from collections.abc import Iterable
    from importlib.resources.abc import Traversable

    from tokenizers import Tokenizer

ALWAYS = string.digits + string.punctuation + "‘’‚‛“”„‟«»‹›–—…·•°§€£×−"
_FIELDS = ("base", "auxiliary", "marks", "numerals", "punctuation")


def characters(tokenizer: Tokenizer, languages: Iterable[str] = (), letters: str = "") -> str:
    """Return digits, punctuation, the alphabets of ``languages`` and ``letters``, as the tokenizer normalizes them.

    Languages are BCP 47 tags ("sk", or "sr_Cyrl" where there are several scripts). Raises VocabularyError for an
    unknown one, MissingExtraError when languages are given and gflanguages is not installed.
    """
    wanted = set(ALWAYS) | set(letters) | set(letters.upper()) | set(letters.lower())
    wanted = wanted.union(*(alphabet(language) for language in languages))
    normalizer: Any = tokenizer.normalizer
    forms = (normalizer.normalize_str(char) if normalizer else char for char in sorted(wanted))
    return "".join(sorted({char for form in forms for char in form if not char.isspace()}))


@cache
def alphabet(language: str) -> frozenset[str]:
    """Return the characters that ``language`` is written with, composed and decomposed."""
    from importlib.resources import files

    if find_spec("gflanguages") is None:
        raise MissingExtraError(f"alphabets need the package gflanguages: {install('compress')}")
    found = _entry(files("gflanguages.data") / "languages", language)
    from gfmetadata import LanguageProto, text_format

    listed = text_format.Parse(found.read_text(encoding="utf-8"), LanguageProto()).exemplar_chars
    text = "".join(getattr(listed, field) for field in _FIELDS).replace("◌", "")
    forms = text + text.upper() + unicodedata.normalize("NFC", text)
    return frozenset(char for char in forms if not char.isspace())


def _entry(folder: Traversable, language: str) -> Traversable:
    """Return the file of a language. Raises VocabularyError unless there is exactly one."""
    tag = language.replace("-", "_")
    names = sorted(path.name for path in folder.iterdir() if path.name.removesuffix(".textproto").split("_")[0] == tag)
    exact = f"{tag}.textproto"
    if (folder / exact).is_file():
        return folder / exact
    if len(names) == 1:
        return folder / names[0]
    choice = ", ".join(name.removesuffix(".textproto") for name in names)
    hint = f"it has several scripts, choose from {choice}" if names else "give a BCP 47 tag such as sk, mt or sr_Cyrl"
    raise VocabularyError(f"no alphabet of {language!r}: {hint}")
