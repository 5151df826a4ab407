"""What a vocabulary must keep so that the tokens it keeps still come out of the tokenizer.

WordPiece turns a word into UNK when one piece is missing; BPE reaches a token only through the merges before it;
Unigram scores unknown characters by its worst piece. All three are read from the fast tokenizer's JSON.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tokenizers import Tokenizer, models, pre_tokenizers

from edgecompress.errors import VocabularyError

if TYPE_CHECKING:
    from edgecompress.records import Json

KINDS = ("BPE", "Unigram", "WordPiece")
Parents = Mapping[int, tuple[int, ...]]


@dataclass(frozen=True)
class Layout:
    """A tokenizer's parts: its whole JSON, the model's kind, every token's id, one past the highest id, the UNK id."""

    spec: Json
    kind: str
    ids: Mapping[str, int]
    rows: int
    unknown: int | None

    @property
    def model(self) -> Json:
        """The ``model`` part of the JSON."""
        model: Json = self.spec["model"]
        return model


def layout(tokenizer: Tokenizer) -> Layout:
    """Read the tokenizer's JSON. Raises VocabularyError for a model that is not WordPiece, Unigram or BPE."""
    spec = json.loads(tokenizer.to_str())
    model = spec["model"]
    kind = model["type"]
    if kind not in KINDS:
        raise VocabularyError(f"a {kind} tokenizer cannot be trimmed; only {', '.join(KINDS)} can")
    listed = ((piece, at) for at, (piece, _) in enumerate(model["vocab"]))
    ids = dict(listed) if kind == "Unigram" else dict(model["vocab"])
    ids.update({token["content"]: token["id"] for token in spec["added_tokens"]})
    unknown = model["unk_id"] if kind == "Unigram" else ids.get(model["unk_token"] or "")
    return Layout(spec, kind, ids, max(ids.values(), default=-1) + 1, unknown)


def rows(tokenizer: Tokenizer) -> int:
    """Return one past the highest id: the length of every array that has an entry a token."""
    if isinstance(tokenizer.model, models.Unigram):  # whose pieces have no gaps; their names take long to list
        added = max(tokenizer.get_added_tokens_decoder(), default=-1) + 1
        return max(tokenizer.get_vocab_size(with_added_tokens=False), added)
    return max(tokenizer.get_vocab(with_added_tokens=True).values(), default=-1) + 1


def plain(tokenizer: Tokenizer) -> Tokenizer:
    """Return the tokenizer without truncation and padding: itself, or a copy when one of them is set."""
    if tokenizer.truncation is None and tokenizer.padding is None:
        return tokenizer
    copy = Tokenizer.from_str(tokenizer.to_str())
    copy.no_truncation()
    copy.no_padding()
    return copy


def always(tokens: Layout) -> set[int]:
    """Return the ids that every trimmed vocabulary keeps.

    These are the added tokens (specials among them), UNK, what the post-processor inserts, the bare ``▁``, all byte
    tokens of a tokenizer that falls back to bytes, and for Unigram one piece with the lowest score (the penalty of an
    unknown character is derived from it).
    """
    kept = {token["id"] for token in tokens.spec["added_tokens"]}
    kept |= {tokens.ids[name] for name in processor_tokens(tokens.spec["post_processor"]) if name in tokens.ids}
    kept |= {tokens.ids[name] for name in (*byte_tokens(tokens), "▁") if name in tokens.ids}
    if tokens.unknown is not None:
        kept.add(tokens.unknown)
    if tokens.kind == "Unigram":
        scores = [score for _, score in tokens.model["vocab"]]
        kept.add(scores.index(min(scores)))
    return kept


def characters(tokens: Layout, seen: Iterable[str]) -> set[int]:
    """Return the ids of every single character in ``seen`` that is a token, also as ``##c`` and as ``c</w>``."""
    prefix = tokens.model.get("continuing_subword_prefix") or ""
    suffix = tokens.model.get("end_of_word_suffix") or ""
    forms = (form for char in seen for form in (char, prefix + char, char + suffix, prefix + char + suffix))
    return {tokens.ids[form] for form in forms if form in tokens.ids}


def parents(tokens: Layout) -> Parents:
    """Return, for BPE, the two parts of every merge that makes a token (several merges may); empty otherwise.

    All merges and not only the first: with merges ``a b``, ``b c``, ``a bc``, ``ab c`` the third is the lowest that
    makes ``abc`` and yet never fires, because ``ab`` is made before ``bc``.
    """
    made: dict[int, tuple[int, ...]] = {}
    for left, right, result in merges(tokens):
        made[result] = (*made.get(result, ()), left, right)
    return made


def merges(tokens: Layout) -> Iterator[tuple[int, int, int]]:
    """Yield (left id, right id, result id) of every BPE merge, in rank order; nothing for the other models."""
    if tokens.kind != "BPE":
        return
    prefix = tokens.model["continuing_subword_prefix"] or ""
    for left, right in tokens.model["merges"]:
        result = left + (right.removeprefix(prefix) if prefix else right)
        yield tokens.ids[left], tokens.ids[right], tokens.ids[result]


def ancestors(token: int, made_of: Parents, known: set[int]) -> set[int]:
    """Return ``token`` and all that its merges need, less what is ``known`` already (and so are its ancestors)."""
    found: set[int] = set()
    todo = [token]
    while todo:
        current = todo.pop()
        if current not in known and current not in found:
            found.add(current)
            todo.extend(made_of.get(current, ()))
    return found


def byte_tokens(tokens: Layout) -> tuple[str, ...]:
    """Return the 256 byte tokens of a byte-level or byte-fallback tokenizer; nothing for another one."""
    if tokens.model.get("byte_fallback"):
        return tuple(f"<0x{byte:02X}>" for byte in range(256))
    parts = (tokens.spec["pre_tokenizer"], tokens.spec["normalizer"])
    return tuple(sorted(pre_tokenizers.ByteLevel.alphabet())) if any(map(_byte_level, parts)) else ()


def _byte_level(part: Json | None) -> bool:
    """Whether a normalizer or pre-tokenizer maps bytes to characters, itself or inside a sequence."""
    if not part:
        return False
    inner: list[Json] = part.get("pretokenizers") or part.get("normalizers") or []
    return part["type"] == "ByteLevel" or any(map(_byte_level, inner))


def processor_tokens(part: Json | None) -> set[str]:
    """Return the tokens that a post-processor inserts, by name."""
    if not part:
        return set()
    names = {token for entry in part.get("special_tokens", {}).values() for token in entry["tokens"]}
    names |= {part[role][0] for role in ("cls", "sep") if role in part}
    for inner in part.get("processors", []):
        names |= processor_tokens(inner)
    return names
