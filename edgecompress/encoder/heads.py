"""Putting a task head on an encoder, or finding the encoder and the masked-LM head inside a model."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from edgecompress.encoder.arch import architecture
from edgecompress.errors import ArchitectureError

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

HeadKind = Literal["mlm", "text", "token"]


def encoder_of(model: PreTrainedModel) -> PreTrainedModel:
    """Return the encoder below the head (the model itself when it has none)."""
    base: PreTrainedModel = model.base_model
    return base


@contextmanager
def last_states(model: PreTrainedModel) -> Iterator[list[Tensor]]:
    """Collect the encoder's last hidden state, (batch, length, hidden), of every forward pass inside the block.

    Not ``hidden_states[-1]``: where a norm stands behind the layers (ModernBERT) that may be the state before it.
    """
    found: list[Tensor] = []

    def collect(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:  # noqa: ARG001
        found.append(output.last_hidden_state)

    hook = encoder_of(model).register_forward_hook(collect)
    try:
        yield found
    finally:
        hook.remove()


def has_mlm_head(model: PreTrainedModel) -> bool:
    """Whether the model can score tokens."""
    return type(model).__name__.endswith("ForMaskedLM")


def mlm_logits(model: PreTrainedModel, hidden: Tensor) -> Tensor:
    """Apply the masked-LM head to hidden states (positions, hidden) → (positions, vocab).

    Scoring only the masked positions is what makes distillation affordable: the decoder is the largest matrix product
    of the step. Raises ArchitectureError for a model without such a head.
    """
    if not has_mlm_head(model):
        raise ArchitectureError(f"{type(model).__name__} has no masked-LM head: run the stage `adapt` first")
    for name in architecture(model.config).mlm:
        hidden = getattr(model, name)(hidden)
    return hidden


def attach(model: PreTrainedModel, kind: HeadKind, labels: Sequence[str] = (), *, seed: int = 0) -> PreTrainedModel:
    """Return a new model: the encoder of ``model`` (same weights) under a fresh head of ``kind``.

    The square layer of a fresh head starts as the identity, so that training starts from what the encoder says and not
    from a random mixture of it; output layers start as transformers initialises them, from ``seed``.
    """
    import transformers

    auto = {
        "mlm": transformers.AutoModelForMaskedLM,
        "text": transformers.AutoModelForSequenceClassification,
        "token": transformers.AutoModelForTokenClassification,
    }[kind]
    config: Any = copy.deepcopy(model.config)
    if labels:
        config.problem_type = None  # a head of another kind, taken off, may have left its own
        config.id2label = dict(enumerate(labels))
        config.label2id = {label: i for i, label in enumerate(labels)}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        new: PreTrainedModel = auto.from_config(config)
    _start_square_layers_as_identity(new)
    _copy_encoder(encoder_of(model), encoder_of(new))
    new.tie_weights()
    return new.to(model.dtype).eval()


def bare(model: PreTrainedModel, config: PretrainedConfig) -> PreTrainedModel:
    """Return a new model: the encoder of ``model`` (same weights) without head and pooler, under ``config``."""
    kind = type(encoder_of(model))
    options = {"add_pooling_layer": False} if "add_pooling_layer" in inspect.signature(kind).parameters else {}
    new: PreTrainedModel = kind(copy.deepcopy(config), **options)
    _copy_encoder(encoder_of(model), new)
    return new.to(model.dtype).eval()


def head_state(model: PreTrainedModel) -> dict[str, Tensor]:
    """Return the head's tensors by their names in ``model``; a pooler counts as the head's."""
    encoder = "" if encoder_of(model) is model else f"{model.base_model_prefix}."
    return {
        name: tensor
        for name, tensor in model.state_dict().items()
        if not name.startswith(encoder) or name.startswith(f"{encoder}pooler.")
    }


def load_head(model: PreTrainedModel, state: Mapping[str, Tensor]) -> None:
    """Put the tensors of :func:`head_state` into ``model``, all of them and no others. Raises ArchitectureError."""
    mine = head_state(model)
    shapes = [{name: tuple(tensor.shape) for name, tensor in one.items()} for one in (mine, state)]
    if shapes[0] != shapes[1]:
        raise ArchitectureError(f"the head is {shapes[1]}, and this model wants {shapes[0]}: train it on this encoder")
    model.load_state_dict({**model.state_dict(), **state}, strict=True)


@contextmanager
def frozen_encoder(model: PreTrainedModel) -> Iterator[None]:
    """Let nothing but the head be trained inside the block."""
    head = head_state(model).keys()
    below = [tensor for name, tensor in model.named_parameters() if name not in head and tensor.requires_grad]
    for tensor in below:
        tensor.requires_grad_(requires_grad=False)
    try:
        yield
    finally:
        for tensor in below:
            tensor.requires_grad_(requires_grad=True)


def _copy_encoder(old: PreTrainedModel, new: PreTrainedModel) -> None:
    """Load the encoder's weights strictly; only a pooler may exist on one side alone, as it belongs to the head."""
    wanted = new.state_dict()
    state = {name: tensor for name, tensor in old.state_dict().items() if name in wanted}
    differing = set(old.state_dict()) ^ set(wanted)
    if not all(name.startswith("pooler.") for name in differing):
        raise ArchitectureError(f"the encoders differ in {sorted(differing)[:3]}: this head cannot be attached")
    new.load_state_dict({**wanted, **state}, strict=True)


def head_linears(model: PreTrainedModel) -> tuple[nn.Linear | None, nn.Linear]:
    """Return the square layer of a task head (None where it has none) and its output layer."""
    linears = _outside_encoder(model)
    squares = [layer for layer in linears if layer.in_features == layer.out_features]
    outputs = [layer for layer in linears if layer not in squares] or linears[-1:]
    return (squares[0] if squares and squares[0] is not outputs[-1] else None), outputs[-1]


def _start_square_layers_as_identity(model: PreTrainedModel) -> None:
    for module in _outside_encoder(model):
        if module.in_features == module.out_features:
            nn.init.eye_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def _outside_encoder(model: PreTrainedModel) -> list[nn.Linear]:
    """List the head's linear layers; a pooler counts as the head's, though transformers keeps it in the encoder."""
    inside = set(encoder_of(model).modules()) - set(_poolers(encoder_of(model)))
    return [module for module in model.modules() if isinstance(module, nn.Linear) and module not in inside]


def _poolers(encoder: nn.Module) -> list[nn.Module]:
    pooler = getattr(encoder, "pooler", None)
    return list(pooler.modules()) if pooler is not None else []
