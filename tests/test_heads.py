"""Heads, saving, importance and refitted norms, on every architecture."""

from __future__ import annotations

import pytest
import torch
import transformers
from test_surgery import WIDTH, attention_out, every_family, ffn_of, kill_heads, layers_of
from tiny_models import FAMILIES, FFN, HEADS, HIDDEN, LABELS, N_HEADS, batch, bundle, model, outputs, same_weights

from edgecompress.encoder import sources
from edgecompress.encoder.arch import ARCHITECTURES
from edgecompress.encoder.bundle import HISTORY_FILE, read_history, save
from edgecompress.encoder.heads import attach, encoder_of, has_mlm_head, mlm_logits
from edgecompress.encoder.importance import IGNORED, first_order, hidden_statistics, per_head
from edgecompress.encoder.norms import refit
from edgecompress.encoder.surgery import Cut, keep
from edgecompress.errors import ArchitectureError, SourceError
from edgecompress.records import Step

AUTO = {
    "none": transformers.AutoModel,
    "mlm": transformers.AutoModelForMaskedLM,
    "text": transformers.AutoModelForSequenceClassification,
    "token": transformers.AutoModelForTokenClassification,
}


@every_family
@pytest.mark.parametrize("head", HEADS)
def test_a_saved_bundle_is_an_ordinary_model_folder(tmp_path, family, head):
    steps = (Step("trim", {"size": 5}, 7, 0.5, {"kept": 5}, "k"), Step("adapt"))
    made = bundle(family, head)
    made = made.then(steps[0], model=made.model).then(steps[1], model=made.model)
    save(made, tmp_path)
    pooled = family not in ("distilbert", "deberta-v2", "modernbert")
    bare = {"add_pooling_layer": True} if pooled and head == "none" else {}
    again, found = AUTO[head].from_pretrained(tmp_path, output_loading_info=True, **bare)
    assert not found["missing_keys"]
    assert not found["unexpected_keys"]
    assert not found["mismatched_keys"]
    assert same_weights(again, made.model)
    loaded = sources.load(str(tmp_path))
    assert loaded.history == steps == read_history(tmp_path)
    inputs = batch(family)
    for one in (again, loaded.model):
        assert torch.equal(outputs(one, inputs), outputs(made.model, inputs))
    text = "Vlak do Košíc mešká."
    assert loaded.tokenizer(text)["input_ids"] == made.tokenizer(text)["input_ids"]
    assert transformers.AutoTokenizer.from_pretrained(tmp_path)(text)["input_ids"] == made.tokenizer(text)["input_ids"]


