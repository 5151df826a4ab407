"""Start a fresh task head where a linear probe puts it, before the encoder is trained with it.

A random head sends random gradients into the encoder and spoils what distillation taught it, the more the smaller the
data. Probing first and training everything after ("LP-FT", Kumar et al. 2022, arXiv 2202.10054) avoids that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from edgecompress.encoder.heads import head_linears
from edgecompress.encoder.importance import IGNORED
from edgecompress.progress import report

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedModel

_BATCH = 32
_PENALTY = 0.01  # of the squared weights, per label: what keeps a probe on a few hundred texts from fitting noise
_SPREAD = 0.5  # standard deviations the square layer hands to its tanh: most values meet its straight part
_ITERATIONS = 100
_CONSTANT = 1e-6  # a standard deviation below this is rounding
_ENOUGH = 8  # batches that tell how far a dimension spreads


def fit_head(
    model: PreTrainedModel,
    data: Dataset,
    collate: Callable[[list[dict[str, Any]]], dict[str, Tensor]],
    *,
    tokens: int = 32768,
    seed: int = 0,
    bf16: bool = False,
) -> None:
    """Fit the head of ``model`` in place, the encoder as it is, on about ``tokens`` tokens of ``data``.

    The square layer before the output, where the architecture has one, standardises each dimension; the output layer
    is the multinomial logistic regression on what it is given. ``bf16``: the encoder runs under autocast.
    """
    square, output = head_linears(model)
    batches = _batches(data, collate, tokens, seed)
    was_training = model.training
    model.eval()
    if square is not None and square.bias is not None:  # without a bias, a norm stands behind it (ModernBERT)
        with _frozen(bf16=bf16):
            seen, _ = _inputs(model, square, batches[:: -(-len(batches) // _ENOUGH)], "head: spread")
        scale = _SPREAD / _spread(seen)
        with torch.no_grad():
            square.weight.copy_(torch.diag(scale))
            square.bias.copy_(-seen.mean(0) * scale)
    with _frozen(bf16=bf16):
        inputs, labels = _inputs(model, output, batches, "head: probe")
    weight, bias = logistic_regression(inputs, labels, output.out_features)
    with torch.no_grad():
        output.weight.copy_(weight)
        output.bias.copy_(bias)
    model.train(was_training)


def logistic_regression(
    inputs: Tensor, labels: Tensor, classes: int, *, penalty: float = _PENALTY
) -> tuple[Tensor, Tensor]:
    """Return weight (classes, width) and bias (classes,) that minimise cross-entropy plus ``penalty``/2 · ‖weight‖².

    ``inputs`` (examples, width) are standardised while fitting, so that the penalty treats dimensions alike; the
    result applies to inputs as they are. Equal to scikit-learn's (a test compares them), which however has another form
    for two labels and no row for a label that the examples lack: a head needs one row a label.
    """
    mean, spread = inputs.mean(0), _spread(inputs)
    standard = (inputs - mean) / spread
    weight = torch.zeros(classes, inputs.shape[1], requires_grad=True)
    bias = torch.zeros(classes, requires_grad=True)
    optimiser = torch.optim.LBFGS([weight, bias], max_iter=_ITERATIONS, line_search_fn="strong_wolfe")

    def loss() -> float:
        optimiser.zero_grad()
        value = nn.functional.cross_entropy(standard @ weight.T + bias, labels) + penalty / 2 * weight.square().sum()
        value.backward()
        return float(value.detach())

    optimiser.step(loss)
    scaled = weight.detach() / spread
    return scaled, bias.detach() - scaled @ mean


def _spread(inputs: Tensor) -> Tensor:
    """Return the standard deviation of each dimension, 1 for one that is constant."""
    spread = inputs.std(0, correction=0)
    return torch.where(spread > _CONSTANT, spread, 1.0)


def _batches(
    data: Dataset, collate: Callable[[list[dict[str, Any]]], dict[str, Tensor]], tokens: int, seed: int
) -> list[dict[str, Tensor]]:
    """Draw examples worth about ``tokens`` tokens, the same for the same seed, batched by length."""
    lengths = torch.tensor(list(data["length"]))
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(seed))
    chosen = order[: max(1, int((lengths[order].cumsum(0) <= tokens).sum()))]
    by_length = chosen[lengths[chosen].argsort(stable=True)].tolist()
    rows = [data[i] for i in by_length]
    return [collate(rows[i : i + _BATCH]) for i in range(0, len(rows), _BATCH)]


def _inputs(
    model: PreTrainedModel, layer: nn.Linear, batches: Sequence[dict[str, Tensor]], task: str
) -> tuple[Tensor, Tensor]:
    """Return what ``layer`` is given, (examples, width), and the labels (examples,); unlabelled positions left out."""
    found, labels = [], []
    with _watching(layer) as given:
        for done, batch in enumerate(batches, 1):
            model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
            real = batch["labels"] != IGNORED
            found.append(given.pop()[real].float())
            labels.append(batch["labels"][real])
            report(task, done, len(batches))
    return torch.cat(found), torch.cat(labels)


@contextmanager
def _frozen(*, bf16: bool) -> Iterator[None]:
    """Compute without gradients. Never across a change of weights: autocast would go on with its copies of the old."""
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        yield


@contextmanager
def _watching(layer: nn.Linear) -> Iterator[list[Tensor]]:
    given: list[Tensor] = []
    hook = layer.register_forward_pre_hook(lambda _module, inputs: given.append(inputs[0]))
    try:
        yield given
    finally:
        hook.remove()
