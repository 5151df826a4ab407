"""Refit LayerNorms after the hidden size was cut: fewer dimensions have another mean and another variance."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from edgecompress.encoder.arch import size
from edgecompress.encoder.heads import encoder_of
from edgecompress.encoder.surgery import with_norms

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Moments = dict[str, Tensor]


@torch.no_grad()
def refit(
    old: PreTrainedModel, new: PreTrainedModel, kept: Tensor, batches: Sequence[dict[str, Tensor]]
) -> PreTrainedModel:
    """Return ``new`` with LayerNorm gains and biases that best give ``old``'s outputs on the kept dimensions.

    For each LayerNorm of ``old``, with input x and output y over the tokens of the batches, and u the normalised
    kept dimensions of x: the gain and bias of each dimension are the least-squares line from u to the kept y. ``kept``
    is (new hidden,) indices or a (hidden, new hidden) basis.
    """
    sums: dict[str, Moments] = {}
    with _watch(old, kept, sums):
        for batch in batches:
            encoder_of(old)(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
    free = {name for name, module in old.named_modules() if getattr(module, "bias", None) is not None}
    return with_norms(new, {name: _line(moments, bias=name in free) for name, moments in sums.items()})


def _line(moments: Moments, *, bias: bool) -> tuple[Tensor, Tensor]:
    mean = {name: total / moments["n"] for name, total in moments.items()}
    if not bias:  # the best line through the origin
        return (mean["uy"] / mean["uu"].clamp_min(1e-6)).float(), torch.zeros_like(mean["y"]).float()
    variance = (mean["uu"] - mean["u"] ** 2).clamp_min(1e-6)
    gain = (mean["uy"] - mean["u"] * mean["y"]) / variance
    return gain.float(), (mean["y"] - gain * mean["u"]).float()


@contextmanager
def _watch(model: PreTrainedModel, kept: Tensor, sums: dict[str, Moments]) -> Iterator[None]:
    """Add up the moments of every LayerNorm over the hidden size while the block runs the model."""

    def pick(values: Tensor) -> Tensor:
        flat = values.flatten(0, -2).double()
        return flat @ kept.double() if kept.is_floating_point() else flat[:, kept]

    def watcher(name: str, eps: float):  # type: ignore[no-untyped-def]  # noqa: ANN202
        def add(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:  # noqa: ARG001
            x, y = pick(inputs[0]), pick(output)
            u = nn.functional.layer_norm(x, x.shape[-1:], eps=eps)
            new = {"n": torch.tensor(float(len(u))), "u": u.sum(0), "y": y.sum(0), "uu": (u * u).sum(0)}
            new["uy"] = (u * y).sum(0)
            sums[name] = {k: sums[name][k] + v for k, v in new.items()} if name in sums else new

        return add

    hidden = size(model.config, "hidden")
    hooks = [
        module.register_forward_hook(watcher(name, module.eps))
        for name, module in model.named_modules()
        if isinstance(module, nn.LayerNorm) and module.normalized_shape == (hidden,)
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
