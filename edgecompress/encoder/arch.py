"""Architectures as tables: which axis of the network each dimension of each parameter runs along.

``AXES`` names, for every parameter, one axis per dimension. Cutting an encoder is then one idea, "keep these indices
along that axis", and adding an architecture is adding a row. The axes:

    vocab   rows of the word embeddings, the MLM decoder and its bias
    hidden  the residual stream; ``gain`` is the same axis where it scales element-wise (LayerNorm weights)
    attn    the concatenated attention heads (heads x head width), one selection per layer
    ffn     the intermediate neurons, one selection per layer
    position, type, labels   never cut here

``3*attn`` and ``2*ffn`` are blocks of the same axis one after the other in one tensor (ModernBERT's fused projections).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from edgecompress.errors import ArchitectureError

if TYPE_CHECKING:
    from transformers import PretrainedConfig

LAYER_AXES = ("attn", "ffn")


@dataclass(frozen=True)
class Arch:
    """One architecture.

    ``axes`` maps parameter globs to axis names; ``sizes`` maps axes (and "heads", "layers") to config attributes;
    ``layers`` is the path of the layer list below the base model; ``query``, ``key``, ``value`` are module paths
    below a layer (all the same where one module computes the three); ``mlm`` lists the modules of the masked-LM head in
    the order they are applied. ``queries``: further modules that make queries, of positions. ``with_hidden``: config
    attributes that equal the hidden size. ``rotary``: heads turn pairs of places (i, i + width / 2) by their position,
    pair i at a speed that depends on i / width. ``first_stays``: the first layer is built otherwise than the rest.
    """

    axes: Mapping[str, str]
    sizes: Mapping[str, str]
    layers: str
    query: str
    key: str
    value: str
    mlm: tuple[str, ...]
    positions_follow_pad: bool = False  # RoBERTa: the first position is pad_token_id + 1
    queries: tuple[str, ...] = ()
    with_hidden: tuple[str, ...] = ()
    rotary: bool = False
    first_stays: bool = False


def _linear(path: str, out: str, into: str) -> dict[str, str]:
    return {f"*{path}.weight": f"{out} {into}", f"*{path}.bias": out}


def _norm(path: str) -> dict[str, str]:
    return {f"*{path}.weight": "gain", f"*{path}.bias": "hidden"}


_EMBEDDINGS = {
    "*embeddings.word_embeddings.weight": "vocab hidden",
    "*embeddings.position_embeddings.weight": "position hidden",
    "*embeddings.token_type_embeddings.weight": "type hidden",
    **_norm("embeddings.LayerNorm"),
}
_BERT_LAYER = {
    **_linear("attention.self.query", "attn", "hidden"),
    **_linear("attention.self.key", "attn", "hidden"),
    **_linear("attention.self.value", "attn", "hidden"),
    **_linear("attention.output.dense", "hidden", "attn"),
    **_norm("attention.output.LayerNorm"),
    **_linear("intermediate.dense", "ffn", "hidden"),
    **_linear("layer.*.output.dense", "hidden", "ffn"),
    **_norm("layer.*.output.LayerNorm"),
    **_linear("pooler.dense", "hidden", "hidden"),
}
_BERT_HEADS = {
    **_linear("cls.predictions.transform.dense", "hidden", "hidden"),
    **_norm("cls.predictions.transform.LayerNorm"),
    **_linear("cls.predictions.decoder", "vocab", "hidden"),
    "*cls.predictions.bias": "vocab",
    **_linear("classifier", "labels", "hidden"),
}
_ROBERTA_HEADS = {
    **_linear("lm_head.dense", "hidden", "hidden"),
    **_norm("lm_head.layer_norm"),
    **_linear("lm_head.decoder", "vocab", "hidden"),
    "*lm_head.bias": "vocab",
    **_linear("classifier.dense", "hidden", "hidden"),
    **_linear("classifier.out_proj", "labels", "hidden"),
    **_linear("classifier", "labels", "hidden"),
}
_BERT_SIZES = {
    "vocab": "vocab_size",
    "hidden": "hidden_size",
    "ffn": "intermediate_size",
    "heads": "num_attention_heads",
    "layers": "num_hidden_layers",
}
_QUERY, _KEY, _VALUE = "attention.self.query", "attention.self.key", "attention.self.value"
_ROBERTA = Arch(
    axes={**_EMBEDDINGS, **_BERT_LAYER, **_ROBERTA_HEADS},
    sizes=_BERT_SIZES,
    layers="encoder.layer",
    mlm=("lm_head",),
    positions_follow_pad=True,
    query=_QUERY,
    key=_KEY,
    value=_VALUE,
)

_DEBERTA_LAYER = {
    **{
        key: axes
        for name in ("query_proj", "key_proj", "value_proj", "pos_key_proj", "pos_query_proj")
        for key, axes in _linear(f"attention.self.{name}", "attn", "hidden").items()
    },
    **{glob: axes for glob, axes in _BERT_LAYER.items() if ".self." not in glob},
    "*encoder.rel_embeddings.weight": "position hidden",
    **_norm("encoder.LayerNorm"),
}

ARCHITECTURES: Mapping[str, Arch] = {
    "bert": Arch(
        axes={**_EMBEDDINGS, **_BERT_LAYER, **_BERT_HEADS},
        sizes=_BERT_SIZES,
        layers="encoder.layer",
        mlm=("cls",),
        query=_QUERY,
        key=_KEY,
        value=_VALUE,
    ),
    "roberta": _ROBERTA,
    "xlm-roberta": _ROBERTA,
    "deberta-v2": Arch(
        axes={**_EMBEDDINGS, **_DEBERTA_LAYER, **_BERT_HEADS},
        sizes=_BERT_SIZES,
        layers="encoder.layer",
        mlm=("cls",),
        query="attention.self.query_proj",
        key="attention.self.key_proj",
        value="attention.self.value_proj",
        queries=("attention.self.pos_query_proj",),
        with_hidden=("pooler_hidden_size",),
    ),
    "modernbert": Arch(
        axes={
            "*embeddings.tok_embeddings.weight": "vocab hidden",
            **_norm("embeddings.norm"),
            **_norm("attn_norm"),
            **_norm("mlp_norm"),
            **_norm("final_norm"),
            **_linear("attn.Wqkv", "3*attn", "hidden"),
            **_linear("attn.Wo", "hidden", "attn"),
            **_linear("mlp.Wi", "2*ffn", "hidden"),
            **_linear("mlp.Wo", "hidden", "ffn"),
            **_linear("head.dense", "hidden", "hidden"),
            **_norm("head.norm"),
            **_linear("decoder", "vocab", "hidden"),
            **_linear("classifier", "labels", "hidden"),
        },
        sizes=_BERT_SIZES,
        layers="layers",
        mlm=("head", "decoder"),
        query="attn.Wqkv",
        key="attn.Wqkv",
        value="attn.Wqkv",
        rotary=True,
        first_stays=True,
    ),
    "distilbert": Arch(
        axes={
            **_EMBEDDINGS,
            **_linear("attention.q_lin", "attn", "hidden"),
            **_linear("attention.k_lin", "attn", "hidden"),
            **_linear("attention.v_lin", "attn", "hidden"),
            **_linear("attention.out_lin", "hidden", "attn"),
            **_norm("sa_layer_norm"),
            **_linear("ffn.lin1", "ffn", "hidden"),
            **_linear("ffn.lin2", "hidden", "ffn"),
            **_norm("output_layer_norm"),
            **_linear("vocab_transform", "hidden", "hidden"),
            **_norm("vocab_layer_norm"),
            **_linear("vocab_projector", "vocab", "hidden"),
            **_linear("pre_classifier", "hidden", "hidden"),
            **_linear("classifier", "labels", "hidden"),
        },
        sizes={
            "vocab": "vocab_size",
            "hidden": "dim",
            "ffn": "hidden_dim",
            "heads": "n_heads",
            "layers": "n_layers",
        },
        layers="transformer.layer",
        query="attention.q_lin",
        key="attention.k_lin",
        value="attention.v_lin",
        mlm=("vocab_transform", "activation", "vocab_layer_norm", "vocab_projector"),
    ),
}


def architecture(config: PretrainedConfig) -> Arch:
    """Return the table row for ``config.model_type``. Raises ArchitectureError for a type without one."""
    kind = getattr(config, "model_type", "")
    if kind not in ARCHITECTURES:
        raise ArchitectureError(
            f"model_type {kind!r} is not supported: choose a teacher of type {', '.join(sorted(ARCHITECTURES))}"
        )
    return ARCHITECTURES[kind]


def size(config: PretrainedConfig, axis: str) -> int:
    """Return how long ``axis`` ("vocab", "hidden", "ffn", "heads", "layers") is in this model."""
    return int(getattr(config, architecture(config).sizes[axis]))


def shape(config: PretrainedConfig) -> dict[str, int]:
    """Return every cuttable size of the model by axis name."""
    return {axis: size(config, axis) for axis in architecture(config).sizes}


def axes_of(arch: Arch, parameter: str) -> tuple[str, ...]:
    """Return the axis of each dimension of ``parameter``.

    Raises ArchitectureError for a parameter that no row names: cutting around an unknown tensor would be a guess.
    """
    found = [axes for glob, axes in arch.axes.items() if fnmatchcase(f".{parameter}", glob.replace("*", "*.", 1))]
    if not found:
        raise ArchitectureError(f"parameter {parameter!r} is not in the axis table: this head is not supported")
    return tuple(found[0].split())


def blocks_of(axis: str) -> tuple[int, str]:
    """Return how many blocks of which axis: "3*attn" is (3, "attn"), "ffn" is (1, "ffn")."""
    count, _, name = axis.rpartition("*")
    return int(count or 1), name


def resized(config: PretrainedConfig, sizes: Mapping[str, int]) -> PretrainedConfig:
    """Return a copy of ``config`` with these axis sizes. Raises ArchitectureError where a size is not possible."""
    import copy

    names = architecture(config).sizes
    new: PretrainedConfig = copy.deepcopy(config)
    for axis, length in sizes.items():
        if length < 1:
            raise ArchitectureError(f"{axis} cannot be {length}: at least 1 must stay")
        for name in (names[axis], *(architecture(config).with_hidden if axis == "hidden" else ())):
            setattr(new, name, int(length))
    hidden, heads = size(new, "hidden"), size(new, "heads")
    if hidden % heads:
        below, above = hidden // heads * heads, (hidden // heads + 1) * heads
        most = max(size(config, "hidden"), heads)
        fitting = " or ".join(str(one) for one in (below, above) if 0 < one <= most) or str(most // heads * heads)
        raise ArchitectureError(
            f"hidden size {hidden} is not divisible by {heads} heads: use {fitting}, or change heads"
        )
    return new


def with_layer_types(config: PretrainedConfig, layers: Sequence[int]) -> PretrainedConfig:
    """Return ``resized`` to these layers, whose kinds of attention (ModernBERT: full or sliding) go along with them.

    Raises ArchitectureError where transformers cannot say so: before version 5, every n-th layer is full.
    """
    new = resized(config, {"layers": len(layers)})
    if getattr(config, "layer_types", None):
        new.layer_types = [config.layer_types[layer] for layer in layers]
    every = getattr(config, "global_attn_every_n_layers", None)
    if every and not getattr(config, "layer_types", None):
        wrong = [old for place, old in enumerate(layers) if (old % every == 0) != (place % every == 0)]
        if wrong:
            raise ArchitectureError(
                f"layer {wrong[0]} would change between full and sliding attention: upgrade to transformers 5, or keep "
                f"every {every}th layer at a multiple of {every}"
            )
    return new


def longest_input(config: PretrainedConfig) -> int:
    """Return the most tokens an input may have; RoBERTa-like models lose the positions up to the padding id."""
    lost = config.pad_token_id + 1 if architecture(config).positions_follow_pad else 0
    return int(config.max_position_embeddings) - lost
