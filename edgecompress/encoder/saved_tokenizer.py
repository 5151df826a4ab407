"""Reading the tokenizer of a model folder: what tokenizer.json says, and nothing that a class adds to it."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from tokenizers import Tokenizer
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from edgecompress.encoder.arch import longest_input
from edgecompress.encoder.closure import plain
from edgecompress.encoder.tokenizer import SPECIALS, wrap
from edgecompress.errors import SourceError

if TYPE_CHECKING:
    from transformers import PretrainedConfig

_FILES = ("tokenizer.json", "vocab.txt", "vocab.json", "sentencepiece.bpe.model", "spiece.model", "spm.model",
          "tokenizer.model")  # fmt: skip
_PROBE = "Ďakujem, že ste prišli. Asante sana! 123 ﬁ  “x”"
_LONGEST_REASON = 200
_UNSET = 10**6  # transformers writes 1e30 where nobody said how long an input may be


def read_tokenizer(folder: Path, config: PretrainedConfig) -> PreTrainedTokenizerFast:
    """Return the fast tokenizer of ``folder``.

    tokenizer.json is taken literally (the classes of transformers 5 rebuild parts of it); the special tokens and the
    longest input come from the folder's other files, else from ``config``. Truncation and padding that were saved in it
    are left out. A folder with only vocab.txt is converted by AutoTokenizer, one with only a SentencePiece model, too,
    where the package sentencepiece is installed. Raises SourceError.
    """
    if not any((folder / name).is_file() for name in _FILES):
        raise SourceError(f"{folder} has no tokenizer (none of {', '.join(_FILES)}); add the one of the model")
    backend = _backend(folder / "tokenizer.json")
    like = _by_class(folder)
    if backend is None:
        backend = like.backend_tokenizer
    elif like.backend_tokenizer.encode(_PROBE).ids != backend.encode(_PROBE).ids:
        name = type(like).__name__
        logging.getLogger(__name__).warning("%s: %s differs from tokenizer.json, which is used", folder, name)
    _check_specials(folder, backend, like)
    wrapped = wrap(plain(backend), like)
    if wrapped.model_max_length > _UNSET:
        wrapped.model_max_length = longest_input(config)
    return wrapped


def read_backend(ref: str) -> Tokenizer:
    """Return the tokenizer that ``ref`` names: ``"e5-small"``, a folder, or a tokenizer.json. Raises SourceError.

    A folder needs no model in it. Its tokenizer.json is taken literally; without one, AutoTokenizer converts what
    there is.
    """
    from edgecompress.encoder import e5_small

    if ref == e5_small.NAME:
        packaged: Tokenizer = e5_small.tokenizer().backend_tokenizer
        return packaged
    path = Path(ref).expanduser()
    if not path.exists():
        raise SourceError(f"{ref} does not exist: give a folder, a tokenizer.json, or {e5_small.NAME}")
    found = _backend(path / "tokenizer.json" if path.is_dir() else path)
    if found is None and not any((path / name).is_file() for name in _FILES):
        raise SourceError(f"{ref} has no tokenizer (none of {', '.join(_FILES)})")
    return _by_class(path).backend_tokenizer if found is None else found


def _backend(path: Path) -> Tokenizer | None:
    """Read tokenizer.json; None when there is none. Raises SourceError when it is damaged."""
    if not path.is_file():
        return None
    try:
        return Tokenizer.from_buffer(path.read_bytes())
    except (ValueError, OSError) as error:
        raise SourceError(f"{path} cannot be read ({one_line(error)}): restore the file") from error


def _by_class(folder: Path) -> PreTrainedTokenizerFast:
    """Return what AutoTokenizer makes of the folder. Raises SourceError unless that is a fast tokenizer."""
    try:
        like = AutoTokenizer.from_pretrained(folder, use_fast=True)
    except (ValueError, OSError, ImportError, KeyError, TypeError, json.JSONDecodeError) as error:
        hint = "save it with a fast tokenizer (tokenizer.json)"
        raise SourceError(f"{folder}: the tokenizer cannot be loaded ({one_line(error)}); {hint}") from error
    if not isinstance(like, PreTrainedTokenizerFast):
        raise SourceError(f"{folder} has only a slow tokenizer ({type(like).__name__}); save it with a tokenizer.json")
    return like


def _check_specials(folder: Path, backend: Tokenizer, like: PreTrainedTokenizerFast) -> None:
    """Raise SourceError when a special token is not in tokenizer.json: adding it would need a new embedding row."""
    for role in SPECIALS:
        token = getattr(like, role)
        if token is not None and backend.token_to_id(str(token)) is None:
            raise SourceError(f"{folder}: {role} {str(token)!r} is not in the tokenizer; correct tokenizer_config.json")


def one_line(error: BaseException) -> str:
    """Return an error's text on one line of at most 200 characters; its type when it has no text."""
    return " ".join(str(error).split())[:_LONGEST_REASON] or type(error).__name__
