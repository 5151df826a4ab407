"""What the scripts that make students share: the shipped recipes, and a shape with random weights."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from edgecompress.encoder.bundle import Bundle, save
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


def random_weights(model: PreTrainedModel, tokenizer: Any, folder: Path, seed: int) -> Path:
    """Write a model of this shape with random weights, unless it is there, and return its folder."""
    if not folder.is_dir():
        torch.manual_seed(seed)
        new = type(model)(model.config).eval()
        with new_folder(folder) as draft:
            save(Bundle(new, tokenizer, (Step("random", {"seed": seed}, int(new.num_parameters())),)), draft)
    return folder.resolve()
