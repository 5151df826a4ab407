"""A student beside its teacher: one forward pass that returns the distillation loss."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from edgecompress.encoder.arch import architecture, size
from edgecompress.encoder.heads import encoder_of, mlm_logits
from edgecompress.encoder.importance import IGNORED
from edgecompress.options import Objective
from edgecompress.training.losses import hidden_loss, logits_loss, relation_loss, token_loss
from edgecompress.training.memory import Memory, open_memory, recall, remember
from edgecompress.training.projection import fit_linear

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Features:
    """``states``: hidden states (batch, length, hidden) after the embeddings and after each layer; ``relations``: the
    last layer's query, key and value projections (batch, length, width).
    """

    states: tuple[Tensor, ...]
    relations: tuple[Tensor, ...]


def features(model: PreTrainedModel, input_ids: Tensor, attention_mask: Tensor) -> Features:
    """Run the encoder and return what the losses compare."""
    with _last_projections(model) as relations:
        output = encoder_of(model)(input_ids=input_ids, attention_mask=attention_mask, output_hidden_states=True)
    states = (*output.hidden_states[:-1], output.last_hidden_state)  # behind the last norm, where there is one
    return Features(states, tuple(relations))


def layer_pairs(student: int, teacher: int, which: Literal["all", "middle-last", "last"] = "all") -> dict[int, int]:
    """Return which student layers (0: the embeddings) imitate which teacher layers: evenly, last to last."""
    chosen = {"all": range(student + 1), "middle-last": (student // 2, student), "last": (student,)}[which]
    return {layer: round(layer * teacher / student) for layer in chosen}


class Distiller(nn.Module):
    """Holds the student (trained), the projection to the teacher's width (trained) and the teacher (not a submodule,
    so that it is neither trained nor saved).
    """

    def __init__(self, student: PreTrainedModel, teacher: PreTrainedModel, objective: Objective) -> None:
        super().__init__()
        self.student = student
        self._teacher = [teacher.eval()]  # not frozen: the caller may go on training it, and forward takes no gradient
        self.objective = objective
        widths = size(student.config, "hidden"), size(teacher.config, "hidden")
        self.projection: nn.Module = nn.Identity() if widths[0] == widths[1] else nn.Linear(*widths)
        depths = size(student.config, "layers"), size(teacher.config, "layers")
        self._pairs = layer_pairs(*depths, objective.hidden_layers)
        self._memory: Memory | None = None

    def remember_in(self, folder: Path, sequences: int, length: int) -> bool:
        """Ask the teacher once about each of ``sequences`` of ``length`` tokens, and keep its answers in ``folder``.

        Returns whether there is room for them; without, the teacher is asked each time.
        """
        width = size(self._teacher[0].config, "hidden")
        parts = (len(self._pairs) if self.objective.hidden else 0) + (3 if self.objective.relations else 0)
        self._memory = open_memory(folder, (sequences, parts, length, width))
        return self._memory is not None

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, labels: Tensor | None = None, sequence: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Return {"loss": scalar} for ids, mask and MLM labels, each (batch, length).

        ``sequence`` numbers the rows that the memory of what the teacher said holds: (batch,), or fewer where a row
        holds several sequences.
        """
        mine = features(self.student, input_ids, attention_mask)
        theirs = self._said(input_ids, attention_mask, sequence)
        goal, loss = self.objective, mine.states[-1].new_zeros(())
        if goal.hidden:
            loss = loss + goal.hidden * self._hidden(mine.states, theirs.states, attention_mask.bool())
        if goal.relations:
            pairs = zip(mine.relations, theirs.relations, strict=True)
            loss = loss + goal.relations * sum(relation_loss(s, t, goal.relation_heads) for s, t in pairs) / 3
        if labels is not None and (goal.mlm or goal.logits):
            loss = loss + self._tokens(mine.states[-1], theirs.states[-1], labels, attention_mask.bool())
        return {"loss": loss}

    @torch.no_grad()
    def _said(self, input_ids: Tensor, attention_mask: Tensor, sequence: Tensor | None) -> Features:
        """Return the teacher's states of the layers that are imitated, the last one's last, and its relations."""
        if self._memory is None or sequence is None:
            return self._asked(input_ids, attention_mask)
        parts = recall(self._memory, sequence)
        if parts is None:
            found = self._asked(input_ids, attention_mask)
            wanted = (
                found.states if self.objective.hidden else (),
                found.relations if self.objective.relations else (),
            )
            parts = tuple(part.bfloat16() for kind in wanted for part in kind)  # what a later pass will see
            remember(self._memory, sequence, parts)
        parts = tuple(part.reshape(*input_ids.shape, -1) for part in parts)
        count = len(self._pairs) if self.objective.hidden else 0
        return Features(parts[:count], parts[count:])

    def _asked(self, input_ids: Tensor, attention_mask: Tensor) -> Features:
        found = features(self._teacher[0].to(input_ids.device), input_ids, attention_mask)
        return Features(tuple(found.states[layer] for layer in self._pairs.values()), found.relations)

    def _hidden(self, mine: Sequence[Tensor], theirs: Sequence[Tensor], real: Tensor) -> Tensor:
        losses = [
            hidden_loss(self.projection(mine[layer][real]), state[real].float())
            for layer, state in zip(self._pairs, theirs, strict=True)
        ]
        return torch.stack(losses).mean()

    def _tokens(self, mine: Tensor, theirs: Tensor, labels: Tensor, real: Tensor) -> Tensor:
        goal, scored = self.objective, labels != IGNORED
        asked = real if goal.logits and goal.logits_at == "all" else scored
        logits = mlm_logits(self.student, mine[asked])
        loss = goal.mlm * token_loss(logits[scored[asked]], labels[scored & asked])
        if goal.logits:
            with torch.no_grad():
                target = mlm_logits(self._teacher[0], theirs[asked])
            loss = loss + goal.logits * logits_loss(logits, target, goal.logits_loss, goal.temperature)
        return loss

    @torch.no_grad()
    def fit_projection(self, batches: Sequence[dict[str, Tensor]]) -> None:
        """Start the projection where least squares puts it, instead of at random noise."""
        if not isinstance(self.projection, nn.Linear):
            return
        mine, theirs = [], []
        for batch in batches:
            inputs = batch["input_ids"], batch["attention_mask"]
            student, teacher = features(self.student, *inputs), features(self._teacher[0], *inputs)
            for layer, imitated in self._pairs.items():
                mine.append(student.states[layer].flatten(0, 1))
                theirs.append(teacher.states[imitated].flatten(0, 1))
        fit_linear(self.projection, torch.cat(mine), torch.cat(theirs))


@contextmanager
def _last_projections(model: PreTrainedModel) -> Iterator[list[Tensor]]:
    """Collect the query, key and value outputs of the last layer while the block runs the encoder."""
    arch = architecture(model.config)
    found: list[Tensor] = []
    seen: set[nn.Module] = set()
    last = encoder_of(model).get_submodule(arch.layers)[-1]

    def collect(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:  # noqa: ARG001
        if module not in seen:  # DeBERTa projects relative positions with the same modules, after the content
            found.extend(output.chunk(3, -1) if arch.query == arch.key else (output,))
        seen.add(module)

    paths = dict.fromkeys((arch.query, arch.key, arch.value))  # one where a fused module computes the three
    hooks = [last.get_submodule(path).register_forward_hook(collect) for path in paths]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()
