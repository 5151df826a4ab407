"""The one module that cuts tensors: keep these indices along that axis, rebuild, load strictly.

Nothing here decides *what* to keep (see ``importance``, ``vocabulary`` and the stages), and nothing changes the model
it is given. Every result is a plain transformers model of the same class.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from edgecompress.encoder.arch import (
    LAYER_AXES,
    Arch,
    architecture,
    axes_of,
    blocks_of,
    resized,
    size,
    with_layer_types,
)
from edgecompress.errors import ArchitectureError

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

ZERO = -1  # an index that keeps nothing: the new row or column is zero


@dataclass(frozen=True)
class Cut:
    """What to keep along each axis; None keeps all.

    ``vocab``   (new vocab,) old ids in the order of the new ids
    ``hidden``  (new hidden,) indices, or a (hidden, new hidden) basis with orthonormal columns to project onto
    ``ffn``     (layers, new ffn) neuron indices
    ``attn``    (layers, heads * head width) indices into the concatenated heads; ``ZERO`` leaves an empty place
    ``heads``   number of heads that the ``attn`` places are divided into
    ``exact_scale``  scale the queries by sqrt(new / old head width), so that attention logits are those of the kept
                places; False leaves them alone, as plain slicing does
    """

    vocab: Tensor | None = None
    hidden: Tensor | None = None
    ffn: Tensor | None = None
    attn: Tensor | None = None
    heads: int | None = None
    exact_scale: bool = True


def keep(model: PreTrainedModel, cut: Cut) -> PreTrainedModel:
    """Return a smaller model of the same class that keeps what ``cut`` names.

    Raises ArchitectureError for indices out of range, a pad token that is cut away, or sizes that transformers could
    not rebuild (in these architectures attention is exactly as wide as the hidden size).
    """
    arch = architecture(model.config)
    _check(model.config, cut)
    config = _config_after(model.config, cut)
    scale = (_head_width(config) / _head_width(model.config)) ** 0.5 if cut.exact_scale else 1.0
    state = {}
    for name, tensor in model.state_dict().items():
        kept = _gather(tensor, axes_of(arch, name), cut, layer_of(arch, name))
        if scale != 1.0 and any(f".{path}." in name for path in (arch.query, *arch.queries)):
            kept = _scale_queries(kept, scale, fused=arch.query == arch.key)
        state[name] = kept
    _move_positions(arch, model.config, config, state)
    return _rebuild(model, config, state)


def _scale_queries(kept: Tensor, scale: float, *, fused: bool) -> Tensor:
    """Scale the queries' rows: all of them, or the first of the three blocks."""
    if not fused:
        return kept * scale
    queries, *others = kept.chunk(3)
    return torch.cat([queries * scale, *others])


def copy_of(model: PreTrainedModel) -> PreTrainedModel:
    """Return an independent copy, for whoever trains or freezes: inputs are never changed."""
    return keep(model, Cut())


def keep_layers(model: PreTrainedModel, layers: Sequence[int]) -> PreTrainedModel:
    """Return a model with only these layers, in this order. Raises ArchitectureError for a layer it does not have."""
    arch, count = architecture(model.config), size(model.config, "layers")
    if not layers or not all(0 <= layer < count for layer in layers):
        raise ArchitectureError(f"layers {list(layers)} cannot be kept: the model has layers 0 to {count - 1}")
    if arch.first_stays and (layers[0] != 0 or 0 in layers[1:]):
        raise ArchitectureError(
            f"layers {list(layers)} cannot be kept: this architecture's layer 0 must stay the first"
        )
    state = {}
    for name, tensor in model.state_dict().items():
        old = layer_of(arch, name)
        if old is None:
            state[name] = tensor.clone()
        for new in (i for i, layer in enumerate(layers) if layer == old):
            state[name.replace(f"{arch.layers}.{old}.", f"{arch.layers}.{new}.", 1)] = tensor.clone()
    return _rebuild(model, with_layer_types(model.config, layers), state)


def with_norms(model: PreTrainedModel, norms: Mapping[str, tuple[Tensor, Tensor]]) -> PreTrainedModel:
    """Return a copy whose LayerNorms (by module name) have these (gain, bias) vectors; one without a bias stays so."""
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for name, (gain, bias) in norms.items():
        state[f"{name}.weight"] = gain.clone()
        state |= {f"{name}.bias": bias.clone()} if f"{name}.bias" in state else {}
    return _rebuild(model, model.config, state)


