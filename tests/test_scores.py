import sys

import pytest

from edgecompress.errors import MissingExtraError
from edgecompress.tasks import TASKS
from edgecompress.tasks.scores import score


def texts(*labels):
    return [[label] for label in labels]


def test_text_scores_are_in_the_order_of_the_task_with_known_values():
    # a: precision 1/2, recall 1; b: precision 1, recall 1/2; so F1 is 2/3 for both
    scores = score(TASKS["topic"], texts("a", "b", "b"), texts("a", "a", "b"))
    assert list(scores) == ["macro_f1", "accuracy"]
    assert scores == pytest.approx({"macro_f1": 200 / 3, "accuracy": 200 / 3})


def test_macro_f1_is_over_the_labels_of_gold_or_prediction():
    assert score(TASKS["topic"], texts("a", "a"), texts("a", "c"))["macro_f1"] == pytest.approx(100 * (2 / 3 + 0) / 2)


def test_token_accuracy_is_over_words():
    assert score(TASKS["pos"], [["X", "Y"], ["X"]], [["X", "X"], ["X"]])["accuracy"] == pytest.approx(200 / 3)


@pytest.mark.parametrize(
    ("gold", "predicted", "expected"),
    [
        (["B-PER", "I-PER", "O"], ["B-PER", "I-PER", "O"], 100.0),
        (["B-PER", "I-PER", "O"], ["I-PER", "I-PER", "O"], 100.0),  # conlleval: an I- that continues nothing begins
        (["B-PER", "I-PER", "O"], ["B-PER", "O", "O"], 0.0),  # both ends count
        (["B-PER", "O", "B-LOC"], ["B-PER", "O", "O"], 100 * 2 / 3),
        (["O", "O"], ["O", "O"], 0.0),
        (["B-PER", "O"], ["O", "O"], 0.0),
    ],
)
def test_span_f1_is_conllevals(gold, predicted, expected):
    assert score(TASKS["ner"], [gold], [predicted]) == pytest.approx({"span_f1": expected})


@pytest.mark.parametrize(
    ("gold", "predicted", "said"),
    [
        ([["a"]], [], "1 gold examples but 0 predicted"),
        ([["a", "b"]], [["a"]], "example 0: 2 gold labels but 1 predicted"),
        ([], [], "no labels to score"),
        ([[]], [[]], "no labels to score"),
    ],
)
def test_lengths_must_agree(gold, predicted, said):
    with pytest.raises(ValueError, match=said):
        score(TASKS["pos"], gold, predicted)


@pytest.mark.parametrize(("task", "library"), [("topic", "sklearn"), ("ner", "seqeval")])
def test_a_missing_library_is_named_with_what_to_install(monkeypatch, task, library):
    monkeypatch.setitem(sys.modules, f"{library}.metrics", None)
    with pytest.raises(MissingExtraError, match=rf"{library}.*pip install '\.\[compress\]'"):
        score(TASKS[task], [["O"]], [["O"]])
