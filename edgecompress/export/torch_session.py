"""A model folder run by torch behind the interface of an onnxruntime session, so that both are measured alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from edgecompress.bench.opening import How, Opened, from_config
from edgecompress.encoder import sources
from edgecompress.errors import InputError, SourceError
from edgecompress.runtime.running import INPUTS, OUTPUT
from edgecompress.stages.finetune import served_input

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from edgecompress.bench.subjects import Target

_HEADS = {"ForSequenceClassification": 2, "ForTokenClassification": 3}  # class name's end → axes of the logits


@dataclass(frozen=True)
class Node:
    """An input or output, as onnxruntime describes it."""

    name: str
    shape: tuple[Any, ...] = ()


class TorchSession:
    """``run`` copies ids to the device, waits for the logits and returns them in float32: what a caller waits for."""

    def __init__(self, model: PreTrainedModel, device: str, axes: int) -> None:
        self._model, self._device, self._axes = model, device, axes

    def get_inputs(self) -> list[Node]:
        """Ids and mask."""
        return [Node(name) for name in INPUTS]

    def get_outputs(self) -> list[Node]:
        """Logits."""
        return [Node(OUTPUT, (None,) * (self._axes - 1) + (self._model.config.num_labels,))]

    def run(self, _outputs: Any, feed: dict[str, Any]) -> list[Any]:
        """Return the logits, whatever outputs are named."""
        with torch.inference_mode():
            inputs = {name: torch.from_numpy(value).to(self._device) for name, value in feed.items()}
            return [self._model(**inputs).logits.float().cpu().numpy()]


def open_torch(target: Target, how: How) -> Opened:
    """Open a model folder on ``how.threads`` threads. Raises SourceError without a head, InputError without a GPU."""
    if how.device == "cuda" and not torch.cuda.is_available():
        raise InputError("torch finds no CUDA device here: measure with --device cpu")
    torch.set_num_threads(how.threads)
    bundle = sources.load(str(target.path))
    kind = type(bundle.model).__name__
    axes = next((axes for end, axes in _HEADS.items() if kind.endswith(end)), None)
    if axes is None:
        raise SourceError(f"{target.path.name} is a {kind}: give a fine-tuned model, which has labels")
    model = bundle.model.to(device=how.device, dtype=getattr(torch, how.dtype)).eval()
    described = from_config(model.config.to_dict(), target, max_length=served_input(bundle)) if target.task else None
    session = TorchSession(model, how.device, axes)
    return Opened(session, len(bundle.tokenizer), described, bundle.tokenizer.backend_tokenizer)
