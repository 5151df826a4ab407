import gzip
import json

import pytest

from edgecompress.errors import TaskDataError
from edgecompress.tasks import TASKS
from edgecompress.tasks.examples import Example, check_labels, labels_of, read_examples

TEXT, TOKEN = {"text": "Dobrý film", "label": "positive"}, {"tokens": ["Ján", "spí"], "tags": ["B-PER", "O"]}


def write(path, rows):
    lines = [row if isinstance(row, bytes) else json.dumps(row, ensure_ascii=False).encode() for row in rows]
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "wb") as handle:
        handle.write(b"\n".join(lines))
    return path


def refused(path, task):
    with pytest.raises(TaskDataError) as caught:
        read_examples([path], TASKS[task])
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
def test_rows_become_examples(tmp_path, name):
    texts = write(tmp_path / name, [TEXT, b"", {**TEXT, "label": "negative", "id": 7}, b" "])
    assert read_examples([texts], TASKS["sentiment"]) == (
        Example(("Dobrý film",), ("positive",)),
        Example(("Dobrý film",), ("negative",)),
    )
    tokens = write(tmp_path / f"t{name}", [TOKEN])
    assert read_examples([tokens, tokens], TASKS["ner"]) == (Example(("Ján", "spí"), ("B-PER", "O")),) * 2


def test_a_byte_order_mark_and_crlf_are_fine(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(TEXT).encode() + b"\r\n")
    assert len(read_examples([path], TASKS["sentiment"])) == 1


@pytest.mark.parametrize(
    ("task", "row", "said"),
    [
        ("topic", b"{", "a.jsonl:2: '{' is not JSON"),
        ("topic", b"\xff{}", "a.jsonl:2: byte b'\\xff' at 0 is not UTF-8"),
        ("topic", [1], "a.jsonl:2: [1] is not a JSON object: write"),
        ("topic", {"text": "a"}, "a.jsonl:2: no key 'label' among 'text'"),
        ("topic", {}, "no key 'text' among none"),
        ("topic", {"text": " ", "label": "x"}, "'text' is ' ', not a text"),
        ("topic", {"text": "a", "label": 3}, "'label' is 3, not a text"),
        ("pos", TEXT, "no key 'tokens' among 'text', 'label'"),
        ("pos", {"tokens": ["a", "b"], "tags": ["X"]}, "2 tokens and 1 tags"),
        ("pos", {"tokens": [], "tags": []}, "'tokens' is [], not a list with at least one text"),
        ("pos", {"tokens": "ab", "tags": ["X", "X"]}, "'tokens' is 'ab', not a list"),
        ("pos", {"tokens": ["a", ""], "tags": ["X", "X"]}, "tokens[1] is ''"),
        ("pos", {"tokens": ["a"], "tags": [None]}, "tags[0] is None"),
        ("ner", {"tokens": ["a"], "tags": ["PER"]}, "tags[0] is 'PER', not O, B-type or I-type"),
        ("ner", {"tokens": ["a"], "tags": ["B-"]}, "tags[0] is 'B-'"),
        ("ner", {"tokens": ["a"], "tags": ["E-PER"]}, "tags[0] is 'E-PER'"),
    ],
)
def test_a_wrong_line_is_named(tmp_path, task, row, said):
    good = TEXT if TASKS[task].kind == "text" else TOKEN
    assert said in refused(write(tmp_path / "a.jsonl", [good, row]), task)


@pytest.mark.parametrize(
    ("tags", "read"),
    [
        ("I-PER", "B-PER"),
        ("I-PER I-PER O I-LOC", "B-PER I-PER O B-LOC"),  # IOB1
        ("B-LOC I-PER I-PER", "B-LOC B-PER I-PER"),
        ("I-PER B-PER I-PER", "B-PER B-PER I-PER"),
        ("B-PER I-PER O", "B-PER I-PER O"),
    ],
)
def test_a_span_that_nothing_begins_is_read_as_the_scorer_reads_it(tmp_path, tags, read):
    from seqeval.metrics.sequence_labeling import get_entities

    given = tags.split()
    path = write(tmp_path / "a.jsonl", [{"tokens": ["a"] * len(given), "tags": given}])
    (found,) = read_examples([path], TASKS["ner"])
    assert " ".join(found.labels) == read
    assert get_entities(list(found.labels)) == get_entities(given)


def test_blanks_around_a_label_are_no_part_of_it(tmp_path):
    text = write(tmp_path / "a.jsonl", [{"text": " a ", "label": " sport "}])
    assert read_examples([text], TASKS["topic"])[0] == Example((" a ",), ("sport",))
    tagged = write(tmp_path / "b.jsonl", [{"tokens": ["a"], "tags": ["NOUN "]}])
    assert read_examples([tagged], TASKS["pos"])[0].labels == ("NOUN",)


def test_bio_is_only_asked_of_tasks_with_spans(tmp_path):
    path = write(tmp_path / "a.jsonl", [{"tokens": ["a"], "tags": ["I-PER"]}])
    assert read_examples([path], TASKS["pos"])[0].labels == ("I-PER",)


def test_a_wrong_file_is_named(tmp_path):
    assert "none.jsonl does not exist" in refused(tmp_path / "none.jsonl", "topic")
    assert "a.csv is not a .jsonl" in refused(write(tmp_path / "a.csv", []), "topic")
    assert "e.jsonl holds no examples" in refused(write(tmp_path / "e.jsonl", [b"", b"  "]), "topic")
    (tmp_path / "d.jsonl").mkdir()
    assert "d.jsonl cannot be read" in refused(tmp_path / "d.jsonl", "topic")


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-12], lambda _: b"plain text", lambda data: data[:12] + b"\xff" * 9]
)
def test_a_damaged_gzip_file_is_named(tmp_path, damage):
    path = write(tmp_path / "a.jsonl.gz", [TEXT] * 50)
    path.write_bytes(damage(path.read_bytes()))
    assert "a.jsonl.gz is not a whole gzip file" in refused(path, "sentiment")


def test_labels_are_sorted_with_outside_first():
    train = [Example(("a", "b", "c"), ("I-PER", "O", "B-LOC")), Example(("a",), ("O",))]
    assert labels_of(train) == ("O", "B-LOC", "I-PER")
    assert labels_of([Example(("a", "b"), ("X", "NOUN"))]) == ("NOUN", "X")


def test_labels_that_training_lacks_are_counted():
    dev = [Example(("a", "b", "c"), ("X", "Z", "Y")), Example(("a",), ("Z",))]
    check_labels(("X", "Y", "Z"), dev, "dev.jsonl")
    with pytest.raises(
        TaskDataError, match=r"dev\.jsonl has labels that training lacks: 'Y' \(1×\), 'Z' \(2×\); known are X:"
    ):
        check_labels(("X",), dev, "dev.jsonl")
