"""A folder that recipes can be read in, and how the recipes of the tests begin."""

from __future__ import annotations

import textwrap

import pytest
from tiny_models import FAMILIES, bundle, corpus, task_files

from edgecompress.encoder.bundle import save
from edgecompress.errors import RecipeError
from edgecompress.plan import plan
from edgecompress.recipe import Recipe, parse, read

HEAD = """
teacher = "bert"
[corpora.slk]
files = ["slk.txt"]
[tasks.topic]
train = ["topic-train.jsonl"]
validation = ["topic-validation.jsonl"]
[tasks.names]
kind = "ner"
train = ["ner-train.jsonl"]
validation = ["ner-validation.jsonl"]
"""


def written(home, text, name="recipe"):
    path = home / f"{name}.toml"
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    return path


def furnish(folder):
    """Write a teacher of each family, a corpus and two tasks."""
    for family in FAMILIES:
        save(bundle(family), folder / family)
    corpus(folder)
    task_files(folder, "topic", 8)
    task_files(folder, "ner", 8)
    return folder


def refused(path):
    with pytest.raises(RecipeError) as caught:
        plan(read(path))
    said = str(caught.value)
    assert "\n" not in said
    return said


def stage(line):
    return f"{HEAD}\n[[stages]]\n" + line.replace("; ", "\n")


def small_home(folder):
    """Write a teacher, two corpora and a task, for :func:`small_recipe`."""
    save(bundle("bert"), folder / "teacher-model")
    corpus(folder)
    corpus(folder, "more", repeat=6)
    task_files(folder, "topic", 12)
    return folder


def small_recipe(home, stages, **more) -> Recipe:
    splits = {split: [f"topic-{split}.jsonl"] for split in ("train", "validation", "test")}
    files = {name: {"files": [f"{name}.txt"]} for name in ("slk", "more")}
    raw = {"teacher": "teacher-model", "corpora": files, "tasks": {"topic": splits}, "stages": stages, **more}
    return parse(raw, home, "recipe")
