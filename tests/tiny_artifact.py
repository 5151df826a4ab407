"""Tiny artifacts made in code: a tokenizer of a dozen pieces, and a graph whose logits are rows of a known table.

A token's logits are its id's row; a text's are the mean of its tokens' rows. So every prediction is known beforehand.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from edgecompress.artifact import Artifact, seal
from edgecompress.tasks import TASKS
from edgecompress.words import DEFAULT_WORD_PATTERN

if TYPE_CHECKING:
    from pathlib import Path

SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
PIECES = ("good", "bad", "film", "ján", "novák", "kof", "##ola", "v", "koš", "##ice", ".", ",", "don", "'", "t")
LABELS = {
    "topic": ("culture", "sport"),
    "sentiment": ("negative", "positive"),
    "ner": ("O", "B-LOC", "B-PER", "I-LOC", "I-PER"),
    "pos": ("NOUN", "PUNCT", "X"),
}
# Each label, and the pieces whose table row favours it; every other piece favours the task's first label.
FAVOURED = {
    "topic": {"sport": ("good",)},
    "sentiment": {"positive": ("good",), "negative": ("bad",)},
    "ner": {"B-PER": ("ján",), "I-PER": ("novák",), "B-LOC": ("koš",), "I-LOC": ("##ice", "kof")},
    "pos": {"PUNCT": (".", ",", "'")},
}


def wordpiece() -> Tokenizer:
    """A lower-casing WordPiece tokenizer that drops control characters, as BERT's does."""
    vocabulary = {piece: index for index, piece in enumerate((*SPECIALS, *PIECES))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token=SPECIALS[1]))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True, strip_accents=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.add_special_tokens(list(SPECIALS))
    return tokenizer


def unigram() -> Tokenizer:
    """A Unigram tokenizer with Metaspace, as XLM-R's: "▁" carries the space before a word."""
    pieces = ["<s>", "<pad>", "</s>", "<unk>", "▁", "▁dobrý", "▁film", "ov", "ý", "x", "y", "▁je", "Ġ"]
    tokenizer = Tokenizer(models.Unigram([(piece, -float(rank)) for rank, piece in enumerate(pieces)], unk_id=3))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return tokenizer


def table(task: str, strength: float = 4.0) -> np.ndarray:
    """(pieces, labels) logits: ``strength`` at the label that a piece favours, 0 elsewhere; specials are all 0."""
    labels, names = LABELS[task], (*SPECIALS, *PIECES)
    favourite = {piece: label for label, pieces in FAVOURED[task].items() for piece in pieces}
    rows = np.zeros((len(names), len(labels)), np.float32)
    for index, piece in enumerate(names[len(SPECIALS) :], len(SPECIALS)):
        if task in ("ner", "pos") or piece in favourite:
            rows[index, labels.index(favourite.get(piece, labels[0]))] = strength
    return rows


def write_graph(path: Path, rows: np.ndarray, kind: str, output: str = "logits") -> None:
    """Write the ONNX file: Gather for tokens; for texts its mean under the attention mask."""
    gathered = output if kind == "token" else "gathered"
    nodes = [helper.make_node("Gather", ["table", "input_ids"], [gathered])]
    initializers = [numpy_helper.from_array(rows, "table")]
    if kind == "text":
        initializers += [
            numpy_helper.from_array(np.array(axes, np.int64), name) for axes, name in (([2], "last"), ([1], "middle"))
        ]
        nodes += [
            helper.make_node("Cast", ["attention_mask"], ["flat_mask"], to=TensorProto.FLOAT),
            helper.make_node("Unsqueeze", ["flat_mask", "last"], ["mask"]),
            helper.make_node("Mul", ["gathered", "mask"], ["masked"]),
            helper.make_node("ReduceSum", ["masked", "middle"], ["sum"], keepdims=0),
            helper.make_node("ReduceSum", ["mask", "middle"], ["count"], keepdims=0),
            helper.make_node("Div", ["sum", "count"], [output]),
        ]
    axes = ["batch", "length"]
    inputs = [helper.make_tensor_value_info(n, TensorProto.INT64, axes) for n in ("input_ids", "attention_mask")]
    shape = [*(axes if kind == "token" else axes[:1]), rows.shape[1]]
    outputs = [helper.make_tensor_value_info(output, TensorProto.FLOAT, shape)]
    graph = helper.make_graph(nodes, "tiny", inputs, outputs, initializers)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), str(path))


def write_artifact(
    folder: Path, task: str = "sentiment", max_length: int = 16, rows: np.ndarray | None = None
) -> Artifact:
    """Write and seal a whole artifact of ``task`` into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = table(task) if rows is None else rows
    write_graph(folder / "model.onnx", rows, TASKS[task].kind)
    wordpiece().save(str(folder / "tokenizer.json"))
    pattern = DEFAULT_WORD_PATTERN if TASKS[task].kind == "token" else None
    return seal(
        Artifact(folder, TASKS[task], LABELS[task], max_length, "fp32", rows.size, pad_id=0, word_pattern=pattern)
    )
