"""Smaller weights, by onnxruntime's own quantizers: one function a kind, rewriting a file in place. No torch here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecompress.errors import MissingExtraError
from edgecompress.export.compare import Batch, Ids
from edgecompress.export.quiet import quiet
from edgecompress.extras import install
from edgecompress.progress import report
from edgecompress.runtime.session import open_run

if TYPE_CHECKING:
    from onnx import ModelProto

Options = Mapping[str, Any]
_OPERATORS = ["MatMul", "Gemm"]


def _load(path: Path) -> ModelProto:
    try:
        import onnx
    except ImportError as error:
        raise MissingExtraError(f"quantizing needs onnx: {install('compress')}") from error
    model: ModelProto = onnx.load(str(path))
    del model.graph.value_info[:]  # shapes noted by the exporter are stale once nodes are replaced
    return model


def dynamic(path: Path, options: Options, texts: Sequence[Batch] = ()) -> None:
    """Products with constant weights in int8; activations are scaled when they are there, tensor by tensor.

    ``per_channel``; ``reduced``: 7 bits; ``unsigned`` weights; ``spared``: this share of the products stays in float32,
    those that alone move the logits on ``texts`` most.
    """
    spared = _most_sensitive(path, texts, options) if options.get("spared") else []
    _dynamic(path, path, options, {"nodes_to_exclude": spared})


def _dynamic(source: Path, target: Path, options: Options, nodes: Mapping[str, list[str]]) -> None:
    model = _load(source)
    from onnx import TensorProto
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with quiet():
        quantize_dynamic(
            model,
            str(target),
            op_types_to_quantize=_OPERATORS,
            per_channel=bool(options.get("per_channel")),
            reduce_range=bool(options.get("reduced")),
            weight_type=QuantType.QUInt8 if options.get("unsigned") else QuantType.QInt8,
            extra_options={"MatMulConstBOnly": True, "DefaultTensorType": TensorProto.FLOAT},
            **nodes,
        )


def _constant_products(path: Path) -> list[str]:
    model = _load(path)
    held = {tensor.name for tensor in model.graph.initializer}
    return [node.name for node in model.graph.node if node.op_type in _OPERATORS and set(node.input[1:2]) <= held]


def _most_sensitive(path: Path, texts: Sequence[Batch], options: Options) -> list[str]:
    """Return the names of the products whose quantization alone moves the logits most: one file and one run each."""
    names, plain, trial = _constant_products(path), open_run(path), path.with_name("trial.onnx")
    wanted = [plain(ids, mask) for _, ids, mask in texts]
    moved: dict[str, float] = {}
    for done, name in enumerate(names):
        report("sensitivity", done, len(names), name)
        _dynamic(path, trial, options, {"nodes_to_quantize": [name]})
        run = open_run(trial)
        moved[name] = sum(
            float(((run(ids, mask) - logits)[mask.astype(bool)] ** 2).sum())
            if logits.ndim > 2  # noqa: PLR2004 - (batch, length, labels)
            else float(((run(ids, mask) - logits) ** 2).sum())
            for (_, ids, mask), logits in zip(texts, wanted, strict=True)
        )
        trial.unlink()
    report("sensitivity", len(names), len(names))
    most = max(1, round(options["spared"] * len(names)))
    return sorted(names, key=lambda name: -moved[name])[:most]


@dataclass(frozen=True)
class _Reader:
    """Feeds one calibration batch a call, and None after the last; onnxruntime asks for ``get_next`` alone."""

    names: set[str]
    left: Iterator[Batch]

    def get_next(self) -> dict[str, Ids] | None:
        batch = next(self.left, None)
        if batch is None:
            return None
        given = {"input_ids": batch[1], "attention_mask": batch[2]}
        return {name: given[name] for name in self.names}


def static(path: Path, options: Options, texts: Sequence[Batch] = ()) -> None:  # noqa: ARG001 - one signature for all
    """Put constant products between QuantizeLinear and DequantizeLinear, activations calibrated on ``texts``."""
    model, wanted = _load(path), _constant_products(path)
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    with quiet():
        quantize_static(
            model,
            str(path),
            _Reader({node.name for node in model.graph.input}, iter(texts)),
            quant_format=QuantFormat.QDQ,
            nodes_to_quantize=wanted,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )


def blocks(path: Path, options: Options, texts: Sequence[Batch] = ()) -> None:  # noqa: ARG001 - one signature for all
    """Weights in ``bits`` (8 or 4) with a scale a block of 32; activations are quantized by the operator itself."""
    model = _load(path)
    import onnx
    from onnxruntime.quantization.matmul_nbits_quantizer import DefaultWeightOnlyQuantConfig, MatMulNBitsQuantizer

    config = DefaultWeightOnlyQuantConfig(block_size=32, is_symmetric=True, accuracy_level=4, bits=options["bits"])
    with quiet():
        quantizer = MatMulNBitsQuantizer(model, algo_config=config)
        quantizer.process()
    onnx.save(quantizer.model.model, str(path))


def half(path: Path, options: Options, texts: Sequence[Batch] = ()) -> None:  # noqa: ARG001 - one signature for all
    """Everything in float16 but ids, masks and logits."""
    model = _load(path)
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    with quiet():
        onnx.save(convert_float_to_float16(model, keep_io_types=True), str(path))


def floats(path: Path, options: Options, texts: Sequence[Batch] = ()) -> None:
    """Leave the weights as they are."""


WEIGHTS: Mapping[str, Callable[[Path, Options, Sequence[Batch]], None]] = {
    "float": floats,
    "dynamic": dynamic,
    "static": static,
    "blocks": blocks,
    "half": half,
}
