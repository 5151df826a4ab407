"""The learned projection from a student's width to its teacher's, started where least squares puts it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_RIDGE = 1e-3  # dimensions may coincide


@torch.no_grad()
def fit_linear(layer: nn.Linear, inputs: Tensor, targets: Tensor) -> None:
    """Set ``layer`` in place to the ridge regression from inputs (examples, in) to targets (examples, out)."""
    x = torch.cat([inputs.double(), torch.ones(len(inputs), 1, dtype=torch.double)], 1)
    gram = x.T @ x + _RIDGE * len(x) * torch.eye(x.shape[1], dtype=x.dtype)
    solution = torch.linalg.solve(gram, x.T @ targets.double()).to(layer.weight.dtype)
    layer.weight.copy_(solution[:-1].T)
    layer.bias.copy_(solution[-1])
