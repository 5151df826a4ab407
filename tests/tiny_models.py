"""Tiny encoders of every architecture, with large random weights so that equal outputs mean something; tiny data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import transformers
from tiny_tokenizers import SENTENCES, SLOVAK, SWAHILI, bpe, unigram, wordpiece
from transformers import PreTrainedTokenizerFast

from edgecompress.corpus import Corpus
from edgecompress.encoder.bundle import Bundle
from edgecompress.options import TaskFiles, Training
from edgecompress.tasks import TASKS

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

FAMILIES = ("bert", "roberta", "xlm-roberta", "distilbert", "deberta-v2", "modernbert")
HEADS = ("none", "mlm", "text", "token")
HIDDEN, N_HEADS, FFN, LONGEST = 24, 4, 40, 128
LABELS = ("a", "b", "c")
QUICK = Training(steps=4, batch_size=8, learning_rate=1e-3, max_length=16, precision="fp32")
_CLASSES = {
    "bert": "Bert",
    "roberta": "Roberta",
    "xlm-roberta": "XLMRoberta",
    "distilbert": "DistilBert",
    "deberta-v2": "DebertaV2",
    "modernbert": "ModernBert",
}
_SUFFIXES = {
    "none": "Model",
    "mlm": "ForMaskedLM",
    "text": "ForSequenceClassification",
    "token": "ForTokenClassification",
}
_BACKENDS = {
    "bert": wordpiece,
    "roberta": bpe,
    "xlm-roberta": unigram,
    "distilbert": wordpiece,
    "deberta-v2": unigram,
    "modernbert": bpe,
}
_ROLES = ("cls_token", "sep_token", "unk_token", "pad_token", "mask_token")


def tokenizer(family: str) -> PreTrainedTokenizerFast:
    bert = family in ("bert", "distilbert")
    names = ("[CLS]", "[SEP]", "[UNK]", "[PAD]", "[MASK]") if bert else ("<s>", "</s>", "<unk>", "<pad>", "<mask>")
    return PreTrainedTokenizerFast(
        tokenizer_object=_BACKENDS[family](), model_max_length=LONGEST, **dict(zip(_ROLES, names, strict=True))
    )


def config(family: str, layers: int = 3, **changes: Any) -> Any:
    """The configuration of a tiny model whose ids are those of the family's tiny tokenizer."""
    words = tokenizer(family)
    lost = words.pad_token_id + 1 if "roberta" in family else 0
    common: dict[str, Any] = {
        "vocab_size": len(words),
        "pad_token_id": words.pad_token_id,
        "max_position_embeddings": LONGEST + lost,
    }
    if family == "distilbert":
        sizes = {"dim": HIDDEN, "n_layers": layers, "n_heads": N_HEADS, "hidden_dim": FFN}
    else:
        sizes = {"hidden_size": HIDDEN, "num_hidden_layers": layers, "num_attention_heads": N_HEADS}
        sizes["intermediate_size"] = FFN
    if family == "deberta-v2":  # as mDeBERTa: positions are relative, and share the projections of the content
        common |= {
            "relative_attention": True,
            "position_buckets": 16,
            "share_att_key": True,
            "norm_rel_ebd": "layer_norm",
        }
        common |= {"pos_att_type": ["p2c", "c2p"], "position_biased_input": False, "type_vocab_size": 0}
    if family == "modernbert":  # a window that is shorter than the sentences
        ends = {"cls_token_id": words.cls_token_id, "sep_token_id": words.sep_token_id}
        common |= {"local_attention": 8, "bos_token_id": None, "eos_token_id": None, **ends}
    if "roberta" in family:
        common |= {"bos_token_id": words.bos_token_id or words.cls_token_id, "eos_token_id": words.sep_token_id}
    kind = getattr(transformers, f"{_CLASSES[family]}Config")
    return kind(**{**common, **sizes, "num_labels": len(LABELS), **changes})


def model(family: str, head: str = "mlm", seed: int = 0, layers: int = 3, **changes: Any) -> PreTrainedModel:
    kind = getattr(transformers, _CLASSES[family] + _SUFFIXES[head])
    made = kind(config(family, layers, **changes))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in made.named_parameters():
            gain = tensor.dim() == 1 and name.endswith("weight")
            tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.3 + (1.0 if gain else 0.0))
    return made.eval()


def bundle(family: str, head: str = "mlm", **options: Any) -> Bundle:
    return Bundle(model(family, head, **options), tokenizer(family))


def batch(family: str, count: int = 4) -> dict[str, Tensor]:
    """Sentences of different lengths, padded, as ids and mask."""
    encoded = tokenizer(family)(list(SENTENCES[:count]), padding=True, return_tensors="pt")
    return {"input_ids": encoded["input_ids"], "attention_mask": encoded["attention_mask"]}


def outputs(one: PreTrainedModel, inputs: dict[str, Tensor]) -> Tensor:
    """Logits, or the last hidden state of a bare encoder, at the real positions."""
    with torch.no_grad():
        found = one(**inputs)
    values = found.logits if hasattr(found, "logits") else found.last_hidden_state
    return values if values.dim() == 2 else values[inputs["attention_mask"].bool()]


def same_weights(one: PreTrainedModel, other: PreTrainedModel) -> bool:
    left, right = one.state_dict(), other.state_dict()
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def corpus(
    folder: Path, name: str = "slk", lines: tuple[str, ...] = SLOVAK, repeat: int = 12, weight: float = 1.0
) -> Corpus:
    path = folder / f"{name}.txt"
    path.write_text("\n".join(lines * repeat) + "\n", encoding="utf-8")
    return Corpus(name, (path,), weight)


def task_files(folder: Path, kind: str = "topic", count: int = 24) -> TaskFiles:
    """A task that one word decides: Slovak or Swahili for text tasks, capital or not for token tasks."""
    folder.mkdir(parents=True, exist_ok=True)
    splits = {}
    for split, begin in (("train", 0), ("validation", 1), ("test", 2)):
        rows = []
        for number in range(count):
            side = (SLOVAK, SWAHILI)[number % 2]
            text = side[(number // 2 + begin) % len(side)]
            if TASKS[kind].kind == "text":
                rows.append({"text": text, "label": ("sk", "sw")[number % 2]})
                continue
            tokens = text.split()
            tags = [
                ("B-X" if w[0].isupper() else "O") if kind == "ner" else ("A" if w[0].isupper() else "B")
                for w in tokens
            ]
            rows.append({"tokens": tokens, "tags": tags})
        path = folder / f"{kind}-{split}.jsonl"
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
        splits[split] = (path,)
    return TaskFiles(kind, **splits)


RECIPE = """
teacher = "SOURCE/model"
[corpora.slk]
files = ["SOURCE/slk.txt"]
[[stages]]
stage = "trim"
corpora = ["slk"]
"""


def names(folder):
    return sorted(path.name for path in folder.iterdir())
