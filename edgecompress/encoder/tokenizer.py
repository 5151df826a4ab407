"""Cutting a tokenizer down to the tokens that are kept, and proving that it still does the same.

Only the fast tokenizer's JSON is edited. A kept token's new id is its rank among the kept old ids: specials at low ids
stay low and in order, one at a high id (XLM-R's ``<mask>``, 250001) comes last. :func:`order` gives the old ids in
new-id order, which is the order in which embedding rows are gathered.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from edgecompress.encoder import closure
from edgecompress.errors import CheckError, VocabularyError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from edgecompress.encoder.closure import Layout
    from edgecompress.records import Json

Ids = NDArray[np.int64]
_BATCH = 256
_EXAMPLES = 10
SPECIALS = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
_CARRIED = ("model_max_length", "padding_side", "truncation_side", "model_input_names", "clean_up_tokenization_spaces")


@dataclass(frozen=True)
class Difference:
    """A text that the trimmed tokenizer cuts differently, with the tokens of the old and of the new one."""

    text: str
    old: tuple[str, ...]
    new: tuple[str, ...]


@dataclass(frozen=True)
class Proof:
    """How a trimmed tokenizer compares with the original on ``texts`` texts.

    ``unchanged``: share of texts with the same tokens (ids mapped) at the same offsets; ``unknown``: UNK tokens a
    token; ``fertility``: tokens a blank-separated word; ``coverage``: share of non-blank characters outside UNK.
    """

    texts: int
    unchanged: float
    unknown_old: float
    unknown_new: float
    fertility_old: float
    fertility_new: float
    coverage_old: float
    coverage_new: float
    examples: tuple[Difference, ...]


def order(tokenizer: Tokenizer, kept: Ids) -> Ids:
    """Return the old ids in new-id order: ``kept`` and the tokens no tokenizer works without, ascending.

    The latter are the added tokens, UNK, what the post-processor inserts, the padding token. Raises VocabularyError
    for an id that the tokenizer does not have.
    """
    return _order(closure.layout(tokenizer), kept)


def _order(tokens: Layout, kept: Ids) -> Ids:
    """Return :func:`order` of a tokenizer that was read already."""
    known = np.zeros(tokens.rows, bool)
    known[list(tokens.ids.values())] = True
    asked = np.asarray(kept, np.int64)
    wrong = asked[(asked < 0) | (asked >= tokens.rows)]
    wrong = wrong if len(wrong) else asked[~known[asked]]
    if len(wrong):
        raise VocabularyError(f"id {wrong[0]} is no token of this tokenizer, which has {len(tokens.ids)}")
    return np.unique(np.concatenate([asked, np.array(sorted(_needed(tokens)), np.int64)]))


def _needed(tokens: Layout) -> set[int]:
    """Return the ids that the JSON refers to."""
    names = closure.processor_tokens(tokens.spec["post_processor"])
    names |= {tokens.spec["padding"]["pad_token"]} if tokens.spec["padding"] else set()
    needed = {tokens.ids[name] for name in names if name in tokens.ids}
    needed |= {token["id"] for token in tokens.spec["added_tokens"]}
    return needed if tokens.unknown is None else needed | {tokens.unknown}


def trim(tokenizer: Tokenizer, kept: Ids) -> Tokenizer:
    """Return a new tokenizer with only the tokens of ``order(tokenizer, kept)``, ids 0 to n−1 without a gap.

    BPE merges go when one of their parts or their result goes. Truncation, padding, the post-processor and added tokens
    (inside or outside of the model's vocabulary) are carried over with new ids. Raises VocabularyError for a model that
    is not WordPiece, Unigram or BPE, CheckError when the result does not number its tokens as it should.
    """
    tokens = closure.layout(tokenizer)
    new = {int(old): at for at, old in enumerate(_order(tokens, kept))}
    spec = {
        **tokens.spec,
        "added_tokens": [{**token, "id": new[token["id"]]} for token in tokens.spec["added_tokens"]],
        "model": _model(tokens, new),
        "post_processor": _processor(tokens.spec["post_processor"], new.__getitem__),
        "padding": _padding(tokens, new),
    }
    trimmed = Tokenizer.from_str(json.dumps(spec, ensure_ascii=False))
    expected = {name: new[at] for name, at in tokens.ids.items() if at in new}
    if trimmed.get_vocab(with_added_tokens=True) != expected:
        raise CheckError("the trimmed tokenizer numbers its tokens differently: an added token lies among model tokens")
    return trimmed


def _model(tokens: Layout, new: dict[int, int]) -> Json:
    """Return the ``model`` part with the kept pieces (and merges) alone."""
    model = tokens.model
    if tokens.kind == "Unigram":
        pieces = [piece for at, piece in enumerate(model["vocab"]) if at in new]
        return {**model, "vocab": pieces, "unk_id": None if tokens.unknown is None else new[tokens.unknown]}
    vocab = {piece: new[at] for piece, at in model["vocab"].items() if at in new}
    if tokens.kind == "WordPiece":
        return {**model, "vocab": vocab}
    pairs = zip(model["merges"], closure.merges(tokens), strict=True)
    return {**model, "vocab": vocab, "merges": [pair for pair, ids in pairs if all(at in new for at in ids)]}


def _processor(part: Json | None, new: Callable[[int], int]) -> Json | None:
    """Return a post-processor with mapped ids; one that inserts nothing is returned as it is."""
    if part is None:
        return None
    mapped = dict(part)
    if "special_tokens" in part:
        entries = part["special_tokens"].items()
        mapped["special_tokens"] = {name: {**entry, "ids": list(map(new, entry["ids"]))} for name, entry in entries}
    for role in ("cls", "sep"):
        if role in part:
            mapped[role] = [part[role][0], new(part[role][1])]
    if "processors" in part:
        mapped["processors"] = [_processor(inner, new) for inner in part["processors"]]
    return mapped


def _padding(tokens: Layout, new: dict[int, int]) -> Json | None:
    """Return the padding rule with its new id."""
    padding = tokens.spec["padding"]
    return None if padding is None else {**padding, "pad_id": new[tokens.ids[padding["pad_token"]]]}


def wrap(tokenizer: Tokenizer, like: PreTrainedTokenizerFast) -> PreTrainedTokenizerFast:
    """Return ``tokenizer`` as a transformers tokenizer with ``like``'s special tokens, sides and ``model_max_length``.

    The class is always PreTrainedTokenizerFast: the model-specific ones of transformers 5 rebuild parts of the JSON.
    """
    options: dict[str, Any] = {name: str(getattr(like, name)) for name in SPECIALS if getattr(like, name) is not None}
    options |= {name: getattr(like, name) for name in _CARRIED if hasattr(like, name)}
    # transformers 4 and 5 name the same list differently, and each accepts only its own name.
    for name in ("extra_special_tokens", "additional_special_tokens"):
        extra = getattr(like, name, None)
        if isinstance(extra, list) and extra:
            options[name] = [str(token) for token in extra]
            break
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **options)


def verify(old: Tokenizer, new: Tokenizer, order: Ids, texts: Sequence[str]) -> Proof:
    """Compare both tokenizers on held-out ``texts``; ``order`` gives the old id of each new one.

    Special tokens, truncation and padding are left out. Raises VocabularyError when ``texts`` is empty.
    """
    if not texts:
        raise VocabularyError("no texts to verify the tokenizer on: give at least one")
    sides = (closure.plain(old), closure.plain(new))
    unknowns = tuple(_unknown_id(side) for side in sides)
    tallies = np.zeros((2, 3), np.int64)  # old and new: tokens, UNK tokens, characters inside UNK
    same = 0
    examples: list[Difference] = []
    for start in range(0, len(texts), _BATCH):
        batch = list(texts[start : start + _BATCH])
        before, after = (side.encode_batch(batch, add_special_tokens=False) for side in sides)
        for text, one, two in zip(batch, before, after, strict=True):
            alike = _alike(one, two, order)
            same += alike
            if not alike and len(examples) < _EXAMPLES:
                examples.append(Difference(text, tuple(one.tokens), tuple(two.tokens)))
            tallies += [_tally(text, one, unknowns[0]), _tally(text, two, unknowns[1])]
    words = max(sum(len(text.split()) for text in texts), 1)
    letters = max(sum(len("".join(text.split())) for text in texts), 1)
    (all_old, unk_old, lost_old), (all_new, unk_new, lost_new) = tallies.tolist()
    return Proof(
        texts=len(texts),
        unchanged=same / len(texts),
        unknown_old=unk_old / max(all_old, 1),
        unknown_new=unk_new / max(all_new, 1),
        fertility_old=all_old / words,
        fertility_new=all_new / words,
        coverage_old=1 - lost_old / letters,
        coverage_new=1 - lost_new / letters,
        examples=tuple(examples),
    )


def _unknown_id(tokenizer: Tokenizer) -> int:
    """Return the UNK id, −1 when there is none."""
    unknown = closure.layout(tokenizer).unknown
    return -1 if unknown is None else unknown


def _alike(old: Encoding, new: Encoding, order: Ids) -> bool:
    """Whether both have the same tokens at the same offsets."""
    ids = np.array(new.ids, np.int64)
    return old.offsets == new.offsets and np.array_equal(np.array(old.ids, np.int64), order[ids])


def _tally(text: str, encoding: Encoding, unknown: int) -> tuple[int, int, int]:
    """Return tokens, UNK tokens, and non-blank characters inside UNK tokens."""
    if unknown not in encoding.ids:
        return len(encoding.ids), 0, 0
    spans = [span for span, at in zip(encoding.offsets, encoding.ids, strict=True) if at == unknown]
    lost = sum(len("".join(text[first:last].split())) for first, last in spans)
    return len(encoding.ids), len(spans), lost


def check_reload(folder: Path, expected: PreTrainedTokenizerFast, texts: Sequence[str]) -> None:
    """Raise CheckError unless the saved tokenizer gives ``expected``'s ids, by tokenizers and by AutoTokenizer."""
    readers = {
        "tokenizers": closure.plain(Tokenizer.from_file(str(folder / "tokenizer.json"))),
        "AutoTokenizer": closure.plain(AutoTokenizer.from_pretrained(folder).backend_tokenizer),
    }
    wanted = closure.plain(expected.backend_tokenizer).encode_batch_fast(list(texts))
    for name, reader in readers.items():
        for text, one, two in zip(texts, wanted, reader.encode_batch_fast(list(texts)), strict=True):
            if one.ids != two.ids:
                raise CheckError(f"{folder}: {name} reads the tokenizer differently, for example on {text!r}")
