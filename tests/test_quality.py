import pytest
from tiny_artifact import write_artifact

from edgecompress.bench.quality import evaluate, measure
from edgecompress.bench.size import sizes
from edgecompress.errors import TaskDataError
from edgecompress.progress import listening
from edgecompress.tasks.examples import Example

TEXTS = [
    Example((text,), (label,)) for text, label in (("good", "positive"), ("bad", "negative"), ("film", "positive"))
]
SENTENCES = [
    Example(("Ján", "Novák", "v", "Košice"), ("B-PER", "I-PER", "O", "B-LOC")),
    Example(("Kofola", "\u0007"), ("O", "O")),
]


def test_a_text_artifact_is_scored_through_its_predictor(tmp_path):
    # "film" has even odds, so it gets the first label, negative
    assert evaluate(write_artifact(tmp_path), TEXTS) == pytest.approx({"macro_f1": 200 / 3, "accuracy": 200 / 3})


def test_a_token_artifact_is_scored_by_spans(tmp_path):
    # found: PER, LOC and a wrong LOC: precision 2/3, recall 1
    assert evaluate(write_artifact(tmp_path, "ner"), SENTENCES, threads=1) == pytest.approx({"span_f1": 80.0})


def test_measurements_name_subject_task_and_settings(tmp_path):
    artifact = write_artifact(tmp_path, "ner")
    measured = measure({"a": artifact, "b": artifact}, SENTENCES, threads=1)
    assert [(m.subject, m.task, m.metric, round(m.value, 6), m.unit) for m in measured] == [
        ("a", "ner", "span_f1", 80.0, "%"),
        ("b", "ner", "span_f1", 80.0, "%"),
    ]
    assert measured[0].settings == {"examples": 2, "unseen_words": 1}


def test_progress_ends_at_the_last_example(tmp_path):
    events = []
    with listening(events.append):
        evaluate(write_artifact(tmp_path), TEXTS * 300)
    assert [(event.done, event.total) for event in events] == [(0, 900), (512, 900), (900, 900)]


@pytest.mark.parametrize(
    ("examples", "said"),
    [
        ([], "no examples"),
        ([Example(("good",), ("neutral",))], "labels that training lacks: 'neutral'"),
        ([Example(("good", "film"), ("positive", "negative"))], "example 0 has 2 words, not one text"),
    ],
)
def test_examples_of_another_task_are_refused(tmp_path, examples, said):
    with pytest.raises(TaskDataError, match=said):
        evaluate(write_artifact(tmp_path), examples)


def test_sizes_count_parameters_and_bytes(tmp_path):
    artifact = write_artifact(tmp_path)
    (tmp_path / "model.onnx.data").write_bytes(b"x" * 1000)
    figures = {m.metric: m for m in sizes({"student": artifact})}
    model = artifact.model_path.stat().st_size + 1000
    assert (figures["parameters"].value, figures["parameters"].unit) == (19 * 2, "parameters")
    assert (figures["model_bytes"].value, figures["model_bytes"].unit) == (model, "bytes")
    assert figures["folder_bytes"].value == sum(path.stat().st_size for path in tmp_path.iterdir())
    assert {m.task for m in figures.values()} == {"sentiment"}
