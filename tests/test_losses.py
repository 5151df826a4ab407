"""The losses against values worked out by hand, and the Distiller that adds them up."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from test_surgery import every_family
from tiny_models import HIDDEN, batch, model
from torch import nn

from edgecompress.encoder.importance import IGNORED
from edgecompress.encoder.surgery import Cut, keep, keep_layers
from edgecompress.errors import ArchitectureError
from edgecompress.options import Objective
from edgecompress.training.distiller import Distiller, features, layer_pairs
from edgecompress.training.losses import hidden_loss, logits_loss, relation_loss, token_loss
from edgecompress.training.masked_lm import MaskedLM

NOTHING = Objective(mlm=0, logits=0, hidden=0, hidden_layers="all", relations=0, relation_heads=4)


def test_logits_loss_of_known_distributions():
    teacher, student = torch.tensor([[0.75, 0.25], [0.5, 0.5]]).log(), torch.tensor([[0.5, 0.5], [0.5, 0.5]]).log()
    known = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    assert float(logits_loss(student, teacher, "kl", 1.0)) == pytest.approx(known / 2)
    assert float(logits_loss(student + 3, teacher - 5, "kl", 1.0)) == pytest.approx(known / 2, rel=1e-4)
    assert float(logits_loss(teacher, teacher, "kl", 2.0)) == pytest.approx(0, abs=1e-7)
    assert float(logits_loss(student * 3, teacher * 3, "kl", 3.0)) == pytest.approx(9 * known / 2)
    assert float(logits_loss(torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0, 4.0]]), "mse", 1.0)) == 2.0


@pytest.mark.parametrize("kind", ["mse", "kl"])
def test_logits_loss_is_summed_in_single_precision(kind):
    student, teacher = (8 * torch.randn(2, 1, 20_000)).bfloat16()
    exact = logits_loss(student.double().float(), teacher.double().float(), kind, 1.0)
    assert float(logits_loss(student, teacher, kind, 1.0)) == pytest.approx(float(exact), rel=1e-6)


def test_hidden_loss_is_in_units_of_the_teachers_variance():
    teacher = torch.randn(4000, 6) * torch.tensor([1.0, 2.0, 3.0, 0.1, 5.0, 1.0]) + 7
    assert float(hidden_loss(teacher, teacher)) == 0
    mean = teacher.mean(0).expand_as(teacher)
    assert float(hidden_loss(mean, teacher)) == pytest.approx(1.0, rel=1e-3)
    assert float(hidden_loss(mean * 100, teacher * 100)) == pytest.approx(1.0, rel=1e-3)


def test_relation_loss_compares_relations_and_not_values():
    values = torch.randn(2, 5, 12)
    assert float(relation_loss(values, values, 3)) == pytest.approx(0, abs=1e-6)
    turned = values.unflatten(-1, (3, 4)) @ torch.linalg.qr(torch.randn(4, 4)).Q  # each head in another basis
    assert float(relation_loss(turned.flatten(-2), values, 3)) == pytest.approx(0, abs=1e-5)
    # Each place repeated: dot products double, and twice the width has a scale of √2, so 2^¼ makes up for it.
    wide = values.repeat_interleave(2, -1) / 2**0.25
    assert float(relation_loss(wide, values, 3)) == pytest.approx(0, abs=1e-5)
    assert float(relation_loss(torch.randn(2, 5, 12), values, 3)) > 0.01


def test_relations_are_scored_in_single_precision_inside_autocast():
    student, teacher = 9 * torch.randn(2, 16, 12), 9 * torch.randn(2, 16, 12)  # large, as keys are
    exact = float(relation_loss(student, teacher, 3))
    with torch.autocast("cpu", torch.bfloat16):
        assert float(relation_loss(student, teacher, 3)) == exact


def test_relation_loss_by_hand():
    """One head of width 1 and two positions with values 0 and 1: the rows of the relations are (0, 0) and (0, 1)."""
    teacher, student = torch.tensor([[[0.0], [1.0]]]), torch.zeros(1, 2, 1)
    p = 1 / (1 + math.e)
    second = p * math.log(p / 0.5) + (1 - p) * math.log((1 - p) / 0.5)
    assert float(relation_loss(student, teacher, 1)) == pytest.approx(second / 2)


@pytest.mark.parametrize(
    ("student", "teacher", "which", "expected"),
    [
        (3, 12, "all", {0: 0, 1: 4, 2: 8, 3: 12}),
        (4, 4, "all", {0: 0, 1: 1, 2: 2, 3: 3, 4: 4}),
        (2, 3, "all", {0: 0, 1: 2, 2: 3}),
        (1, 6, "all", {0: 0, 1: 6}),
        (6, 12, "middle-last", {3: 6, 6: 12}),
        (1, 12, "middle-last", {0: 0, 1: 12}),
        (6, 12, "last", {6: 12}),
    ],
)
def test_layers_imitate_evenly_and_last_imitates_last(student, teacher, which, expected):
    assert layer_pairs(student, teacher, which) == expected


@every_family
def test_features_are_the_states_and_the_last_projections(family):
    made, inputs = model(family), batch(family)
    with torch.no_grad():
        found = features(made, **inputs)
        again = features(made, **inputs)
    assert len(found.states) == 4
    assert [value.shape for value in found.relations] == [(*inputs["input_ids"].shape, HIDDEN)] * 3
    assert len({value.sum().item() for value in found.relations}) == 3  # query, key and value
    assert all(torch.equal(a, b) for a, b in zip(found.relations, again.relations, strict=True))


def labelled(family, count=4):
    inputs = batch(family, count)
    chosen = (torch.rand(inputs["input_ids"].shape) < 0.3) & inputs["attention_mask"].bool()
    return {**inputs, "labels": inputs["input_ids"].masked_fill(~chosen, IGNORED)}


@every_family
@pytest.mark.parametrize("part", ["mlm", "logits", "hidden", "relations", "kl"])
def test_each_loss_decreases_and_leaves_the_teacher_alone(family, part):
    teacher = model(family)
    narrow = torch.cat([torch.arange(4) + 6 * head for head in range(4)]).repeat(2, 1)
    student = keep(keep_layers(teacher, [0, 2]), Cut(hidden=torch.arange(16), attn=narrow))
    chosen = {"logits": 1.0, "logits_loss": "kl", "temperature": 2.0} if part == "kl" else {part: 1.0}
    module = Distiller(student, teacher, replace(NOTHING, **chosen))
    before = {name: tensor.clone() for name, tensor in teacher.state_dict().items()}
    inputs, losses = labelled(family), []
    optimizer = torch.optim.Adam(module.parameters(), lr=0.01)
    for _ in range(6):
        optimizer.zero_grad()
        loss = module(**inputs)["loss"]
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert all(parameter.grad is None for parameter in teacher.parameters())
    assert all(torch.equal(before[name], tensor) for name, tensor in teacher.state_dict().items())
    assert {name.split(".")[0] for name in module.state_dict()} <= {"student", "projection"}
    ours = {id(parameter) for parameter in module.parameters()}
    assert not ours & {id(parameter) for parameter in teacher.parameters()}


def test_the_teacher_can_still_be_trained_afterwards():
    teacher = model("bert")
    Distiller(keep_layers(teacher, [0]), teacher, NOTHING)
    assert all(parameter.requires_grad for parameter in teacher.parameters())


@every_family
def test_equal_models_have_no_loss(family):
    one = model(family)
    module = Distiller(keep(one, Cut()), one, replace(NOTHING, logits=1, hidden=1, relations=1)).eval()
    assert isinstance(module.projection, nn.Identity)
    assert module(**labelled(family))["loss"].item() == pytest.approx(0, abs=1e-5)


@every_family
def test_only_masked_positions_are_scored(family):
    """The decoder is the costliest product: it sees exactly the rows that a label asks for."""
    teacher = model(family)
    student = keep_layers(teacher, [0, 1])
    module = Distiller(student, teacher, replace(NOTHING, mlm=1, logits=1))
    inputs, rows = labelled(family), []
    for one in (student, teacher):
        one.get_output_embeddings().register_forward_hook(lambda _, given, __: rows.append(len(given[0])))
    with torch.no_grad():
        module.eval()
        loss = module(**inputs)["loss"]
        scored = inputs["labels"] != IGNORED
        mine, theirs = (
            one(inputs["input_ids"], attention_mask=inputs["attention_mask"]).logits for one in (student, teacher)
        )
    assert rows[:2] == [int(scored.sum())] * 2
    expected = nn.functional.cross_entropy(mine[scored], inputs["labels"][scored])
    expected = expected + nn.functional.mse_loss(mine[scored], theirs[scored])
    assert float(loss) == pytest.approx(float(expected), rel=1e-4)
    alone = MaskedLM(student)(**inputs)["loss"]
    assert alone.item() == pytest.approx(
        float(nn.functional.cross_entropy(mine[scored], inputs["labels"][scored])), rel=1e-4
    )


def test_logits_may_be_compared_at_every_position():
    """Those of padding stay out; the masked-LM loss is still that of the masked positions."""
    teacher = model("bert")
    student = keep_layers(teacher, [0, 1])
    module = Distiller(student, teacher, replace(NOTHING, mlm=0.3, logits=0.7, logits_at="all")).eval()
    inputs = labelled("bert")
    padded = {name: nn.functional.pad(t, (0, 5), value=IGNORED * (name == "labels")) for name, t in inputs.items()}
    with torch.no_grad():
        mine, theirs = (
            one(inputs["input_ids"], attention_mask=inputs["attention_mask"]).logits for one in (student, teacher)
        )
        loss, of_padded = (module(**given)["loss"].item() for given in (inputs, padded))
    real, scored = inputs["attention_mask"].bool(), inputs["labels"] != IGNORED
    assert 0 < scored.sum() < real.sum()
    expected = 0.3 * nn.functional.cross_entropy(mine[scored], inputs["labels"][scored])
    expected = expected + 0.7 * nn.functional.mse_loss(mine[real], theirs[real])
    assert loss == pytest.approx(float(expected), rel=1e-4)
    assert of_padded == pytest.approx(loss, rel=1e-4)


def test_padding_does_not_enter_the_hidden_loss():
    teacher = model("bert")
    student = keep_layers(teacher, [0, 1])
    module = Distiller(student, teacher, replace(NOTHING, hidden=1)).eval()
    inputs = batch("bert")
    longer = {name: nn.functional.pad(tensor, (0, 5)) for name, tensor in inputs.items()}
    assert module(**inputs)["loss"].item() == pytest.approx(module(**longer)["loss"].item(), rel=1e-4)


def test_the_projection_starts_as_the_linear_map_between_the_models():
    """The student is the teacher in another basis of fewer dimensions; the teacher lies in that subspace."""
    teacher = model("bert")
    narrow = torch.cat([torch.arange(4) + 6 * head for head in range(4)]).repeat(3, 1)
    student = keep(teacher, Cut(hidden=torch.arange(16), attn=narrow))
    module = Distiller(student, teacher, replace(NOTHING, hidden=1)).eval()
    inputs = {name: tensor[:, :10] for name, tensor in batch("bert", 24).items()}
    known, shift = torch.randn(HIDDEN, 16), torch.randn(HIDDEN)
    with torch.no_grad():
        states = features(student, **inputs).states

    def mapped(one, ids, mask):
        found = features(one, ids, mask)
        if one is student:
            return found
        return replace(found, states=tuple(state @ known.T + shift for state in states))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("edgecompress.training.distiller.features", mapped)
        module.fit_projection([inputs])
    fitted = torch.cat([module.projection(state).flatten(0, 1) for state in states])
    wanted = torch.cat([(state @ known.T + shift).flatten(0, 1) for state in states])
    assert hidden_loss(fitted, wanted).item() < 1e-3
    torch.testing.assert_close(module.projection.weight, known, rtol=0.05, atol=0.1)


def test_token_losses_need_a_head():
    teacher = model("bert", "none")
    module = Distiller(keep_layers(teacher, [0]), teacher, replace(NOTHING, mlm=1))
    with pytest.raises(ArchitectureError, match="adapt"):
        module(**labelled("bert"))


def test_nothing_masked_is_no_loss_and_no_nan():
    nothing, labels = torch.zeros(0, 7, requires_grad=True), torch.zeros(0, dtype=torch.long)
    for loss in (token_loss(nothing, labels), logits_loss(nothing, nothing, "mse", 1.0)):
        loss.backward()
        assert loss.item() == 0.0
