from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import tiny_models
import torch
import transformers
from huggingface_hub.errors import HFValidationError
from safetensors.torch import load_file, save_file
from tiny_tokenizers import SENTENCES, unigram, wordpiece
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from edgecompress.encoder import bundle, sources
from edgecompress.errors import ArchitectureError, InputError, SourceError
from edgecompress.records import Step

SHARED = Path(os.environ.get("EDGECOMPRESS_DATA", Path(__file__).parents[2] / "shared" / "data"))
BERT = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
SIZES = {
    "Bert": {**BERT, "max_position_embeddings": 64},
    "XLMRoberta": {**BERT, "max_position_embeddings": 66},
    "DistilBert": {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 24, "max_position_embeddings": 64},
}
HEADS = ("Model", "ForMaskedLM", "ForSequenceClassification", "ForTokenClassification")


def tiny_tokenizer(kind: str) -> PreTrainedTokenizerFast:
    bert = kind != "XLMRoberta"
    names = ("[CLS]", "[SEP]", "[UNK]", "[PAD]", "[MASK]") if bert else ("<s>", "</s>", "<unk>", "<pad>", "<mask>")
    roles = ("cls_token", "sep_token", "unk_token", "pad_token", "mask_token")
    backend = wordpiece() if bert else unigram()
    return PreTrainedTokenizerFast(tokenizer_object=backend, **dict(zip(roles, names, strict=True)))


