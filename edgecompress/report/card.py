"""The model card of an artifact as the Hugging Face hub reads it: front matter from what is known, and a body."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgecompress.bench.results import Failure, Results, kind_of
from edgecompress.errors import InputError
from edgecompress.extras import require
from edgecompress.records import Host, Measurement
from edgecompress.tasks import TASKS

if TYPE_CHECKING:
    from huggingface_hub import EvalResult, ModelCardData

    from edgecompress.artifact import Artifact

MADE_BY = "Written by `edgecompress card`"  # in every card, so that a file of somebody else is not written over
UNNAMED = "test split of the maker (not named)"
PIPELINES: Mapping[str, str] = {"text": "text-classification", "token": "token-classification"}
# What the hub calls a metric, and what its page shows. The type's own scale is 0-1.
_METRICS = {"macro_f1": ("f1", "Macro F1"), "span_f1": ("f1", "Span F1"), "accuracy": ("accuracy", "Accuracy")}
_LANGUAGE = re.compile(r"[a-z]{2,3}")
_LICENSE = re.compile(r"[a-z0-9][a-z0-9.+-]*")


@dataclass(frozen=True)
class About:
    """What only the user knows: ISO 639 codes, the licence's id on the hub, the base model's id, the test data's name.

    Empty means not stated: nothing is guessed. ``repo`` is where the card will stand, empty when that is not known.
    """

    languages: tuple[str, ...] = ()
    license: str = ""
    base_model: str = ""
    dataset: str = ""
    repo: str = ""


@dataclass(frozen=True)
class Measured:
    """What results hold about one artifact: its own figures, its teacher's of the same tasks, and what failed."""

    subject: str
    rows: tuple[Measurement, ...]
    teacher: tuple[Measurement, ...]
    failures: tuple[Failure, ...]
    host: Host
    created: str


def render(artifact: Artifact, about: About, results: Results | None = None) -> str:
    """Return the card, front matter and body, as Markdown.

    Raises InputError for a language, licence or id that the hub does not take and for results that do not hold this
    artifact, MissingExtraError without huggingface_hub.
    """
    require("huggingface_hub", extra="compress")
    from huggingface_hub import ModelCard

    from edgecompress.report.card_text import body

    check(about)
    found = measured(results, artifact) if results else None
    text = "\n".join(body(artifact, about, found))
    return str(ModelCard(f"---\n{front_matter(artifact, about, found)}\n---\n\n{text}\n"))


def front_matter(artifact: Artifact, about: About, found: Measured | None) -> str:
    """Return the YAML between the two lines of dashes."""
    return _data(artifact, about, found).to_yaml()


def check(about: About) -> None:
    """Raise InputError for the first thing in ``about`` that the hub would refuse or misread."""
    for language in about.languages:
        if language != "multilingual" and not _LANGUAGE.fullmatch(language):
            raise InputError(
                f"language {language!r}: give an ISO 639-1 or 639-3 code in lower case, such as sk or slk, "
                f"one --language each"
            )
    if about.license and not _LICENSE.fullmatch(about.license):
        raise InputError(
            f"licence {about.license!r}: give the hub's id in lower case, such as apache-2.0, mit or cc-by-sa-4.0 "
            f"(other, where none fits)"
        )
    if not about.dataset.isprintable():
        raise InputError(f"data set {about.dataset!r}: give its name in one line")
    for repo in filter(None, (about.base_model, about.repo)):
        check_repo(repo)


def check_repo(repo: str) -> None:
    """Raise InputError unless ``repo`` is a name on the hub: "owner/name", or "name"."""
    require("huggingface_hub", extra="compress")
    if not repo.isascii() or not _is_repo(repo):  # letters of other scripts pass in huggingface_hub 0.x
        raise InputError(
            f"{repo!r} is no name on the hub: give owner/name (letters, digits, '-', '_', '.'; at most 96 characters; "
            f"no '--' or '..', none of '-' and '.' at an end, no '.git')"
        )


def _is_repo(repo: str) -> bool:
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    try:
        validate_repo_id(repo)
    except HFValidationError:
        return False
    return True


def measured(results: Results, artifact: Artifact) -> Measured:
    """Return the figures of the subject that has the artifact's model file, by digest. Raises InputError without."""
    digest = artifact.checksums[artifact.model_file]
    for subject in results.subjects:
        tasks = [task for task, model in subject.models.items() if model.sha256 == digest]
        if tasks:
            break
    else:
        raise InputError(
            f"the results {results.name!r} hold no model with the digest of {artifact.folder / artifact.model_file} "
            f"({digest[:12]}…): measure this artifact with `edgecompress bench`"
        )
    teachers = {one.name for one in results.subjects if one.role == "teacher"} - {subject.name}
    rows = [row for row in results.measurements if row.task in tasks]
    return Measured(
        subject.name,
        tuple(row for row in rows if row.subject == subject.name),
        tuple(row for row in rows if row.subject in teachers),
        tuple(one for one in results.failures if one.subject == subject.name and one.task in tasks),
        results.host,
        results.created,
    )


def scores(rows: Sequence[Measurement]) -> list[Measurement]:
    """Return the rows that are scores of their task, the headline metric of each task first."""
    return [row for row in rows if row.metric in _metrics(row)]


def metric_name(metric: str) -> str:
    """Return a score's name as the card shows it."""
    return _METRICS[metric][1]


def in_browser_layout(artifact: Artifact) -> bool:
    """Whether the files lie where transformers.js looks for them."""
    return artifact.model_file.startswith("onnx/") and "config.json" in artifact.checksums


def _metrics(row: Measurement) -> tuple[str, ...]:
    kind = kind_of(row)
    return TASKS[kind].metrics if kind in TASKS else ()


def _data(artifact: Artifact, about: About, found: Measured | None) -> ModelCardData:
    from huggingface_hub import ModelCardData

    # A name of its own library keeps the hub from taking a folder with config.json for one that transformers loads.
    library = "transformers.js" if in_browser_layout(artifact) else "edgecompress"
    more: dict[str, Any] = {}
    if found and (results := _eval_results(artifact, about, found)):
        kinds = dict.fromkeys(result.metric_type for result in results)
        more = {"eval_results": results, "metrics": list(kinds), "model_name": name_of(artifact, about)}
    return ModelCardData(
        language=list(dict.fromkeys(about.languages)) or None,
        license=about.license or None,
        base_model=about.base_model or None,
        pipeline_tag=PIPELINES[artifact.task.kind],
        library_name=library,
        tags=["onnx", "edgecompress", artifact.task.name],
        **more,
    )


def name_of(artifact: Artifact, about: About) -> str:
    """Return the model's name: the repository's, else the folder's."""
    return about.repo.rpartition("/")[2] or artifact.folder.resolve().name


def _eval_results(artifact: Artifact, about: About, found: Measured) -> list[EvalResult]:
    from huggingface_hub import EvalResult

    rows = scores(found.rows)
    several = len({row.task for row in rows}) > 1
    return [
        EvalResult(
            task_type=PIPELINES[artifact.task.kind],
            task_name=artifact.task.name,
            dataset_type="custom",
            dataset_name=about.dataset or UNNAMED,
            dataset_config=row.task if several else None,
            dataset_split="test",
            metric_type=_METRICS[row.metric][0],
            metric_name=_METRICS[row.metric][1],
            metric_value=round(row.value / 100, 4),
        )
        for row in rows
    ]
