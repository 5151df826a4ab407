"""What a recipe will make, worked out from the teacher's configuration alone: no weight is loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from edgecompress import corpus as corpora
from edgecompress.binding import parameters
from edgecompress.encoder.arch import architecture, longest_input, resized, size
from edgecompress.errors import ArchitectureError, CorpusError, RecipeError, TaskDataError
from edgecompress.keys import teachers_of
from edgecompress.options import Objective, TaskFiles
from edgecompress.recipe import TEACHER, Node, Recipe
from edgecompress.stages import STAGES
from edgecompress.stages.distill import check_lengths, check_objective, distill
from edgecompress.stages.finetune import check_length
from edgecompress.stages.truncate import check_width, reads_text, truncate
from edgecompress.tasks import TASKS
from edgecompress.tasks.examples import check_labels, check_several, labels_of, read_examples

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
    """``heads``: the tasks whose heads lie beside it; None where only the folder tells. ``unsure``: axes whose size a
    stage must correct; it is at most that of ``config``.
    """

    config: PretrainedConfig
    class_name: str
    at_most: bool = False
    heads: tuple[TaskFiles, ...] | None = ()
    unsure: frozenset[str] = frozenset()


def plan(recipe: Recipe) -> list[Row]:
    """Return the plan of ``recipe``, teacher first (poolers of bare encoders are not counted).

    Raises RecipeError naming the stage for sizes that the model before it does not allow.
    """
    from edgecompress.encoder.sources import class_name, load_config

    _labels.cache_clear()  # files may have changed since the last plan
    _check_data(recipe)
    config = load_config(recipe.teacher)
    architecture(config)
    models = {TEACHER: _Model(config, class_name(config), heads=None)}
    rows = [Row(TEACHER, "load", recipe.teacher, _parameters(models[TEACHER]))]
    wrong: dict[str, str] = {}  # of what follows from a stage that cannot be, only the sizes are looked at
    for node in recipe.nodes:
        before = models[node.source]
        follows = bool({node.source, *teachers_of(node.arguments)} & wrong.keys())
        try:
            models[node.name] = model = _after(node, before)
            if not follows:
                _check(node, model, models)
        except (ArchitectureError, RecipeError) as error:
            wrong[node.name] = f"stage {node.name!r}: {error}"
            models[node.name] = replace(before, unsure=before.unsure | set(STAGES[node.stage].sizes.values()))
            continue
        if follows:
            wrong[node.name] = ""
            continue
        rows.append(Row(node.name, node.stage, node.source, _parameters(model), model.at_most))
    if wrong:
        raise RecipeError(f"recipe {recipe.name}: {'; '.join(filter(None, wrong.values()))}")
    return rows


def _check_data(recipe: Recipe) -> None:
    """Look into the text and the examples. Raises the error of one that cannot be used, RecipeError for several."""
    used = {files for node in recipe.nodes for files in (node.arguments.get("task"), *node.arguments.get("tasks", ()))}
    looks: list[Callable[[], object]] = [partial(corpora.check_text, corpus) for corpus in recipe.corpora.values()]
    looks += [partial(_labels, files) for files in recipe.tasks.values() if files in used]
    found: list[CorpusError | TaskDataError] = []
    for look in looks:
        try:
            look()
        except (CorpusError, TaskDataError) as error:
            found.append(error)
    if len(found) == 1:
        raise found[0]
    if found:
        raise RecipeError(f"recipe {recipe.name}: {'; '.join(map(str, found))}")


def _after(node: Node, before: _Model) -> _Model:
    sizes = {}
    above = []
    for option, axis in STAGES[node.stage].sizes.items():
        wanted, most = node.arguments.get(option), size(before.config, axis)
        if wanted is None:
            continue
        if wanted > most:
            above.append(f"{option} {wanted} is above the {most} of the model before it: choose at most {most}")
        sizes[axis] = wanted
    if above:
        raise ArchitectureError("; ".join(above))
    config, unsure = _resized(before, sizes)
    at_most = before.at_most or node.stage == "trim"
    heads = node.arguments["tasks"] if node.stage == "multitask" else ()
    return _Model(config, _class_after(node, before, config), at_most, heads, unsure)


def _resized(before: _Model, sizes: Mapping[str, int]) -> tuple[PretrainedConfig, frozenset[str]]:
    """Return the configuration with these sizes, and what is unsure of it. Raises ArchitectureError for sizes that
    cannot be, whatever a stage before is corrected to.
    """
    try:
        return resized(before.config, sizes), before.unsure - sizes.keys()
    except ArchitectureError:
        if not before.unsure & {"hidden", "heads"} - sizes.keys():
            raise
        return before.config, before.unsure | sizes.keys()  # the two may fit once the other one is right


def _check(node: Node, after: _Model, models: Mapping[str, _Model]) -> None:
    """Find out now what a stage would refuse after hours of other stages."""
    if node.stage == "distill":
        objective = node.arguments.get("objective", parameters(distill)["objective"].default)
        teacher = models.get(node.arguments.get("teacher") or node.source)
        pairs = [(m.config, m.class_name) for m in (after, teacher) if m is not None]
        check_objective(objective, *pairs)
        if teacher:
            _check_vocabulary(node.arguments.get("teacher", node.source), teacher, after.config)
    if node.stage in ("adapt", "distill"):
        training = node.arguments.get("training", parameters(STAGES[node.stage].run)["training"].default)
        if node.stage == "adapt" or training.steps or training.epochs:
            check_length(after.config, training.max_length)
            check_lengths(node.arguments.get("objective", Objective()).lengths, training.max_length)
    if node.stage in ("finetune", "multitask"):
        _check_learning(node, after, models)
    if node.stage == "truncate":
        _check_truncation(node, after.config, models[node.source].config)
    rotary, heads = architecture(after.config).rotary, size(after.config, "heads")
    if node.stage == "prune" and rotary and heads != size(models[node.source].config, "heads"):
        raise RecipeError(f"heads {heads}: wider heads would turn at other speeds here; give heads to truncate instead")
    if node.stage == "truncate" and rotary and size(after.config, "hidden") // heads % 2:
        raise RecipeError(
            f"heads of {size(after.config, 'hidden') // heads} cannot be turned in pairs: choose an even width"
        )
    if node.stage == "prune" and node.arguments.get("ffn") is None and node.arguments.get("heads") is None:
        raise RecipeError("give ffn (neurons a layer), heads (heads a layer), or both")


def _check_truncation(node: Node, after: PretrainedConfig, before: PretrainedConfig) -> None:
    chosen = {**{name: p.default for name, p in parameters(truncate).items()}, **node.arguments}
    reads, given = reads_text(chosen["method"], chosen["attention"]), bool(node.arguments.get("corpora"))
    if reads and not given:
        raise RecipeError("its method and attention read text: give corpora, or choose first-k for both")
    if given and not reads:
        raise RecipeError("its method and attention, first-k, read no text: leave corpora out")
    if chosen["attention"] != "first-k":
        check_width(size(after, "hidden"), size(after, "heads"), size(before, "hidden") // size(before, "heads"))


def _check_learning(node: Node, after: _Model, models: Mapping[str, _Model]) -> None:
    """Raise RecipeError for a teacher that a stage before makes, and that does not fit, or a head that none leaves."""
    training = node.arguments.get("training", parameters(STAGES[node.stage].run)["training"].default)
    check_length(after.config, min(training.max_length, longest_input(after.config)))
    tasks = node.arguments["tasks"] if node.stage == "multitask" else (node.arguments["task"],)
    for task, name in zip(tasks, teachers_of(node.arguments), strict=False):  # there may be none
        if name in models:
            _check_teacher(name, models[name], task, after.config)
    left = models[node.source].heads
    if node.arguments.get("head") == "trained" and left is not None:
        (task,) = tasks
        if (task.kind, task.train) not in [(one.kind, one.train) for one in left]:
            raise RecipeError(
                f"head 'trained': {node.source!r} has none for this task: start from a multitask stage that has it"
            )


def _check_teacher(name: str, teacher: _Model, task: TaskFiles, config: PretrainedConfig) -> None:
    """Raise RecipeError unless the teacher predicts the task's labels, for the token ids of ``config``."""
    wanted = _class_name(TASKS[task.kind].kind, config), dict(enumerate(_labels(task)))
    if (teacher.class_name, teacher.config.id2label) != wanted:
        raise RecipeError(f"its teacher {name!r} is not fine-tuned for the same task")
    _check_vocabulary(name, teacher, config)


