"""Masked language modelling that scores the masked positions only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from edgecompress.encoder.heads import encoder_of, mlm_logits
from edgecompress.encoder.importance import IGNORED
from edgecompress.training.losses import token_loss

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class MaskedLM(nn.Module):
    """A model with a masked-LM head, trained without ever computing logits that no label asks for."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Return {"loss": cross-entropy} over the labelled positions of ids, mask and labels, each (batch, length)."""
        states = encoder_of(self.model)(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        scored = labels != IGNORED
        return {"loss": token_loss(mlm_logits(self.model, states[scored]), labels[scored])}