def tiny(kind: str = "Bert", head: str = "Model", **options: Any) -> bundle.Bundle:
    tokenizer = tiny_tokenizer(kind)
    config = getattr(transformers, f"{kind}Config")(
        vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id, **SIZES[kind]
    )
    torch.manual_seed(0)
    return bundle.Bundle(getattr(transformers, kind + head)(config, **options).eval(), tokenizer)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A tiny masked-LM BERT as transformers saves it."""
    bundle.save(tiny(head="ForMaskedLM"), tmp_path / "bert")
    return tmp_path / "bert"


def change_config(folder: Path, **values: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def problem(ref: Path | str, kind: type[InputError] = SourceError) -> str:
    with pytest.raises(kind) as caught:
        sources.load(str(ref))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("kind", list(SIZES))
@pytest.mark.parametrize("head", HEADS)
def test_what_was_saved_is_loaded(kind: str, head: str, tmp_path: Path) -> None:
    saved = tiny(kind, head)
    bundle.save(saved, tmp_path / "model")
    loaded = sources.load(str(tmp_path / "model"))
    assert type(loaded.model) is type(saved.model)
    assert not loaded.model.training
    before, after = saved.model.state_dict(), loaded.model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert loaded.tokenizer.backend_tokenizer.to_str() == saved.tokenizer.backend_tokenizer.to_str()
    assert loaded.tokenizer.model_max_length == 64
    assert loaded.tokenizer.mask_token_id == saved.tokenizer.mask_token_id


@pytest.mark.parametrize("pooler", [True, False])
def test_a_pooler_is_there_only_when_it_was_saved(tmp_path: Path, *, pooler: bool) -> None:
    bundle.save(tiny(add_pooling_layer=pooler), tmp_path / "model")
    assert (sources.load(str(tmp_path / "model")).model.pooler is not None) is pooler


def test_half_precision_weights_become_float32(folder: Path) -> None:
    path = folder / "model.safetensors"
    save_file({name: tensor.half() for name, tensor in load_file(path).items()}, path, {"format": "pt"})
    change_config(folder, dtype="float16")
    assert {tensor.dtype for tensor in sources.load(str(folder)).model.parameters()} == {torch.float32}


def test_every_file_may_be_read_by_whom_the_others_may(folder: Path) -> None:
    assert {path.stat().st_mode for path in folder.iterdir()} == {(folder / "config.json").stat().st_mode}


def test_the_history_is_kept(tmp_path: Path) -> None:
    made = tiny()
    step = Step("distill", {"steps": 3}, parameters=made.parameters)
    bundle.save(made.then(step, model=made.model), tmp_path / "model")
    assert sources.load(str(tmp_path / "model")).history == (step,)


def test_configuration_and_tokenizer_come_without_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    assert sources.load_config(str(folder)).hidden_size == 16
    assert sources.load_tokenizer(str(folder)).mask_token == "[MASK]"
    assert "has no weights: none of model.safetensors, pytorch_model.bin" in problem(folder)


def test_a_pickled_checkpoint_loads_unless_it_holds_code(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(weights, folder / "pytorch_model.bin")
    loaded = sources.load(str(folder)).model.state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in weights.items())
    torch.save(weights, folder / "legacy.bin", _use_new_zipfile_serialization=False)
    whole = (folder / "legacy.bin").read_bytes()
    damaged = [b"abc", *(whole[:size] for size in (1, 800, 5000, 9000))]
    for content in (pickle.dumps(Path, protocol=2), *damaged):
        (folder / "pytorch_model.bin").write_bytes(content)
        assert "pytorch_model.bin is damaged or cut short" in problem(folder), content[:8]


def test_a_pretraining_head_beside_the_masked_lm_head_is_no_error(folder: Path) -> None:
    donor = tiny(head="ForPreTraining")
    donor.model.save_pretrained(folder)
    change_config(folder, architectures=["BertForMaskedLM"])
    assert type(sources.load(str(folder)).model).__name__ == "BertForMaskedLM"
    change_config(folder, architectures=["BertForPreTraining"])
    assert type(sources.load(str(folder)).model).__name__ == "BertForMaskedLM"


def test_a_tokenizer_is_read_without_the_padding_that_was_saved_in_it(folder: Path) -> None:
    backend = Tokenizer.from_file(str(folder / "tokenizer.json"))
    backend.enable_padding(length=64)
    backend.enable_truncation(8)
    backend.save(str(folder / "tokenizer.json"))
    read = sources.load(str(folder)).tokenizer.backend_tokenizer
    assert (read.padding, read.truncation) == (None, None)


def test_the_heads_of_debertas_pretraining_are_left_out(tmp_path: Path) -> None:
    one = tiny_models.bundle("deberta-v2", "none")
    bundle.save(one, tmp_path / "model")
    change_config(tmp_path / "model", architectures=None)
    more = ("lm_predictions.lm_head.bias", "mask_predictions.dense.weight")
    again = ("deberta.embeddings.word_embeddings._weight", "deberta.embeddings.position_embeddings._weight")
    weights = {f"deberta.{name}": tensor for name, tensor in one.model.state_dict().items()}
    extra = {name: torch.zeros(2) for name in (*more, *again)}
    save_file({**weights, **extra}, tmp_path / "model" / "model.safetensors", {"format": "pt"})
    loaded = sources.load(str(tmp_path / "model")).model.state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in one.model.state_dict().items())


def test_weights_must_match_one_to_one(folder: Path) -> None:
    path = folder / "model.safetensors"
    weights = load_file(path)
    gone, shorter = "bert.encoder.layer.1.output.dense.weight", "bert.encoder.layer.0.intermediate.dense.bias"
    save_file({name: tensor for name, tensor in weights.items() if name != gone}, path, {"format": "pt"})
    assert f"has no weight for {gone}, and random numbers" in problem(folder)
    save_file({**weights, "bert.adapter.weight": torch.zeros(3)}, path, {"format": "pt"})
    assert "lacks: bert.adapter.weight" in problem(folder)
    save_file({**weights, shorter: torch.zeros(3)}, path, {"format": "pt"})
    assert f"({shorter} is [3], not [24])" in problem(folder)
    save_file(weights, path, {"format": "pt"})
    change_config(folder, architectures=["BertForTokenClassification"])
    assert "has no weight for classifier.bias, classifier.weight" in problem(folder)
    change_config(folder, architectures=["BertModel"])
    assert "lacks: cls.predictions" in problem(folder)


def test_damaged_weights_are_told(folder: Path) -> None:
    path = folder / "model.safetensors"
    whole = path.read_bytes()
    for content in (whole[:-100], whole[:50], b"", b"\xff" * 200):
        path.write_bytes(content)
        assert f"{path} is damaged or cut short" in problem(folder)
    path.unlink()
    (folder / "model.safetensors.index.json").write_text('{"weight_map": {"a": "part-1.safetensors"}}')
    assert "part-1.safetensors is damaged or cut short" in problem(folder)


def test_a_bad_configuration_is_told(folder: Path) -> None:
    path = folder / "config.json"
    change_config(folder, model_type="t5")
    assert "model type 't5' is not supported; bert," in problem(folder, ArchitectureError)
    change_config(folder, model_type="bert", hidden_size="wide")
    assert "config.json cannot be used" in problem(folder)
    path.write_text("{")
    assert f"{path} is not valid JSON" in problem(folder)
    path.write_text("[1]")
    assert f"{path} is not valid JSON" in problem(folder)
    path.unlink()
    assert "has no config.json" in problem(folder)


def test_a_bad_tokenizer_is_told(folder: Path) -> None:
    path = folder / "tokenizer.json"
    whole = path.read_text(encoding="utf-8")
    for content in ("{", "{}", whole[:-500]):
        path.write_text(content, encoding="utf-8")
        assert f"{path} cannot be read" in problem(folder)
    path.unlink()
    assert "has no tokenizer (none of tokenizer.json, vocab.txt," in problem(folder)
    larger = Tokenizer.from_str(whole)
    larger.add_tokens(["ekg"])
    larger.save(str(path))
    assert "has id 360, the model only 360 embedding rows" in problem(folder)


def test_a_special_token_outside_of_the_tokenizer_is_told(folder: Path) -> None:
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "mask_token": "<gap>"}))
    (folder / "special_tokens_map.json").unlink(missing_ok=True)
    assert "mask_token '<gap>' is not in the tokenizer" in problem(folder)


def test_tokenizer_json_wins_over_the_class(folder: Path) -> None:
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps({"tokenizer_class": "BertTokenizer", "do_lower_case": True}))
    (folder / "special_tokens_map.json").unlink(missing_ok=True)
    loaded = sources.load_tokenizer(str(folder))
    assert loaded.backend_tokenizer.to_str() == wordpiece().to_str()
    assert (loaded.cls_token, loaded.pad_token_id) == ("[CLS]", 0)


def test_a_vocabulary_file_alone_is_converted(folder: Path) -> None:
    pieces = sorted(wordpiece().get_vocab().items(), key=lambda item: item[1])
    for name in ("tokenizer.json", "special_tokens_map.json"):
        (folder / name).unlink(missing_ok=True)
    (folder / "vocab.txt").write_text("".join(f"{piece}\n" for piece, _ in pieces), encoding="utf-8")
    settings = {"tokenizer_class": "BertTokenizer", "do_lower_case": False, "model_max_length": 40}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    loaded = sources.load(str(folder)).tokenizer
    assert loaded.model_max_length == 40
    for sentence in SENTENCES:
        assert loaded(sentence)["input_ids"] == wordpiece().encode(sentence).ids


def test_references_that_name_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise ConnectionError("no route")

    def invalid(*_: object, **__: object) -> None:
        raise HFValidationError("bad name")

    monkeypatch.setattr(sources.HfApi, "model_info", unreachable)
    monkeypatch.setattr(sources, "snapshot_download", unreachable)
    assert "does not exist; give e5-small" in problem(tmp_path / "none")
    assert "does not exist; give e5-small" in problem("./none")
    (tmp_path / "file").touch()
    assert "is a file; give the folder" in problem(tmp_path / "file")
    message = problem("xlm-roberta-base")
    assert message.startswith("xlm-roberta-base is no local folder and the Hugging Face hub cannot be reached")
    assert "e5-small" in message
    assert "a local folder" in message
    monkeypatch.setattr(sources.HfApi, "model_info", invalid)
    assert "nor a valid hub id" in problem("a--b/c")


def test_a_hub_id_is_fetched_and_without_network_taken_from_the_cache(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, Any]] = []

    def download(_: str, **options: Any) -> str:
        asked.append(options)
        return str(folder)

    class Found:
        siblings = (type("File", (), {"rfilename": "model.safetensors"}),)

    monkeypatch.setattr(sources, "snapshot_download", download)
    monkeypatch.setattr(sources.HfApi, "model_info", lambda *_, **__: Found)
    assert sources.load("some/model").parameters > 0
    sources.load_config("some/model")
    assert "*.safetensors" in asked[0]["allow_patterns"]
    assert not any("safetensors" in pattern for pattern in asked[1]["allow_patterns"])

    def unreachable(*_: object, **__: object) -> None:
        raise ConnectionError("no route")

    monkeypatch.setattr(sources.HfApi, "model_info", unreachable)
    assert sources.load("some/model").parameters > 0
    assert asked[2] == {"local_files_only": True}


def test_a_tokenizer_that_only_exists_in_python_is_refused(tmp_path):
    bundle.save(tiny_models.bundle("bert"), tmp_path)
    (tmp_path / "tokenizer.json").rename(tmp_path / "vocab.txt")
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "CanineTokenizer"}', encoding="utf-8")
    with pytest.raises(SourceError, match=r"only a slow tokenizer \(CanineTokenizer\); save it with a tokenizer.json"):
        sources.load(str(tmp_path))
