"""The distillation losses, as pure functions of tensors."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the name that PyTorch's own documentation uses


def token_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the mean cross-entropy of logits (positions, vocab) and labels (positions,); 0 where there are none."""
    return F.cross_entropy(logits, labels, reduction="sum") / max(len(labels), 1)


def logits_loss(student: Tensor, teacher: Tensor, kind: Literal["mse", "kl"], temperature: float) -> Tensor:
    """Return the distance between two logit matrices (positions, vocab).

    "mse": mean squared error. "kl": KL(teacher ‖ student) at ``temperature``, times its square so that gradients keep
    their size (Hinton et al. 2015), averaged over positions.
    """
    if not len(student):
        return student.sum()  # nothing was masked: no loss, and no NaN
    student, teacher = student.float(), teacher.float()  # of bfloat16, a log-probability of -10 is 1/16 off
    if kind == "mse":
        return F.mse_loss(student, teacher)
    return F.kl_div(
        F.log_softmax(student / temperature, -1),
        F.log_softmax(teacher / temperature, -1),
        reduction="batchmean",
        log_target=True,
    ) * (temperature**2)


def hidden_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Return the squared error between hidden states (positions, hidden) in units of the teacher's variance.

    1.0 is what predicting the teacher's mean would cost, whatever the layer's scale.
    """
    variance = teacher.var(0).mean().clamp_min(1e-6)
    return F.mse_loss(student, teacher) / variance


def relation_loss(student: Tensor, teacher: Tensor, heads: int) -> Tensor:
    """Return KL(teacher ‖ student) between self-relations of two projections (batch, length, width).

    MiniLMv2 (arXiv 2012.15828, eq. 5): split each width into ``heads``, scaled dot products of every pair of
    positions, softmax, KL averaged over heads and positions. The widths may differ; both must divide by ``heads``.
    """
    return F.kl_div(
        _relations(student, heads).flatten(0, 2),
        _relations(teacher, heads).flatten(0, 2),
        reduction="batchmean",
        log_target=True,
    )


def _relations(values: Tensor, heads: int) -> Tensor:
    """(batch, length, width) → log-softmax relations (batch, heads, length, length)."""
    with torch.autocast(values.device.type, enabled=False):  # products in bfloat16 would put the loss of keys 0.03 off
        split = values.float().unflatten(-1, (heads, -1)).transpose(1, 2)
        scores = split @ split.transpose(-1, -2) / split.shape[-1] ** 0.5
        return F.log_softmax(scores, -1)
