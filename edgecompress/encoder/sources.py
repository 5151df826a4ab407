"""Where encoders come from: the offline teacher ``e5-small``, a folder in transformers' format, or a hub id.

Nothing is loaded half: a weight that is missing, left over or of another shape is an error, because transformers would
put random numbers in its place. A hub id is first brought into the local cache and is from then on a folder.
"""

from __future__ import annotations

import json
import pickle
import re
import struct
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import transformers
from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    RepositoryNotFoundError,
    StrictDataclassError,
)
from safetensors import SafetensorError, safe_open
from transformers import AutoConfig

from edgecompress.encoder import e5_small
from edgecompress.encoder.bundle import Bundle, read_heads, read_history
from edgecompress.encoder.saved_tokenizer import one_line, read_tokenizer
from edgecompress.errors import ArchitectureError, SourceError

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerFast

Shapes = dict[str, tuple[int, ...]]
_HEADS = {
    "ForMaskedLM": "AutoModelForMaskedLM",
    "ForPreTraining": "AutoModelForMaskedLM",
    "ForSequenceClassification": "AutoModelForSequenceClassification",
    "ForTokenClassification": "AutoModelForTokenClassification",
}
# What a checkpoint may hold beyond the model: buffers that old versions saved, and, beside a masked-LM or a token head,
# the pooler and the next-sentence head of pretraining.
_BUFFERS = re.compile(r"(^|\.)embeddings\.(position_ids|token_type_ids)$")
_DEBERTA_V3 = re.compile(  # both heads of its pretraining, and its embeddings twice
    r"^(lm|mask)_predictions\.|(^|\.)embeddings\.\w+_embeddings\._weight$"
)
_PRETRAINING = re.compile(r"(^|\.)pooler\.dense\.(weight|bias)$|^cls\.seq_relationship\.(weight|bias)$")
_SINGLE = ("model.safetensors", "pytorch_model.bin")
_SMALL = ("*.json", "*.txt", "*.model")
# The hub's transport (requests, httpx, …) differs by its version; its own error class derives from the transport's.
_NETWORK: tuple[type[BaseException], ...] = (OSError, *HfHubHTTPError.__bases__)
_DAMAGE = (
    SafetensorError,
    pickle.UnpicklingError,
    OSError,
    ValueError,
    KeyError,
    AttributeError,
    RuntimeError,
    EOFError,
    IndexError,
    struct.error,
)
_TIMEOUT = 10.0  # seconds
_SHOWN = 3


def load(ref: str) -> Bundle:
    """Return the encoder ``ref``: ``"e5-small"``, a folder, or a hub id; float32, eval mode, on the CPU.

    Raises SourceError when it cannot be found or loaded completely, ArchitectureError for a model type without an axis
    table, MissingExtraError when ``e5-small`` is asked for and not installed.
    """
    if ref == e5_small.NAME:
        return Bundle(*e5_small.load())
    folder = _folder(ref, weights=True)
    config = _config(folder)
    tokenizer = read_tokenizer(folder, config)
    model = _model(folder, config)
    rows, highest = model.get_input_embeddings().weight.shape[0], max(tokenizer.get_vocab().values())
    if highest >= rows:
        what = f"the tokenizer has id {highest}, the model only {rows} embedding rows"
        raise SourceError(f"{folder}: {what}; use the model's own tokenizer")
    return Bundle(model, tokenizer, read_history(folder), read_heads(folder))


def load_config(ref: str) -> PretrainedConfig:
    """Return the configuration of ``ref`` without loading weights. Raises as :func:`load`."""
    return e5_small.config() if ref == e5_small.NAME else _config(_folder(ref, weights=False))


def commit(ref: str) -> str:
    """Return the commit that a hub id stands for now, "" for the packaged teacher. Raises as :func:`load`."""
    return "" if ref == e5_small.NAME else _folder(ref, weights=False).name