def _check_vocabulary(name: str, teacher: _Model, config: PretrainedConfig) -> None:
    if teacher.config.vocab_size != config.vocab_size:
        raise RecipeError(f"its teacher {name!r} has another vocabulary: run `trim` before both")


def _class_after(node: Node, before: _Model, config: Any) -> str:
    """Return the class of the model after a stage: three stages put a new head on the encoder, or none."""
    if node.stage == "multitask":
        for task in node.arguments["tasks"]:
            _labels(task)
        return _class_name("none", config)
    if node.stage == "finetune":
        task = node.arguments["task"]
        config.id2label = dict(enumerate(_labels(task)))
        return _class_name(TASKS[task.kind].kind, config)
    return _class_name("mlm", config) if node.stage == "adapt" else before.class_name


def _class_name(head: str, config: PretrainedConfig) -> str:
    import transformers

    auto = {
        "none": transformers.AutoModel,
        "mlm": transformers.AutoModelForMaskedLM,
        "text": transformers.AutoModelForSequenceClassification,
        "token": transformers.AutoModelForTokenClassification,
    }
    return str(auto[head]._model_mapping[type(config)].__name__)  # noqa: SLF001


@cache
def _labels(files: TaskFiles) -> tuple[str, ...]:
    """Return a task's labels. Raises TaskDataError for examples that a stage would refuse."""
    task = TASKS[files.kind]
    labels = labels_of(read_examples(files.train, task))
    check_several(labels, files.train[0])
    for split in ("validation", "test"):
        if getattr(files, split):
            check_labels(labels, read_examples(getattr(files, split), task), split)
    return labels


def _parameters(model: _Model) -> int:
    import inspect

    import torch
    import transformers

    kind = getattr(transformers, model.class_name)
    options = {"add_pooling_layer": False} if "add_pooling_layer" in inspect.signature(kind).parameters else {}
    with torch.device("meta"):
        return int(kind(model.config, **options).num_parameters())
