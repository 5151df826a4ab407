"""What the scripts that make students share: the shipped recipes, their artifacts, and a shape with random weights."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import click
import torch
from transformers import PreTrainedModel

from edgecompress.artifact import Artifact, open_artifact
from edgecompress.encoder import sources
from edgecompress.encoder.bundle import Bundle, read_history, save
from edgecompress.export.onnx import export
from edgecompress.files import new_folder
from edgecompress.records import Step

ROOT = Path(__file__).resolve().parents[1]
HEADLINE = ("topic", "sentiment", "ner", "pos")
PAPER_SIZES = ("moderate", "maximum")
Entry = dict[str, Any]  # of a recipe's stages


def shipped(model: str) -> dict[str, Any]:
    """Return the recipe in models/``model``, as its file says it."""
    return tomllib.loads((ROOT / "models" / model / "recipe.toml").read_text(encoding="utf-8"))


def name_of(entry: Entry) -> str:
    """Return the name of a stage."""
    return str(entry.get("name", entry["stage"]))


def made_of(stage: Path, target: Path) -> Artifact:
    """Return the fp32 artifact of a fine-tuned stage, exported unless ``target`` is just that.

    Raises ClickException where ``target`` was made of another stage, or of an earlier run of this one.
    """
    if not target.is_dir():
        return export(sources.load(str(stage)), target)
    found, last = open_artifact(target), read_history(stage)[-1]
    if last.key not in {step.key for step in found.history}:
        raise click.ClickException(f"{target} was made of another run than {stage}: give a new -o, or remove it")
    return found


def random_weights(model: PreTrainedModel, tokenizer: Any, folder: Path, seed: int) -> Path:
    """Write a model of this shape with random weights, unless it is there, and return its folder."""
    if not folder.is_dir():
        torch.manual_seed(seed)
        new = type(model)(model.config).eval()
        with new_folder(folder) as draft:
            save(Bundle(new, tokenizer, (Step("random", {"seed": seed}, int(new.num_parameters())),)), draft)
    return folder.resolve()
