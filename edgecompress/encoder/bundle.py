"""The unit that flows through the stages: a model, its tokenizer, and what was done to them."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError

from edgecompress.encoder.tokenizer import check_reload
from edgecompress.errors import OutputError, SourceError
from edgecompress.files import need_space, write_json
from edgecompress.records import Step, step_from_json, to_json

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

_BYTES_A_TOKEN = 100  # what a piece takes in tokenizer.json, amply
HISTORY_FILE = "edgecompress.json"
PROBES = ("Ľudia z 3 miest, ktoré… (nie)!", "Watu wote wamezaliwa huru.", "a\u0301 ﬁ １ 北京 🙂  x")


@dataclass(frozen=True)
class Bundle:
    """A transformers model (in eval mode, on the CPU), its fast tokenizer, and the steps that made them."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerFast
    history: tuple[Step, ...] = ()

    @property
    def parameters(self) -> int:
        """Number of parameters, tied ones counted once."""
        return int(self.model.num_parameters())

    def then(self, step: Step, *, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast | None = None) -> Bundle:
        """Return the bundle that ``step`` made of this one."""
        return replace(self, model=model, tokenizer=tokenizer or self.tokenizer, history=(*self.history, step))


def save(bundle: Bundle, folder: Path) -> None:
    """Write an ordinary transformers folder (safetensors, tokenizer.json) plus the history into ``folder``.

    Raises OutputError when the place cannot be written, CheckError when the saved tokenizer, read back by tokenizers
    and by transformers, gives other ids.
    """
    folder.mkdir(parents=True, exist_ok=True)
    need_space(folder, 4 * bundle.parameters + _BYTES_A_TOKEN * len(bundle.tokenizer))
    try:
        bundle.model.save_pretrained(folder)
    except SafetensorError as error:  # an operating-system error, but not of that class
        raise OutputError(f"cannot write {folder}: {error}") from error
    save_tokenizer(bundle.tokenizer, folder)
    check_reload(folder, bundle.tokenizer, PROBES)
    write_json(folder / HISTORY_FILE, {"format": 1, "history": [to_json(step) for step in bundle.history]})


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