def _check(config: PretrainedConfig, cut: Cut) -> None:
    heads = cut.heads or size(config, "heads")
    for field in fields(cut):
        index = getattr(cut, field.name)
        if not isinstance(index, Tensor) or index.is_floating_point():
            continue
        full = size(config, "hidden" if field.name == "attn" else field.name)
        lowest = ZERO if field.name == "attn" else 0
        if index.numel() == 0 or int(index.min()) < lowest or int(index.max()) >= full:
            raise ArchitectureError(f"{field.name}: indices must lie in 0..{full - 1}, and at least one must be kept")
    hidden = size(config, "hidden") if cut.hidden is None else cut.hidden.shape[-1]
    attn = size(config, "hidden") if cut.attn is None else cut.attn.shape[-1]
    if hidden != attn:
        raise ArchitectureError(
            f"hidden {hidden} and attention width {attn} differ: this architecture derives the head width from the "
            f"hidden size, cut both to the same width"
        )
    if hidden % heads:
        resized(config, {"hidden": hidden, "heads": heads})


def _config_after(config: PretrainedConfig, cut: Cut) -> PretrainedConfig:
    widths = {"vocab": cut.vocab, "hidden": cut.hidden, "ffn": cut.ffn}
    sizes = {axis: int(index.shape[-1]) for axis, index in widths.items() if index is not None}
    new: PretrainedConfig = resized(config, {**sizes, **({"heads": cut.heads} if cut.heads else {})})
    if cut.vocab is not None:
        _remap_token_ids(new, cut.vocab)
    return new


def _remap_token_ids(config: Any, vocab: Tensor) -> None:
    """Point every ``*_token_id`` of the config at its new row; a dropped one becomes None, but padding must stay."""
    new_id = {int(old): new for new, old in enumerate(vocab.tolist())}
    for name in [name for name in vars(config) if name.endswith("_token_id")]:
        old = getattr(config, name)
        if old is None:
            continue
        if name == "pad_token_id" and old not in new_id:
            raise ArchitectureError(f"the padding token (id {old}) would be cut away: keep it in the vocabulary")
        setattr(config, name, new_id.get(old))


def _head_width(config: PretrainedConfig) -> int:
    return size(config, "hidden") // size(config, "heads")


def layer_of(arch: Arch, name: str) -> int | None:
    """Return the number of the layer that a parameter belongs to, None outside the layers."""
    found = re.search(rf"(?:^|\.){re.escape(arch.layers)}\.(\d+)\.", name)
    return int(found.group(1)) if found else None


def _gather(tensor: Tensor, axes: tuple[str, ...], cut: Cut, layer: int | None) -> Tensor:
    """Apply the cut to each dimension of one tensor; the result never shares memory with the input."""
    result = tensor
    for dimension, named in enumerate(axes):
        count, axis = blocks_of(named)
        selection = getattr(cut, "hidden" if axis == "gain" else axis, None)
        if selection is None:
            continue
        if axis in LAYER_AXES:
            selection = selection[layer]
        parts = [_along(part, dimension, selection, gain=axis == "gain") for part in result.chunk(count, dimension)]
        result = torch.cat(parts, dimension) if count > 1 else parts[0]
    return result.clone() if result is tensor else result.contiguous()


def _along(tensor: Tensor, dimension: int, selection: Tensor, *, gain: bool) -> Tensor:
    if selection.is_floating_point():
        # A rotated gain is no longer diagonal: keep its diagonal, which the caller may refit (see with_norms).
        basis = selection.square() if gain else selection
        projected: Tensor = torch.tensordot(tensor, basis.to(tensor.dtype), dims=([dimension], [0])).movedim(
            -1, dimension
        )
        return projected
    kept = tensor.index_select(dimension, selection.clamp(min=0))
    empty = (selection == ZERO).nonzero().flatten()
    return kept.index_fill(dimension, empty, 0.0) if len(empty) else kept


def _move_positions(arch: Arch, old: PretrainedConfig, new: PretrainedConfig, state: dict[str, Tensor]) -> None:
    """Where positions count from the pad id, move their rows along when trimming has moved that id."""
    if not arch.positions_follow_pad or old.pad_token_id == new.pad_token_id:
        return
    for name in [name for name in state if name.endswith("position_embeddings.weight")]:
        used = state[name][old.pad_token_id + 1 :]
        state[name] = torch.cat([used.new_zeros(new.pad_token_id + 1, used.shape[1]), used])
        new.max_position_embeddings = len(state[name])


def _rebuild(model: PreTrainedModel, config: PretrainedConfig, state: Mapping[str, Tensor]) -> PreTrainedModel:
    options = {}
    if "add_pooling_layer" in inspect.signature(type(model)).parameters:
        options["add_pooling_layer"] = any(".pooler." in f".{name}" for name in state)
    with torch.random.fork_rng(devices=[]):  # the constructor's random weights must not advance the caller's generator
        new = type(model)(config, **options)
    new.to(model.dtype).load_state_dict(state, strict=True)
    return new.eval()
