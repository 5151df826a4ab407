"""Make the hidden size smaller: fewer dimensions in the residual stream and in every head."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from edgecompress.errors import ArchitectureError, RecipeError
from edgecompress.stages.record import record

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from edgecompress.corpus import Corpus
    from edgecompress.encoder.bundle import Bundle
    from edgecompress.encoder.importance import Batch

Method = Literal["first-k", "activation", "svd"]
Attention = Literal["first-k", "head-aligned"]


def truncate(
    bundle: Bundle,
    *,
    hidden: int,
    heads: int | None = None,
    method: Method = "activation",
    attention: Attention = "head-aligned",
    corpora: tuple[Corpus, ...] = (),
    tokens: int = 32768,
) -> Bundle:
    """Cut the hidden size to HIDDEN.

    METHOD chooses the residual dimensions: ``first-k`` the first ones, as arXiv 2505.16956 does; ``activation`` those
    whose hidden states vary most; ``svd`` the principal directions of the hidden states (a rotation, so that an
    existing masked-LM head must be trained again). ATTENTION chooses the places of the heads: ``first-k`` slices them
    all together, across head boundaries, as the paper's code does; ``head-aligned`` keeps HEADS heads and within
    each the places whose values count most (first-order importance at the output projection; queries and keys are cut
    at the same places). All but first-k read CORPORA, and refit the LayerNorms by least squares.
    """
    from edgecompress.encoder import surgery
    from edgecompress.encoder.arch import resized, size
    from edgecompress.stages.finetune import longest_input
    from edgecompress.training.data import probe_batches

    resized(bundle.model.config, {"hidden": hidden, "heads": heads or size(bundle.model.config, "heads")})
    if hidden > size(bundle.model.config, "hidden"):
        raise ArchitectureError(f"hidden {hidden}: the model has {size(bundle.model.config, 'hidden')}, choose fewer")
    most = size(bundle.model.config, "heads")
    if heads is not None and not 1 <= heads <= most:
        raise ArchitectureError(f"heads {heads}: the model has {most}, choose between 1 and {most}")
    reads = reads_text(method, attention)
    if reads != bool(corpora):
        raise RecipeError(f"truncate: method {method!r} with attention {attention!r} "
                          f"{'reads text: give corpora' if reads else 'reads no text: leave corpora out'}")  # fmt: skip
    length = min(128, longest_input(bundle))
    batches = probe_batches(bundle.tokenizer, corpora, tokens, length=length) if reads else []
    kept = _hidden(bundle, hidden, method, batches)
    places = _places(bundle, hidden, heads, attention, batches)
    cut = surgery.Cut(hidden=kept, attn=places, heads=heads, exact_scale=attention != "first-k")
    model = surgery.keep(bundle.model, cut)
    if method != "first-k":
        from edgecompress.encoder.norms import refit

        model = refit(bundle.model, model, kept, batches)
    options = {"hidden": hidden, "heads": heads, "method": method, "attention": attention}
    return bundle.then(record("truncate", model, {}, **options, corpora=corpora, tokens=tokens), model=model)


def reads_text(method: Method, attention: Attention) -> bool:
    """Whether this way of choosing dimensions needs corpora."""
    return method != "first-k" or attention != "first-k"


def _hidden(bundle: Bundle, hidden: int, method: Method, batches: Sequence[Batch]) -> Tensor:
    """Return indices (hidden,), or for svd a basis (old hidden, hidden)."""
    import torch

    from edgecompress.encoder.importance import hidden_statistics

    if method == "first-k":
        return torch.arange(hidden)
    _, covariance = hidden_statistics(bundle.model, batches)
    if method == "activation":
        return covariance.diagonal().argsort(descending=True, stable=True)[:hidden].sort().values
    directions: Tensor = torch.linalg.eigh(covariance.double()).eigenvectors  # by rising variance
    return directions.flip(1)[:, :hidden].float()


def _places(bundle: Bundle, hidden: int, heads: int | None, attention: Attention, batches: Sequence[Batch]) -> Tensor:
    """Return attention places (layers, hidden)."""
    import torch

    from edgecompress.encoder.arch import architecture, size
    from edgecompress.encoder.importance import first_order, per_head
    from edgecompress.stages.prune import top

    config = bundle.model.config
    layers, old = size(config, "layers"), size(config, "heads")
    if attention == "first-k":
        return torch.arange(hidden).repeat(layers, 1)
    scores = first_order(bundle.model, batches)["attn"]
    kept = top(per_head(scores, old), min(heads or old, old))
    old_width, new_width = scores.shape[1] // old, hidden // kept.shape[1]
    check_width(hidden, kept.shape[1], old_width)
    if architecture(config).rotary:
        best = _rotary_places(old_width, new_width).expand(layers, kept.shape[1], -1)
        return (kept.unsqueeze(-1) * old_width + best).flatten(1)
    within = scores.unflatten(1, (old, old_width)).gather(1, kept.unsqueeze(-1).expand(-1, -1, old_width))
    best = within.argsort(dim=-1, descending=True, stable=True)[..., :new_width].sort(dim=-1).values
    places: Tensor = kept.unsqueeze(-1) * old_width + best
    return places.flatten(1)


def check_width(hidden: int, heads: int, old_width: int) -> None:
    """Raise ArchitectureError where heads cut out of others of ``old_width`` would have to be wider than these."""
    if hidden // heads > old_width:
        raise ArchitectureError(
            f"hidden {hidden} with {heads} heads makes heads of {hidden // heads}, wider than the {old_width} there "
            f"are: keep more heads, or a smaller hidden size"
        )


def _rotary_places(old: int, new: int) -> Tensor:
    """Return the places (new,) of a head of ``old`` that a head of ``new`` turns at about the same speeds.

    Rotary heads turn the pair (i, i + width / 2) at a speed that falls with i / width (arXiv 2104.09864, §3.2): pair j
    of the new width is given the old pair nearest to j · old / new. Raises ArchitectureError for an odd width.
    """
    import torch

    if new % 2:
        raise ArchitectureError(f"heads of {new} cannot be turned in pairs: choose hidden and heads for an even width")
    pairs = (torch.arange(new // 2) * old / new).round().long().clamp(max=old // 2 - 1)
    return torch.cat([pairs, pairs + old // 2])
