"""Cuts are proved by identities: what is removed was dead, so the outputs must stay."""

from __future__ import annotations

import pytest
import torch
from tiny_models import FAMILIES, FFN, HEADS, HIDDEN, N_HEADS, batch, bundle, corpus, model, outputs, same_weights
from torch import nn

from edgecompress.encoder.arch import ARCHITECTURES, architecture, axes_of, resized, shape
from edgecompress.encoder.heads import encoder_of
from edgecompress.encoder.surgery import ZERO, Cut, keep, keep_layers
from edgecompress.errors import ArchitectureError
from edgecompress.stages.prune import head_places, prune
from edgecompress.stages.truncate import _rotary_places, truncate

WIDTH = HIDDEN // N_HEADS
every_family = pytest.mark.parametrize("family", FAMILIES)
every_head = pytest.mark.parametrize("head", HEADS)


def layers_of(one) -> nn.ModuleList:
    return encoder_of(one).get_submodule(architecture(one.config).layers)


def ffn_of(layer) -> tuple[nn.Linear, nn.Linear]:
    if hasattr(layer, "mlp"):
        return layer.mlp.Wi, layer.mlp.Wo
    return (layer.ffn.lin1, layer.ffn.lin2) if hasattr(layer, "ffn") else (layer.intermediate.dense, layer.output.dense)


def attention_out(layer) -> nn.Linear:
    if hasattr(layer, "attn"):
        return layer.attn.Wo
    return layer.attention.out_lin if hasattr(layer.attention, "out_lin") else layer.attention.output.dense


def kill_heads(one, dead: list[tuple[int, ...]]) -> None:
    """Zero the output-projection columns of these heads, layer by layer."""
    with torch.no_grad():
        for layer, numbers in zip(layers_of(one), dead, strict=True):
            for number in numbers:
                attention_out(layer).weight[:, number * WIDTH : (number + 1) * WIDTH] = 0


def memory(one) -> set[int]:
    return {tensor.data_ptr() for tensor in one.state_dict().values()}


IDENTITIES = {
    "nothing": Cut(),
    "vocab": "vocab",
    "hidden": Cut(hidden=torch.arange(HIDDEN)),
    "ffn": Cut(ffn=torch.arange(FFN).repeat(3, 1)),
    "attn": Cut(attn=torch.arange(HIDDEN).repeat(3, 1)),
    "heads": Cut(heads=N_HEADS),
    "rotation": Cut(hidden=torch.eye(HIDDEN)),
}


@every_family
@every_head
def test_cutting_nothing_changes_nothing(family, head):
    old, inputs = model(family, head), batch(family)
    before = {name: tensor.clone() for name, tensor in old.state_dict().items()}
    for name, cut in IDENTITIES.items():
        new = keep(old, Cut(vocab=torch.arange(old.config.vocab_size)) if cut == "vocab" else cut)
        assert type(new) is type(old), name
        assert not new.training
        assert same_weights(old, new), name
        assert torch.equal(outputs(old, inputs), outputs(new, inputs)), name
        assert not memory(old) & memory(new), name
        assert new.num_parameters() == old.num_parameters()
        assert new.config.to_dict() == old.config.to_dict() or name == "heads"
    new = keep_layers(old, range(3))
    assert same_weights(old, new)
    assert not memory(old) & memory(new)
    assert all(torch.equal(before[name], tensor) for name, tensor in old.state_dict().items())


def test_cutting_leaves_the_callers_random_generator_alone():
    old = model("bert")
    state = torch.random.get_rng_state()
    keep(old, Cut())
    assert torch.equal(state, torch.random.get_rng_state())


