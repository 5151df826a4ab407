"""Remove the FFN neurons and attention heads that the output depends on least."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgecompress.errors import ArchitectureError, RecipeError
from edgecompress.stages.record import record

if TYPE_CHECKING:
    from torch import Tensor

    from edgecompress.corpus import Corpus
    from edgecompress.encoder.bundle import Bundle


def prune(
    bundle: Bundle,
    *,
    corpora: tuple[Corpus, ...],
    ffn: int | None = None,
    heads: int | None = None,
    tokens: int = 65536,
    seed: int = 0,
) -> Bundle:
    """Keep FFN neurons a layer and HEADS heads a layer: those with the highest first-order importance on text.

    Importance is accumulated over TOKENS tokens of the corpora. In BERT-like models the head width is hidden size
    divided by heads, so fewer heads means wider ones: the places of removed heads become zeros inside the kept ones.
    That is faster, but smaller only once ``truncate`` takes the zeros away. Raises ArchitectureError for sizes the
    model does not allow.
    """
    from edgecompress.encoder.arch import architecture, resized
    from edgecompress.encoder.importance import first_order, per_head
    from edgecompress.encoder.surgery import Cut, keep
    from edgecompress.stages.finetune import longest_input
    from edgecompress.training.data import probe_batches

    if ffn is None and heads is None:
        raise RecipeError("prune: give ffn (neurons a layer), heads (heads a layer), or both")
    _check(bundle, ffn, heads)
    if heads is not None:
        resized(bundle.model.config, {"heads": heads})
        if architecture(bundle.model.config).rotary and heads != _heads(bundle):
            raise ArchitectureError(
                f"heads {heads}: wider heads would turn at other speeds in this architecture; use truncate with heads, "
                f"which keeps their width"
            )
    length = min(128, longest_input(bundle))
    batches = probe_batches(bundle.tokenizer, corpora, tokens, length=length, seed=seed)
    scores = first_order(bundle.model, batches, seed=seed)
    neurons = None if ffn is None else top(scores["ffn"], ffn)
    places = None
    if heads is not None:
        width = scores["attn"].shape[1]
        old = _heads(bundle)
        places = head_places(top(per_head(scores["attn"], old), heads), width // old, width // heads)
    model = keep(bundle.model, Cut(ffn=neurons, attn=places, heads=heads))
    details = {"importance_kept": _share_kept(scores["ffn"], neurons)} if neurons is not None else {}
    step = record("prune", model, details, corpora=corpora, ffn=ffn, heads=heads, tokens=tokens, seed=seed)
    return bundle.then(step, model=model)


def top(scores: Tensor, count: int) -> Tensor:
    """Return the indices (layers, count) of the highest scores (layers, units), ascending within a layer."""
    order = scores.argsort(dim=1, descending=True, stable=True)
    return order[:, :count].sort(dim=1).values


def head_places(kept: Tensor, old_width: int, new_width: int) -> Tensor:
    """Return attention places (layers, heads * new_width) that give each kept head (layers, heads) its old places
    followed by empty ones (``surgery.ZERO``).
    """
    import torch

    from edgecompress.encoder.surgery import ZERO

    layers, heads = kept.shape
    places = torch.full((layers, heads, new_width), ZERO)
    places[:, :, :old_width] = kept.unsqueeze(-1) * old_width + torch.arange(old_width)
    return places.flatten(1)


def _heads(bundle: Bundle) -> int:
    from edgecompress.encoder.arch import size

    return size(bundle.model.config, "heads")


def _check(bundle: Bundle, ffn: int | None, heads: int | None) -> None:
    from edgecompress.encoder.arch import size

    for axis, wanted in (("ffn", ffn), ("heads", heads)):
        most = size(bundle.model.config, axis)
        if wanted is not None and not 1 <= wanted <= most:
            raise ArchitectureError(f"{axis} {wanted}: the model has {most} a layer, choose between 1 and {most}")


def _share_kept(scores: Tensor, kept: Tensor) -> float:
    return round(float(scores.gather(1, kept).sum() / scores.sum()), 4)
