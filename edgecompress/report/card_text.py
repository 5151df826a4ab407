"""The body of a model card, section by section. Every sentence is about what was measured, or is in the manifest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from edgecompress.export.schemes import SCHEMES, UNQUANTIZED
from edgecompress.report.card import MADE_BY, UNNAMED, in_browser_layout, metric_name, name_of, scores
from edgecompress.report.terminal import describe
from edgecompress.report.words import NOTHING, digits, interval, megabytes
from edgecompress.runtime.running import scales_over_batch

if TYPE_CHECKING:
    from edgecompress.artifact import Artifact
    from edgecompress.records import Measurement, Step
    from edgecompress.report.card import About, Measured

_DOES = {
    "topic": "gives a text one topic",
    "sentiment": "gives a text its sentiment",
    "ner": "finds names in a text",
    "pos": "gives every word its part of speech",
}
_ANSWERS = {"topic": ".label", "sentiment": ".label", "ner": ".spans", "pos": ".words"}
_CLASSES = {"text": "ORTModelForSequenceClassification", "token": "ORTModelForTokenClassification"}
_TOLD = ("size", "layers", "ffn", "hidden", "scheme", "variant", "layout")  # the options worth a word in the history
_INPUTS = "int64 `input_ids` and `attention_mask` (batch × tokens)"
_OUTPUTS = {"text": "`logits` (batch × labels)", "token": "`logits` (batch × tokens × labels)"}


def body(artifact: Artifact, about: About, found: Measured | None) -> Iterator[str]:
    """Yield the lines of the card below its front matter."""
    yield f"# {name_of(artifact, about)}"
    yield ""
    yield from _what(artifact, about)
    for title, lines in (
        ("Use", _use(artifact, about)),
        ("Scores", _scores(about, found)),
        ("Size and latency", _speed(artifact, found)),
        ("How it was made", _history(artifact.history)),
        ("Limits", _limits(artifact, found)),
        ("Licence", _licence(about)),
    ):
        yield from ("", f"## {title}", "", *lines)
    yield from ("", f"{MADE_BY} from the artifact's manifest and the results given; no figure is typed by hand.")


def _what(artifact: Artifact, about: About) -> Iterator[str]:
    task = artifact.task
    yield (
        f"A small encoder that {_DOES.get(task.name, f'does the task {task.name}')}, compressed with edgecompress: one "
        f"ONNX file of {artifact.model_bytes / 1e6:.3g} MB, {artifact.parameters:,} parameters."
    )
    yield ""
    yield f"- Task: {task.name}; labels: {', '.join(f'`{label}`' for label in artifact.labels)}"
    yield f"- Languages: {', '.join(dict.fromkeys(about.languages)) or 'not stated'}"
    yield f"- Base model: {f'`{about.base_model}`' if about.base_model else 'not stated'}"


def _use(artifact: Artifact, about: About) -> Iterator[str]:
    packages = ". huggingface_hub" if about.repo else "."
    yield f"With onnxruntime, tokenizers and numpy, no torch; from a clone of edgecompress, `pip install {packages}`:"
    yield from ("", "```python", "import edgecompress")
    if about.repo:
        load = f'predict = edgecompress.load(snapshot_download("{about.repo}"))'
        yield from ("from huggingface_hub import snapshot_download", "", load)
    else:
        yield f'predict = edgecompress.load("{name_of(artifact, about)}")  # this folder'
    yield from (f'predict("…"){_ANSWERS.get(artifact.task.name, "")}', "```", "")
    yield from _elsewhere(artifact)


def _elsewhere(artifact: Artifact) -> Iterator[str]:
    """Yield how other libraries open it, as far as the layout permits."""
    kind = artifact.task.kind
    if artifact.model_path.suffix == ".ort":
        yield f"`{artifact.model_file}` is in ORT format, for onnxruntime builds of its operators."
    yield f"`{artifact.model_file}` takes {_INPUTS}, as `tokenizer.json` makes them, and gives {_OUTPUTS[kind]}."
    if kind == "token":
        yield "A word's tag is that of its first token; words are cut by `word_pattern` in the manifest."
    if in_browser_layout(artifact):
        yield f'The files lie as transformers.js expects them (`pipeline("{kind}-classification")`);'
        yield "whether it gives the same answers was not checked for this card."
    elif artifact.model_file == "model.onnx" and "config.json" in artifact.checksums:
        yield f"The files lie as optimum's `{_CLASSES[kind]}` expects them;"
        yield "whether it gives the same answers was not checked for this card."


def _scores(about: About, found: Measured | None) -> Iterator[str]:
    rows = scores(found.rows) if found else []
    if not found or not rows:
        yield "Not measured: no accuracy is claimed."
        return
    yield "| | score | 95 % interval | teacher | below the teacher, points |"
    yield "|---|---:|---:|---:|---:|"
    for row in rows:
        teacher = _same(found.teacher, row.task, row.metric)
        name = f"{row.task} {metric_name(row.metric)}"
        cells = [name, f"{row.value:.1f}", interval(row.interval) or NOTHING, f"{teacher.value:.1f}" if teacher else
                 NOTHING, _drop(row, teacher, found)]  # fmt: skip
        yield f"| {' | '.join(cells)} |"
    counts = sorted({row.settings["examples"] for row in rows if "examples" in row.settings})
    of = f", {' and '.join(f'{count:,}' for count in counts)} examples" if counts else ""
    yield ""
    yield f"In %, higher is better. Data: {about.dataset or UNNAMED}{of}."


def _same(rows: Sequence[Measurement], task: str, metric: str) -> Measurement | None:
    return next((row for row in rows if (row.task, row.metric) == (task, metric)), None)


def _drop(row: Measurement, teacher: Measurement | None, found: Measured) -> str:
    """Return the points below the teacher: of the same resampled examples where that was measured."""
    paired = _same(found.rows, row.task, f"{row.metric}_difference")
    if paired:
        low, high = paired.interval or (paired.value, paired.value)
        bounds = interval((_points(-high), _points(-low))) if paired.interval else ""
        return _signed(-paired.value) + (f" ({bounds})" if bounds else "")
    return _signed(teacher.value - row.value) if teacher else NOTHING


def _points(value: float) -> float:
    return round(value, 1) + 0.0  # no minus before a zero


def _signed(points: float) -> str:
    return f"{_points(points):.1f}".replace("-", "−")


def _speed(artifact: Artifact, found: Measured | None) -> Iterator[str]:
    yield f"The model file{'s take' if _parts(artifact) > 1 else ' takes'} {artifact.model_bytes:,} bytes."
    times = [row for row in found.rows if row.metric == "latency_p50" and _is_whole(row)] if found else []
    if not found or not times:
        yield "Latency was not measured." if not found else "Latency was not measured with this file."
        return
    yield from (
        "",
        "| batch × tokens | threads | median ms | 95 % interval | faster than the teacher |",
        "|---|---:|" + "---:|" * 3,
    )
    for row in times:
        ratio = next((r for r in found.rows if r.metric == "speedup" and _where(r) == _where(row)), None)
        batch, length, threads, _, part = _where(row)
        shape = f"{batch} × {'texts of the task, tokenizing included' if part == 'total' else length}"
        cells = [shape, str(threads), digits(row.value), _bounds(row), f"{ratio.value:.1f}×" if ratio else NOTHING]
        yield f"| {' | '.join(cells)} |"
    yield from ("", f"{describe(found.host)}; {found.created[:10]}.", *_memory(found))


def _memory(found: Measured) -> Iterator[str]:
    own = {row.metric: row.value for row in found.rows if row.metric in ("load", "memory_steady")}
    if "load" in own:
        yield f"Opening it takes {digits(own['load'])} ms."
    if "memory_steady" in own:
        yield f"A process that serves it takes {megabytes(own['memory_steady'])} MB."
    for failure in found.failures:
        yield f"Not measured: {failure.where} ({failure.reason})."


def _parts(artifact: Artifact) -> int:
    return sum(name == artifact.model_file or name.startswith(f"{artifact.model_file}.") for name in artifact.checksums)


def _is_whole(row: Measurement) -> bool:
    """Whether a time is one to show: of the model at a shape, or of all the work on a real text."""
    wanted = "total" if row.settings.get("length") == "real" else "model"
    return str(row.settings.get("part", "model")) == wanted


def _where(row: Measurement) -> tuple[object, ...]:
    return tuple(row.settings.get(name, usual) for name, usual in
                 (("batch", 1), ("length", NOTHING), ("threads", 1), ("device", "cpu"), ("part", "model")))  # fmt: skip


def _bounds(row: Measurement) -> str:
    return f"{digits(row.interval[0])} to {digits(row.interval[1])}" if row.interval else NOTHING


def _history(steps: Sequence[Step]) -> Iterator[str]:
    if not steps:
        yield "The artifact holds no history."
        return
    yield from ("| step | parameters | minutes |", "|---|---:|---:|")
    for step in steps:
        told = ", ".join(f"{name} {step.options[name]}" for name in _TOLD if step.options.get(name) not in (None, ""))
        minutes = digits(step.seconds / 60) if step.seconds else NOTHING
        yield f"| {step.stage}{f' ({told})' if told else ''} | {step.parameters:,} | {minutes} |"


def _limits(artifact: Artifact, found: Measured | None) -> Iterator[str]:
    yield f"- A text of more than {artifact.max_length} tokens is read in overlapping windows, see `.windows`."
    lengths = [
        step.options.get("training", {}).get("max_length") for step in artifact.history if step.stage == "finetune"
    ]
    if lengths and lengths[-1] and lengths[-1] < artifact.max_length:
        yield f"- It was fine-tuned on at most {lengths[-1]} tokens a text: longer ones were not trained on."
    yield from _numbers(artifact)
    if not found or not scores(found.rows):
        yield "- How right it is was not measured: do so on text of your own."
    yield "- It knows only the labels above, and learned them from one set of examples: other text may score lower."


def _numbers(artifact: Artifact) -> Iterator[str]:
    """Yield what is to be known of how the weights are stored."""
    scheme = SCHEMES.get(artifact.scheme)
    if artifact.scheme in UNQUANTIZED:
        yield f"- Weights are float32 (`{artifact.scheme}`); nothing is quantized."
        return
    yield f"- Quantized, `{artifact.scheme}`{f': {scheme.does}' if scheme else ''}.{_agreement(artifact.history)}"
    if scales_over_batch(artifact.scheme):
        yield (
            "- Activations are scaled over the whole batch, so that a text's probabilities would move slightly with "
            "the texts beside it: edgecompress runs one text at a time, other hosts should, too."
        )


def _agreement(history: Sequence[Step]) -> str:
    made = [step.details for step in history if step.stage in ("quantize", "tune") and "agreement" in step.details]
    if not made:
        return ""
    return f" On {made[-1].get('texts', 'some')} texts, {made[-1]['agreement']:.1%} of decisions are the fp32 model's."


def _licence(about: About) -> Iterator[str]:
    yield f"`{about.license}`" if about.license else "Licence: not stated. It depends on the teacher's and the data's."