def load_tokenizer(ref: str) -> PreTrainedTokenizerFast:
    """Return the fast tokenizer of ``ref`` without loading weights. Raises as :func:`load`."""
    if ref == e5_small.NAME:
        return e5_small.tokenizer()
    folder = _folder(ref, weights=False)
    return read_tokenizer(folder, _config(folder))


def class_name(config: PretrainedConfig) -> str:
    """Return the name of the class that a folder with this configuration is loaded as."""
    return str(getattr(transformers, _auto_class(config))._model_mapping[type(config)].__name__)  # noqa: SLF001


def _auto_class(config: PretrainedConfig) -> str:
    name = (config.architectures or [""])[0]
    return next((auto for suffix, auto in _HEADS.items() if name.endswith(suffix)), "AutoModel")


def _folder(ref: str, *, weights: bool) -> Path:
    """Return the folder that ``ref`` names, fetched from the hub when it is a hub id."""
    path = Path(ref).expanduser()
    if path.is_dir():
        return path
    if path.exists():
        raise SourceError(f"{ref} is a file; give the folder that holds config.json and the weights")
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?", ref):
        raise SourceError(f"the folder {ref} does not exist; give {e5_small.NAME}, a local folder, or a hub id")
    return _fetch(ref, weights=weights)


def _fetch(ref: str, *, weights: bool) -> Path:
    """Bring a hub model into the cache and return its folder; without network, the copy that the cache may hold."""
    choice = f"use {e5_small.NAME} (in the extra `offline`) or a local folder"
    try:
        # One look first, without the retries of a download: no network is told within seconds.
        listed = HfApi().model_info(ref, timeout=_TIMEOUT).siblings or []
    except GatedRepoError as error:
        raise SourceError(f"the hub model {ref} asks for a login: run `hf auth login`, or {choice}") from error
    except RepositoryNotFoundError as error:
        raise SourceError(f"{ref} is neither a local folder nor a hub model: check the name, or {choice}") from error
    except HFValidationError as error:
        raise SourceError(f"{ref} is neither a local folder nor a valid hub id: {choice}") from error
    except _NETWORK as error:
        return _cached(ref, f"{ref} is no local folder and the Hugging Face hub cannot be reached: {choice}", error)
    names = {entry.rfilename for entry in listed}
    form = "*.safetensors" if any(name.endswith(".safetensors") for name in names) else "pytorch_model*.bin"
    try:
        return Path(snapshot_download(ref, allow_patterns=[*_SMALL, form] if weights else [*_SMALL]))
    except _NETWORK as error:
        raise SourceError(
            f"the download of {ref} failed ({one_line(error)}): run it again to go on, or {choice}"
        ) from error


def _cached(ref: str, message: str, cause: BaseException) -> Path:
    """Return the cached copy of a hub model, or raise SourceError with ``message``."""
    try:
        return Path(snapshot_download(ref, local_files_only=True))
    except OSError:
        raise SourceError(message) from cause


def _config(folder: Path) -> PretrainedConfig:
    """Read config.json and make sure that the axis tables know the model."""
    from edgecompress.encoder.arch import ARCHITECTURES, architecture

    path = folder / "config.json"
    if not path.is_file():
        raise SourceError(f"{folder} has no config.json; give a folder written by save_pretrained")
    try:
        kind = json.loads(path.read_text(encoding="utf-8")).get("model_type")
    except (ValueError, AttributeError, OSError) as error:
        raise SourceError(f"{path} is not valid JSON ({error}): restore the file") from error
    if kind not in ARCHITECTURES:
        raise ArchitectureError(f"{folder}: model type {kind!r} is not supported; {', '.join(ARCHITECTURES)} are")
    try:
        config = AutoConfig.from_pretrained(folder)
    except (ValueError, TypeError, OSError, StrictDataclassError) as error:
        raise SourceError(f"{path} cannot be used ({one_line(error)}): restore the file") from error
    architecture(config)
    return config


