"""What benchmarks/quantize.py compares: models of random weights, optimum's files, and how fast int8 can be at all."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import numpy as np
import torch
from onnx import TensorProto, helper, numpy_helper, save
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, XLMRobertaConfig, XLMRobertaForSequenceClassification

from edgecompress.artifact import Artifact, open_artifact
from edgecompress.encoder.bundle import Bundle
from edgecompress.export.onnx import export
from edgecompress.export.quantize import quantize
from edgecompress.runtime.session import open_session


def model(folder: Path, shape: Mapping[str, Any]) -> Path:
    """Write a topic model of this shape with random weights, and a tokenizer whose ids it has."""
    if not (folder / "config.json").is_file():
        torch.manual_seed(0)
        config = XLMRobertaConfig(**shape, max_position_embeddings=514, type_vocab_size=1, pad_token_id=1, num_labels=7)
        XLMRobertaForSequenceClassification(config).save_pretrained(folder)
        _tokenizer(shape["vocab_size"]).save_pretrained(folder)
    return folder


def _tokenizer(count: int) -> PreTrainedTokenizerFast:
    """Return a tokenizer of ``count`` made-up words: ids are drawn from all of them."""
    specials = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    words = [*specials.values(), *(f"w{number}" for number in range(count - len(specials)))]
    made = Tokenizer(models.WordLevel({word: at for at, word in enumerate(words)}, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=made, **specials)


def exported(folder: Path, target: Path) -> Artifact:
    """Return a model folder as a float32 artifact, made where it is not there."""
    if target.is_dir():
        return open_artifact(target)
    model = XLMRobertaForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    return export(Bundle(model, tokenizer), target, task="topic")


def quantized(plain: Artifact, scheme: str) -> Artifact:
    """Return an artifact under a scheme, made where it is not there; of random weights no agreement is asked."""
    target = plain.folder.with_name(plain.folder.name.replace("fp32", scheme))
    if target.is_dir():
        return open_artifact(target)
    return quantize(plain, target, scheme=scheme, min_agreement=0.0)


def peer(optimum_cli: Path, folder: Path, task: str) -> Path:
    """Return the file that optimum makes of a model folder, in the way of its documentation."""
    plain, small = folder.with_name(f"{folder.name}-peer"), folder.with_name(f"{folder.name}-peer-int8")
    made = small / "model_quantized.onnx"
    if not made.is_file():
        for words in (["export", "onnx", "--model", folder, "--task", task, plain],
                      ["onnxruntime", "quantize", "--onnx_model", plain, "--avx512_vnni", "-o", small]):  # fmt: skip
            subprocess.run([str(optimum_cli), *map(str, words)], check=True, capture_output=True)
        shutil.copyfile(folder / "tokenizer.json", small / "tokenizer.json")  # ids are drawn from it, as for ours
    return made


def operations(shape: Mapping[str, Any], length: int) -> int:
    """Return the multiplications and additions of one text's constant products, all tokens through all layers."""
    hidden, ffn = shape["hidden_size"], shape["intermediate_size"]
    return int(2 * length * shape["num_hidden_layers"] * (4 * hidden * hidden + 2 * hidden * ffn))


def int8_peak(size: int = 1024) -> float:
    """Return the billions of operations a second of one large int8 product on one thread, best of many."""
    weight = np.random.default_rng(0).integers(-127, 127, (size, size)).astype(np.int8)
    node = helper.make_node("MatMulInteger", ["x", "w"], ["y"])
    given = [helper.make_tensor_value_info("x", TensorProto.UINT8, [size, size])]
    out = [helper.make_tensor_value_info("y", TensorProto.INT32, [size, size])]
    graph = helper.make_graph([node], "peak", given, out, [numpy_helper.from_array(weight, "w")])
    with TemporaryDirectory() as folder:
        path = Path(folder) / "peak.onnx"
        save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9), str(path))
        session = open_session(path, threads=1)
    x = np.full((size, size), 3, np.uint8)
    best = float("inf")
    for _ in range(30):
        begin = perf_counter()
        session.run(None, {"x": x})
        best = min(best, perf_counter() - begin)
    return 2 * size**3 / best / 1e9