@every_family
@every_head
def test_dead_neurons_can_go(family, head):
    old, inputs = model(family, head), batch(family)
    alive = torch.stack([torch.randperm(FFN)[: FFN - 8].sort().values for _ in range(3)])
    with torch.no_grad():
        for layer, kept in zip(layers_of(old), alive, strict=True):
            dead = sorted(set(range(FFN)) - set(kept.tolist()))
            ffn_of(layer)[1].weight[:, dead] = 0
    new = keep(old, Cut(ffn=alive))
    assert shape(new.config)["ffn"] == FFN - 8
    torch.testing.assert_close(outputs(old, inputs), outputs(new, inputs), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("family", [name for name in FAMILIES if not ARCHITECTURES[name].rotary])
@every_head
def test_dead_heads_can_go_by_making_the_others_wider(family, head):
    old, inputs = model(family, head), batch(family)
    kill_heads(old, [(0, 2), (1, 3), (2, 3)])
    kept = torch.tensor([[1, 3], [0, 2], [0, 1]])
    places = head_places(kept, WIDTH, HIDDEN // 2)
    new = keep(old, Cut(attn=places, heads=2))
    assert shape(new.config)["heads"] == 2
    torch.testing.assert_close(outputs(old, inputs), outputs(new, inputs), rtol=1e-5, atol=1e-5)
    wrong = keep(old, Cut(attn=places, heads=2, exact_scale=False))
    assert (outputs(old, inputs) - outputs(wrong, inputs)).abs().max() > 1e-3


@every_family
def test_the_places_of_a_dead_head_can_stay_empty(family):
    old, inputs = model(family), batch(family)
    kill_heads(old, [(0,), (1,), (3,)])
    places = torch.arange(HIDDEN).repeat(3, 1)
    for layer, dead in enumerate((0, 1, 3)):
        places[layer, dead * WIDTH : (dead + 1) * WIDTH] = ZERO
    new = keep(old, Cut(attn=places))
    assert (attention_out(layers_of(new)[0]).weight[:, :WIDTH] == 0).all()
    torch.testing.assert_close(outputs(old, inputs), outputs(new, inputs), rtol=1e-5, atol=1e-5)


@every_family
def test_layers_are_kept_whole_and_in_order(family):
    old, inputs = model(family), batch(family)
    new = keep_layers(old, [0, 2])
    assert shape(new.config)["layers"] == 2
    for kept, number in zip(layers_of(new), (0, 2), strict=True):
        assert all(
            torch.equal(a, b) for a, b in zip(kept.parameters(), layers_of(old)[number].parameters(), strict=True)
        )
    assert outputs(new, inputs).shape == outputs(old, inputs).shape
    if architecture(old.config).first_stays:
        with pytest.raises(ArchitectureError, match="layer 0 must stay the first"):
            keep_layers(old, [2, 0, 0, 1])
        kinds = getattr(old.config, "layer_types", None)  # transformers 4 has a period in its place
        moved = keep_layers(old, [0, 2, 1])
        assert kinds is None or moved.config.layer_types == [kinds[number] for number in (0, 2, 1)]
        if kinds is None:
            with pytest.raises(ArchitectureError, match="would change between full and sliding attention"):
                keep_layers(keep_layers(old, [0, 1, 2, 1]), [0, 3])
    else:
        assert shape(keep_layers(old, [2, 0, 0, 1]).config)["layers"] == 4


@every_family
def test_smaller_in_every_axis_at_once(family):
    old = model(family)
    attn = torch.cat([torch.arange(4) + WIDTH * h for h in range(N_HEADS)]).repeat(3, 1)
    cut = Cut(torch.arange(50), torch.arange(16), torch.arange(30).repeat(3, 1), attn)
    new = keep(old, cut)
    assert shape(new.config) == {"vocab": 50, "hidden": 16, "ffn": 30, "heads": 4, "layers": 3}
    inputs = batch(family)
    inputs["input_ids"] = inputs["input_ids"] % 50
    assert outputs(new, inputs).isfinite().all()


@every_family
def test_cut_hidden_dimensions_are_the_named_ones(family):
    old = model(family)
    kept = torch.tensor([1, 3, 5, 7, 11, 13, 17, 23])
    new = keep(old, Cut(hidden=kept, attn=torch.arange(8).repeat(3, 1)))
    words = old.get_input_embeddings().weight[:, kept]
    assert torch.equal(new.get_input_embeddings().weight, words)


@every_family
def test_the_vocabulary_cut_keeps_the_logits_of_what_is_kept(family):
    old, inputs = model(family), batch(family)
    extra = torch.randperm(old.config.vocab_size)[:30]
    kept = torch.cat([inputs["input_ids"].flatten(), extra, torch.tensor([0, 1, 2])]).unique()
    new = keep(old, Cut(vocab=kept))
    mapped = {**inputs, "input_ids": torch.searchsorted(kept, inputs["input_ids"])}
    torch.testing.assert_close(outputs(old, inputs)[:, kept], outputs(new, mapped), rtol=1e-5, atol=1e-5)
    assert new.get_output_embeddings().weight.data_ptr() == new.get_input_embeddings().weight.data_ptr()
    assert new.get_input_embeddings().padding_idx == new.config.pad_token_id


@pytest.mark.parametrize("family", ["roberta", "xlm-roberta"])
@every_head
def test_positions_move_with_the_padding_id(family, head):
    old, inputs = model(family, head), batch(family)
    first = [5, 0, 6, 1, 2, 3]  # the padding id moves from 1 to 3
    vocab = torch.tensor(first + [i for i in range(old.config.vocab_size) if i not in first])
    new = keep(old, Cut(vocab=vocab))
    assert (new.config.pad_token_id, new.config.bos_token_id, new.config.eos_token_id) == (3, 1, 4)
    assert new.config.max_position_embeddings == old.config.max_position_embeddings + 2
    mapped = {**inputs, "input_ids": vocab.argsort()[inputs["input_ids"]]}
    expected = outputs(old, inputs)
    expected = expected[:, vocab] if head == "mlm" else expected
    torch.testing.assert_close(expected, outputs(new, mapped), rtol=1e-5, atol=1e-5)


@every_family
def test_token_ids_are_remapped_and_padding_must_stay(family):
    old = model(family)
    pad = old.config.pad_token_id
    old.config.eos_token_id, old.config.bos_token_id = 9, 7
    new = keep(old, Cut(vocab=torch.tensor([9, 20, pad, 30])))
    assert (new.config.pad_token_id, new.config.eos_token_id, new.config.bos_token_id) == (2, 0, None)
    with pytest.raises(ArchitectureError, match="padding token"):
        keep(old, Cut(vocab=torch.tensor([9, 20])))


BAD_CUTS = {
    "ffn above": (Cut(ffn=torch.full((3, 2), FFN)), "ffn: indices must lie in 0..39"),
    "ffn zero fill": (Cut(ffn=torch.full((3, 2), ZERO)), "ffn: indices"),
    "vocab below": (Cut(vocab=torch.tensor([-2])), "vocab: indices"),
    "vocab empty": (Cut(vocab=torch.tensor([], dtype=torch.long)), "vocab: indices"),
    "hidden alone": (Cut(hidden=torch.arange(12)), "hidden 12 and attention width 24 differ"),
    "attn alone": (Cut(attn=torch.zeros(3, 12, dtype=torch.long)), "differ"),
    "heads": (Cut(heads=5), "not divisible by 5 heads: use 20, or change heads"),
}


@pytest.mark.parametrize("name", BAD_CUTS)
def test_impossible_cuts_are_refused(name):
    cut, message = BAD_CUTS[name]
    with pytest.raises(ArchitectureError, match=message):
        keep(model("bert"), cut)


@pytest.mark.parametrize("layers", [[], [3], [-1]])
def test_impossible_layers_are_refused(layers):
    with pytest.raises(ArchitectureError, match="layers 0 to 2"):
        keep_layers(model("bert"), layers)


@every_family
@every_head
def test_every_parameter_has_its_row(family, head):
    made = bundle(family, head).model
    arch = architecture(made.config)
    sizes = {**shape(made.config), "gain": HIDDEN, "attn": HIDDEN, "labels": 3}
    for name, tensor in made.state_dict().items():
        axes = axes_of(arch, name)
        assert len(axes) == tensor.dim(), name
        assert all(sizes.get(axis, length) == length for axis, length in zip(axes, tensor.shape, strict=True)), name


def test_unknown_types_and_parameters_are_refused():
    made = model("bert").config
    made.model_type = "novel"
    with pytest.raises(ArchitectureError, match="'novel' is not supported: choose a teacher of type bert, deberta-v2"):
        architecture(made)
    with pytest.raises(ArchitectureError, match=r"'qa_outputs\.weight' is not in the axis table"):
        axes_of(ARCHITECTURES["bert"], "qa_outputs.weight")


@every_family
def test_a_resized_configuration_is_a_copy(family):
    old = model(family).config
    before = old.to_dict()
    new = resized(old, {"hidden": 12, "layers": 1, "vocab": 9, "ffn": 7, "heads": 3})
    assert shape(new) == {"hidden": 12, "layers": 1, "vocab": 9, "ffn": 7, "heads": 3}
    assert old.to_dict() == before
    with pytest.raises(ArchitectureError, match="ffn cannot be 0"):
        resized(old, {"ffn": 0})


def test_rotary_heads_keep_pairs_that_turn_at_the_same_speed():
    assert _rotary_places(8, 8).tolist() == list(range(8))
    assert _rotary_places(64, 32).tolist() == [*range(0, 32, 2), *range(32, 64, 2)]
    for old, new in ((64, 26), (64, 48), (32, 14)):
        places = _rotary_places(old, new)
        low, high = places.chunk(2)
        assert torch.equal(high - low, torch.full_like(low, old // 2))
        assert len(set(places.tolist())) == new
        speeds = torch.arange(new // 2) / new, low / old
        assert (speeds[0] - speeds[1]).abs().max() <= 0.5 / old + 1e-6
    with pytest.raises(ArchitectureError, match="heads of 5 cannot be turned in pairs"):
        _rotary_places(8, 5)


def test_rotary_heads_are_truncated_in_pairs_and_not_made_wider(tmp_path):
    made, text = bundle("modernbert"), corpus(tmp_path)
    with pytest.raises(ArchitectureError, match="wider heads would turn at other speeds"):
        prune(made, corpora=(text,), heads=2)
    whole = truncate(made, hidden=HIDDEN, method="activation", corpora=(text,), tokens=256)
    inputs = batch("modernbert")
    kept = (outputs(made.model, inputs) - outputs(whole.model, inputs)).abs().max()
    assert kept < 1e-2 * outputs(made.model, inputs).abs().max()  # the norms are fitted again
    half = truncate(made, hidden=12, heads=2, method="svd", corpora=(text,), tokens=256)
    assert shape(half.model.config) == {**shape(made.model.config), "hidden": 12, "heads": 2}
    assert outputs(half.model, inputs).isfinite().all()


def test_fused_projections_are_pruned_by_the_neurons_of_both_halves(tmp_path):
    made, text = bundle("modernbert"), corpus(tmp_path)
    with torch.no_grad():
        for layer in layers_of(made.model):
            layer.mlp.Wo.weight[:, ::2] = 0
    smaller = prune(made, corpora=(text,), ffn=FFN // 2, tokens=256)
    inputs = batch("modernbert")
    torch.testing.assert_close(outputs(made.model, inputs), outputs(smaller.model, inputs), rtol=1e-4, atol=1e-4)