def _model(folder: Path, config: PretrainedConfig) -> PreTrainedModel:
    """Load the weights completely, or raise SourceError."""
    head = _auto_class(config)
    auto = getattr(transformers, head)
    shapes = _weight_shapes(folder)
    options: dict[str, Any] = {}
    if head == "AutoModel" and "add_pooling_layer" in signature(auto._model_mapping[type(config)]).parameters:  # noqa: SLF001
        options["add_pooling_layer"] = any(_PRETRAINING.search(name) for name in shapes)
    try:
        model, found = auto.from_pretrained(
            folder, config=config, dtype=torch.float32, output_loading_info=True, **options
        )
    except TypeError as error:  # transformers 4 checks the types in config.json only by using them
        raise SourceError(f"{folder / 'config.json'} cannot be used ({one_line(error)}): restore the file") from error
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        with torch.device("meta"):
            _check_shapes(folder, auto.from_config(config, **options), shapes)
        raise SourceError(f"{folder}: the weights cannot be loaded ({one_line(error)}): copy them again") from error
    _check_complete(folder, found, pretraining=head in {"AutoModelForMaskedLM", "AutoModelForTokenClassification"})
    return model.eval()


def _check_shapes(folder: Path, model: PreTrainedModel, shapes: Shapes) -> None:
    """Raise SourceError naming the first weights whose shape in the file is not the one that config.json implies."""
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    wrong = [name for name in sorted(shapes) if expected.get(name, shapes[name]) != shapes[name]]
    if wrong:
        first = f"{wrong[0]} is {list(shapes[wrong[0]])}, not {list(expected[wrong[0]])}"
        _refuse(folder, f"holds other shapes than config.json says ({first}) for {_some(wrong)}")


def _check_complete(folder: Path, found: dict[str, Any], *, pretraining: bool) -> None:
    """Raise SourceError when a weight is missing, mismatched, or left over without a reason."""
    missing = sorted(found["missing_keys"])
    if missing:
        _refuse(folder, f"has no weight for {_some(missing)}, and random numbers will not do")
    mismatched = sorted(str(key[0] if isinstance(key, tuple) else key) for key in found["mismatched_keys"])
    if mismatched:
        _refuse(folder, f"holds another shape than config.json says for {_some(mismatched)}")
    justified = [_BUFFERS, _DEBERTA_V3, *([_PRETRAINING] if pretraining else [])]
    extra = sorted(key for key in found["unexpected_keys"] if not any(rule.search(key) for rule in justified))
    if extra:
        _refuse(folder, f"holds weights that the model named in config.json lacks: {_some(extra)}")


def _refuse(folder: Path, what: str) -> None:
    """Raise SourceError about weights that do not match their configuration."""
    raise SourceError(f"{folder} {what}; check `architectures` in config.json, or save the model again")


def _some(names: list[str]) -> str:
    """Show the first few names."""
    rest = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")


def _weight_shapes(folder: Path) -> Shapes:
    """Return the shape of every weight without reading the weights; a cut or damaged file shows here."""
    for single in _SINGLE:
        for path in (folder / single, folder / f"{single}.index.json"):
            if path.is_file():
                return _shapes_in(path)
    raise SourceError(f"{folder} has no weights: none of {', '.join(_SINGLE)} (or their .index.json)")


def _shapes_in(path: Path) -> Shapes:
    """Return the shapes in a safetensors file, a pickled file (unpickling weights only), or an index of parts."""
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as file:
                return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
        if path.suffix == ".bin":
            tensors = torch.load(path, map_location="meta", weights_only=True)
            return {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        parts = sorted(set(json.loads(path.read_text(encoding="utf-8"))["weight_map"].values()))
        return {name: shape for part in parts for name, shape in _shapes_in(path.parent / part).items()}
    except _DAMAGE as error:
        raise SourceError(f"{path} is damaged or cut short ({one_line(error)}): copy it again") from error