def test_a_cut_encoder_without_a_pooler_is_saved_and_loaded(tmp_path):
    made = bundle("bert", "none")
    bare = transformers.BertModel(made.model.config, add_pooling_layer=False).eval()
    small = keep(bare, Cut(ffn=torch.arange(8).repeat(3, 1)))
    save(made.then(Step("prune"), model=small), tmp_path)
    again, found = transformers.AutoModel.from_pretrained(tmp_path, add_pooling_layer=False, output_loading_info=True)
    assert not any(found[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert same_weights(again, small)


def test_a_damaged_history_is_told(tmp_path):
    (tmp_path / HISTORY_FILE).write_text('{"format": 1}')
    with pytest.raises(SourceError, match="is damaged"):
        read_history(tmp_path)


@every_family
@pytest.mark.parametrize("source", HEADS)
@pytest.mark.parametrize("kind", ["mlm", "text", "token"])
def test_a_new_head_leaves_the_encoder_as_it_is(family, source, kind):
    old = model(family, source, problem_type="multi_label_classification")
    before = {name: tensor.clone() for name, tensor in old.state_dict().items()}
    new, again, other = (attach(old, kind, LABELS if kind != "mlm" else (), seed=seed) for seed in (3, 3, 4))
    assert same_weights(new, again)
    assert not new.training
    if kind != "mlm":  # a masked-LM head is tied and starts as the identity: it has nothing random
        assert not same_weights(new, other)
        assert new.config.id2label == dict(enumerate(LABELS))
        assert new.config.problem_type is None
        assert new.config.label2id == {label: at for at, label in enumerate(LABELS)}
    inputs = batch(family)
    states = [encoder_of(one)(**inputs).last_hidden_state for one in (old, new)]
    assert torch.equal(*states)
    assert all(torch.equal(before[name], tensor) for name, tensor in old.state_dict().items())
    assert not {t.data_ptr() for t in old.parameters()} & {t.data_ptr() for t in new.parameters()}
    assert has_mlm_head(new) is (kind == "mlm")


@every_family
def test_masked_lm_logits_are_those_of_the_whole_model(family):
    made, inputs = model(family), batch(family)
    real = inputs["attention_mask"].bool()
    with torch.no_grad():
        states = encoder_of(made)(**inputs).last_hidden_state
        torch.testing.assert_close(mlm_logits(made, states[real]), outputs(made, inputs), rtol=1e-5, atol=1e-5)
    with pytest.raises(ArchitectureError, match="no masked-LM head: run the stage `adapt` first"):
        mlm_logits(model(family, "token"), states)


def labelled(family) -> list[dict[str, torch.Tensor]]:
    inputs = batch(family)
    labels = inputs["input_ids"].masked_fill(torch.rand(inputs["input_ids"].shape) < 0.7, IGNORED)
    return [{**inputs, "labels": labels.masked_fill(inputs["attention_mask"] == 0, IGNORED)}]


@every_family
@pytest.mark.parametrize("head", ["none", "mlm"])
def test_importance_finds_the_dead_and_the_important(family, head):
    made = model(family, head)
    with torch.no_grad():
        for layer in layers_of(made):
            ffn_of(layer)[1].weight[:, 5] = 0
            ffn_of(layer)[1].weight[:, [i for i in range(FFN) if i != 7]] *= 1e-4
            attention_out(layer).weight[:, 2 * WIDTH :] *= 1e-4
    kill_heads(made, [(0,), (0,), (0,)])
    before = {name: tensor.clone() for name, tensor in made.state_dict().items()}
    batches = [labelled(family)[0] for _ in range(6)]
    scores = first_order(made, batches)
    assert scores["ffn"].shape == (3, FFN)
    heads = per_head(scores["attn"], N_HEADS)
    assert (scores["ffn"][:, 5] == 0).all()
    assert (heads[:, 0] == 0).all()
    assert (scores["ffn"] >= 0).all()
    assert (scores["ffn"].argmax(1) == 7).all()
    assert (heads.argmax(1) == 1).all()
    assert all(parameter.grad is None for parameter in made.parameters())
    assert all(torch.equal(before[name], tensor) for name, tensor in made.state_dict().items())
    again = first_order(made, batches)
    assert torch.equal(again["ffn"], scores["ffn"])
    double = first_order(made, batches * 2)
    if head == "mlm":  # importance adds up over batches
        torch.testing.assert_close(double["ffn"], 2 * scores["ffn"])


def test_importance_is_the_change_of_the_loss_that_the_gradient_predicts():
    """Scaling a neuron's output weights by 1 + ε changes the loss by ε · Σ w · ∂L/∂w."""
    made, batches = model("bert").double(), labelled("bert")
    score = first_order(made, batches)["attn"][1, 3]
    column = attention_out(layers_of(made)[1]).weight

    def loss() -> float:
        chosen = batches[0]["labels"] != IGNORED
        with torch.no_grad():
            inputs = {name: batches[0][name] for name in ("input_ids", "attention_mask")}
            logits = made(**inputs).logits[chosen]
            return float(torch.nn.functional.cross_entropy(logits, batches[0]["labels"][chosen]))

    kept, found = column[:, 3].detach().clone(), []
    for step in (1e-5, -1e-5):
        with torch.no_grad():
            column[:, 3] = kept * (1 + step)
        found.append(loss())
    assert abs(found[0] - found[1]) / 2e-5 == pytest.approx(float(score), rel=1e-3)


@every_family
def test_hidden_statistics_are_those_of_all_real_states(family):
    made, inputs = model(family, "none"), batch(family)
    mean, covariance = hidden_statistics(made, [inputs, inputs])
    with torch.no_grad():
        states = made(**inputs, output_hidden_states=True).hidden_states
    real = torch.cat([state[inputs["attention_mask"].bool()] for state in states])
    torch.testing.assert_close(mean, real.mean(0), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(covariance, real.T.cov(correction=0), rtol=1e-3, atol=1e-4)


@every_family
@pytest.mark.parametrize("head", ["none", "mlm"])
def test_refitting_uncut_norms_gives_them_back(family, head):
    made, inputs = model(family, head), batch(family, 8)
    again = refit(made, made, torch.arange(HIDDEN), [inputs])
    for name, tensor in made.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], tensor, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("family", [name for name in FAMILIES if not ARCHITECTURES[name].rotary])  # 3 wide: no pairs
def test_refitted_norms_are_nearer_to_the_original(family):
    made, inputs = model(family, "none"), batch(family, 8)
    kept = torch.arange(HIDDEN // 2)
    places = torch.cat([torch.arange(WIDTH // 2) + WIDTH * head for head in range(N_HEADS)]).repeat(3, 1)
    cut = keep(made, Cut(hidden=kept, attn=places))
    new = refit(made, cut, kept, [inputs])
    wanted, worse, better = (embedded(one, inputs) for one in (made, cut, new))
    wanted = wanted[..., kept]
    assert (better - wanted).square().mean() < (worse - wanted).square().mean()
    assert outputs(new, inputs).isfinite().all()


def embedded(made, inputs):
    """The states after the first LayerNorm, whose inputs the cut leaves exact."""
    with torch.no_grad():
        return made(**inputs, output_hidden_states=True).hidden_states[0]


@every_family
def test_a_whole_rotation_keeps_the_covariances_spectrum(family):
    """With every dimension kept, projecting on the eigenvectors only turns the space: the variances must be sane."""
    made, inputs = model(family, "none"), batch(family, 8)
    _, covariance = hidden_statistics(made, [inputs])
    basis = torch.linalg.eigh(covariance.double()).eigenvectors.flip(1).float()
    new = refit(made, keep(made, Cut(hidden=basis)), basis, [inputs])
    words = made.get_input_embeddings().weight @ basis
    torch.testing.assert_close(new.get_input_embeddings().weight, words, rtol=1e-5, atol=1e-5)
    _, turned = hidden_statistics(new, [inputs])
    assert turned.isfinite().all()
    assert 0.3 < turned.trace() / covariance.trace() < 3
