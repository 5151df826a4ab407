"""Cutting a tokenizer down to the tokens that are kept (see ``proof`` for what shows that it still does the same).

Only the fast tokenizer's JSON is edited. A kept token's new id is its rank among the kept old ids: specials at low ids
stay low and in order, one at a high id (XLM-R's ``<mask>``, 250001) comes last. :func:`order` gives the old ids in
new-id order, which is the order in which embedding rows are gathered.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from edgecompress.encoder import closure
from edgecompress.errors import CheckError, VocabularyError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from edgecompress.encoder.closure import Layout
    from edgecompress.records import Json

Ids = NDArray[np.int64]
SPECIALS = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
_CARRIED = ("model_max_length", "padding_side", "truncation_side", "model_input_names", "clean_up_tokenization_spaces")


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
    """Return the tokenizer that :func:`cut` makes."""
    return cut(tokenizer, kept)[0]


def cut(tokenizer: Tokenizer, kept: Ids) -> tuple[Tokenizer, Ids]:
    """Return a new tokenizer with only the tokens of ``order(tokenizer, kept)``, ids 0 to n−1 without a gap; and them.

    BPE merges go when one of their parts or their result goes. Truncation, padding, the post-processor and added tokens
    (inside or outside of the model's vocabulary) are carried over with new ids. Raises VocabularyError for a model that
    is not WordPiece, Unigram or BPE, CheckError when the result does not number its tokens as it should.
    """
    tokens = closure.layout(tokenizer)
    old_ids = _order(tokens, kept)
    new = {old: at for at, old in enumerate(old_ids.tolist())}
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
    return trimmed, old_ids


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
