"""What a recipe will make, worked out from the teacher's configuration alone: no weight is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgecompress.encoder.arch import architecture, resized, size
from edgecompress.errors import ArchitectureError, RecipeError
from edgecompress.recipe import TEACHER, Node, Recipe
from edgecompress.stages import STAGES
from edgecompress.tasks import TASKS
from edgecompress.tasks.examples import labels_of, read_examples

if TYPE_CHECKING:
    from transformers import PretrainedConfig


@dataclass(frozen=True)
class Row:
    """One stage of the plan. ``parameters`` is an upper bound where ``at_most``: a vocabulary chosen by counting."""

    name: str
    stage: str
    source: str
    parameters: int
    at_most: bool = False


@dataclass(frozen=True)
class _Model:
    config: PretrainedConfig
    class_name: str
    at_most: bool = False


def plan(recipe: Recipe) -> list[Row]:
    """Return the plan of ``recipe``, teacher first (poolers of bare encoders are not counted).

    Raises RecipeError naming the stage for sizes that the model before it does not allow.
    """
    from edgecompress.encoder.sources import load_config

    config = load_config(recipe.teacher)
    architecture(config)
    models = {TEACHER: _Model(config, config.architectures[0])}
    rows = [Row(TEACHER, "load", recipe.teacher, _parameters(models[TEACHER]))]
    for node in recipe.nodes:
        try:
            models[node.name] = model = _after(node, models[node.source])
        except (ArchitectureError, RecipeError) as error:
            raise RecipeError(f"recipe {recipe.name}: stage {node.name!r}: {error}") from error
        rows.append(Row(node.name, node.stage, node.source, _parameters(model), model.at_most))
    return rows


def _after(node: Node, before: _Model) -> _Model:
    sizes = {}
    for option, axis in STAGES[node.stage].sizes.items():
        wanted, most = node.arguments.get(option), size(before.config, axis)
        if wanted is None:
            continue
        if wanted > most:
            raise ArchitectureError(
                f"{option} {wanted} is above the {most} of the model before it: choose at most {most}"
            )
        sizes[axis] = wanted
    at_most = before.at_most or node.stage == "trim"
    config = resized(before.config, sizes)
    return _Model(config, _class_after(node, before, config), at_most)


def _class_after(node: Node, before: _Model, config: Any) -> str:
    """Return the class of the model after a stage: two stages put a new head on the encoder."""
    import transformers

    kind = "mlm" if node.stage == "adapt" else ""
    if node.stage == "finetune":
        task = TASKS[node.arguments["task"].kind]
        config.num_labels = len(labels_of(read_examples(node.arguments["task"].train, task)))
        kind = task.kind
    auto = {
        "mlm": transformers.AutoModelForMaskedLM,
        "text": transformers.AutoModelForSequenceClassification,
        "token": transformers.AutoModelForTokenClassification,
    }
    return auto[kind]._model_mapping[type(config)].__name__ if kind else before.class_name  # noqa: SLF001


def _parameters(model: _Model) -> int:
    import inspect

    import torch
    import transformers

    kind = getattr(transformers, model.class_name)
    options = {"add_pooling_layer": False} if "add_pooling_layer" in inspect.signature(kind).parameters else {}
    with torch.device("meta"):
        return int(kind(model.config, **options).num_parameters())
