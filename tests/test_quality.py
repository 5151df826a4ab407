import pytest
from tiny_artifact import write_artifact

from edgecompress.bench.quality import predict
from edgecompress.errors import TaskDataError
from edgecompress.runtime.predictor import from_artifact
from edgecompress.tasks.examples import Example

TEXTS = [
    Example((text,), (label,)) for text, label in (("good", "positive"), ("bad", "negative"), ("film", "positive"))
]
SENTENCES = [
    Example(("Ján", "Novák", "v", "Košice"), ("B-PER", "I-PER", "O", "B-LOC")),
    Example(("Kofola", "\u0007"), ("O", "O")),
]


def test_a_text_artifact_is_asked_through_its_predictor(tmp_path):
    # "film" has even odds, so it gets the first label, negative
    assert predict(from_artifact(write_artifact(tmp_path)), TEXTS) == ([("positive",), ("negative",), ("negative",)], 0)


def test_a_token_artifact_tags_given_words_and_counts_those_it_does_not_see(tmp_path):
    said, unseen = predict(from_artifact(write_artifact(tmp_path, "ner")), SENTENCES)
    assert said == [("B-PER", "I-PER", "O", "B-LOC"), ("I-LOC", "O")]
    assert unseen == 1


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
        predict(from_artifact(write_artifact(tmp_path)), examples)
