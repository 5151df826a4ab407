"""The unit that flows through the stages: a model, its tokenizer, and what was done to them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError, safe_open

from edgecompress.encoder.tokenizer import check_reload
from edgecompress.errors import OutputError, SourceError
from edgecompress.files import need_space, write_json
from edgecompress.records import Step, step_from_json, to_json

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

_BYTES_A_TOKEN = 100  # what a piece takes in tokenizer.json, amply
HISTORY_FILE = "edgecompress.json"
HEADS_FILE = "heads.safetensors"
PROBES = ("Ľudia z 3 miest, ktoré… (nie)!", "Watu wote wamezaliwa huru.", "a\u0301 ﬁ １ 北京 🙂  x")


@dataclass(frozen=True)
class TaskHead:
    """A head trained on an encoder that lies apart from it, because several share the encoder.

    ``task`` is the key of what it was trained on, ``state`` its tensors by their names in the whole model.
    """

    task: str
    labels: tuple[str, ...]
    state: Mapping[str, Tensor]


@dataclass(frozen=True)
class Bundle:
    """A transformers model (in eval mode, on the CPU), its fast tokenizer, and the steps that made them.

    ``heads`` were trained on exactly this encoder; the next step leaves them behind.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerFast
    history: tuple[Step, ...] = ()
    heads: tuple[TaskHead, ...] = ()

    @property
    def parameters(self) -> int:
        """Number of parameters, tied ones counted once."""
        return int(self.model.num_parameters())

    def then(
        self,
        step: Step,
        *,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerFast | None = None,
        heads: tuple[TaskHead, ...] = (),
    ) -> Bundle:
        """Return the bundle that ``step`` made of this one."""
        return Bundle(model, tokenizer or self.tokenizer, (*self.history, step), heads)


def save(bundle: Bundle, folder: Path) -> None:
    """Write an ordinary transformers folder (safetensors, tokenizer.json) plus history and heads into ``folder``.

    Raises OutputError when the place cannot be written, CheckError when the saved tokenizer, read back by tokenizers
    and by transformers, gives other ids.
    """
    folder.mkdir(parents=True, exist_ok=True)
    need_space(folder, 4 * bundle.parameters + _BYTES_A_TOKEN * len(bundle.tokenizer))
    try:
        bundle.model.save_pretrained(folder)
    except SafetensorError as error:  # an operating-system error, but not of that class
        raise OutputError(f"cannot write {folder}: {error}") from error
    _save_heads(bundle.heads, folder / HEADS_FILE)
    save_tokenizer(bundle.tokenizer, folder)
    check_reload(folder, bundle.tokenizer, PROBES)
    for weights in folder.glob("*.safetensors"):  # which safetensors lets the owner alone read
        shutil.copymode(folder / "config.json", weights)
    write_json(folder / HISTORY_FILE, {"format": 1, "history": [to_json(step) for step in bundle.history]})


def _save_heads(heads: Sequence[TaskHead], path: Path) -> None:
    from safetensors.torch import save_file

    path.unlink(missing_ok=True)  # heads of what lay here before
    if not heads:
        return
    tensors = {
        f"{at}/{name}": tensor.contiguous() for at, one in enumerate(heads) for name, tensor in one.state.items()
    }
    listed = json.dumps([{"task": one.task, "labels": one.labels} for one in heads], ensure_ascii=False)
    try:
        save_file(tensors, path, {"heads": listed})
    except SafetensorError as error:
        raise OutputError(f"cannot write {path}: {error}") from error


def read_heads(folder: Path) -> tuple[TaskHead, ...]:
    """Return the heads saved in ``folder``, if any. Raises SourceError for a damaged file."""
    path = folder / HEADS_FILE
    if not path.exists():
        return ()
    try:
        with safe_open(path, framework="pt") as file:
            listed = json.loads(file.metadata()["heads"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return tuple(
            TaskHead(one["task"], tuple(one["labels"]), _of(tensors, f"{at}/")) for at, one in enumerate(listed)
        )
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise SourceError(f"{path} is damaged ({error}): restore the folder, or remove this file") from error


def _of(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def save_tokenizer(tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write tokenizer.json and its configuration into ``folder``.

    The configuration names the one tokenizer class that transformers 4 and 5 both load from tokenizer.json without
    rewriting it.
    """
    tokenizer.save_pretrained(folder)
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    write_json(path, {**config, "tokenizer_class": "PreTrainedTokenizerFast"})


def read_history(folder: Path) -> tuple[Step, ...]:
    """Return the history saved in ``folder``; an ordinary model folder without one has none. Raises SourceError."""
    path = folder / HISTORY_FILE
    if not path.exists():
        return ()
    try:
        return tuple(step_from_json(step) for step in json.loads(path.read_text(encoding="utf-8"))["history"])
    except (ValueError, KeyError, TypeError) as error:
        raise SourceError(f"{path} is damaged ({error}): restore the folder, or remove this file") from error
