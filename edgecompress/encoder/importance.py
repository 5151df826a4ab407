"""How much the output depends on each neuron, head and hidden dimension: what the cuts are chosen by.

transformers 5 has no head masks any more, so importance is read off the gradients of the weights themselves.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from edgecompress.encoder.arch import architecture, axes_of, blocks_of, size
from edgecompress.encoder.heads import encoder_of, has_mlm_head, mlm_logits
from edgecompress.encoder.surgery import layer_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Batch = dict[str, Tensor]
IGNORED = -100  # the label that PyTorch's cross-entropy leaves out
Axis = Literal["ffn", "attn"]


def first_order(model: PreTrainedModel, batches: Iterable[Batch], *, seed: int = 0) -> dict[Axis, Tensor]:
    """Return importance (layers, ffn) and (layers, attention width) on these batches.

    Each batch adds |Σ w · ∂L/∂w| over the weights of a unit: the first-order change of the loss when the unit
    is removed (Molchanov et al. 2017, eq. 7; arXiv 2505.16956, §3.2). L is the masked-LM loss where the model has that
    head. An encoder without one has no loss of its own: there L is the last hidden state projected on random
    directions, whose expected squared change is the change of the output itself.
    """
    generator = torch.Generator().manual_seed(seed)
    loss_of = _mlm_loss if has_mlm_head(model) else _output_projection
    arch, layers = architecture(model.config), size(model.config, "layers")
    total: dict[Axis, Tensor] = {
        "ffn": torch.zeros(layers, size(model.config, "ffn")),
        "attn": torch.zeros(layers, size(model.config, "hidden")),
    }
    for batch in batches:
        named = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
        loss = loss_of(model, batch, generator)
        gradients = torch.autograd.grad(loss, list(named.values()), allow_unused=True)  # the model's own stay
        scores: dict[Axis, Tensor] = {axis: torch.zeros_like(t) for axis, t in total.items()}
        for (name, weight), gradient in zip(named.items(), gradients, strict=True):
            axes, layer = axes_of(arch, name), layer_of(arch, name)
            for axis, score in scores.items():
                if layer is not None and gradient is not None and _counts(axis, axes):
                    score[layer] += _by_unit(weight.detach() * gradient, axes, axis)
        for axis in total:
            total[axis] += scores[axis].abs()
    return total


def per_head(attn: Tensor, heads: int) -> Tensor:
    """Sum the importance of attention places (layers, width) by head: (layers, heads)."""
    by_head: Tensor = attn.unflatten(-1, (heads, -1))
    return by_head.sum(-1)


def hidden_statistics(model: PreTrainedModel, batches: Iterable[Batch]) -> tuple[Tensor, Tensor]:
    """Return the mean (hidden,) and covariance (hidden, hidden) over the states of all layers and the embeddings."""
    count, total = 0, torch.zeros(size(model.config, "hidden"))
    outer = torch.zeros(len(total), len(total))
    with torch.no_grad():
        for batch in batches:
            for states in encoder_of(model)(**_inputs(batch), output_hidden_states=True).hidden_states:
                flat = states[batch["attention_mask"].bool()]
                count, total, outer = count + len(flat), total + flat.sum(0), outer + flat.T @ flat
    mean = total / max(count, 1)
    return mean, outer / max(count, 1) - torch.outer(mean, mean)


def _counts(axis: Axis, axes: tuple[str, ...]) -> bool:
    """FFN neurons own both their weights (as in the paper); a head is gated once, at the output projection."""
    named = [blocks_of(one)[1] for one in axes]
    return axis in named and (axis == "ffn" or named[0] != "attn")


def _by_unit(product: Tensor, axes: tuple[str, ...], axis: Axis) -> Tensor:
    """Sum over everything but the units of ``axis``: other dimensions, and the blocks of a fused tensor."""
    dimension = next(d for d, one in enumerate(axes) if blocks_of(one)[1] == axis)
    others = [d for d in range(product.dim()) if d != dimension]
    summed = product.sum(others) if others else product
    by_unit: Tensor = summed.unflatten(0, (blocks_of(axes[dimension])[0], -1)).sum(0)
    return by_unit


def _inputs(batch: Batch) -> Batch:
    return {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"]}


def _mlm_loss(model: PreTrainedModel, batch: Batch, generator: torch.Generator) -> Tensor:  # noqa: ARG001
    states = encoder_of(model)(**_inputs(batch)).last_hidden_state
    chosen = batch["labels"] != IGNORED
    logits, labels = mlm_logits(model, states[chosen]), batch["labels"][chosen]
    return torch.nn.functional.cross_entropy(logits, labels, reduction="sum") / max(len(labels), 1)


def _output_projection(model: PreTrainedModel, batch: Batch, generator: torch.Generator) -> Tensor:
    states = encoder_of(model)(**_inputs(batch)).last_hidden_state
    directions = torch.randn(states.shape, generator=generator)
    real = batch["attention_mask"].unsqueeze(-1)
    projection: Tensor = (states * directions * real).sum() / real.sum()
    return projection
