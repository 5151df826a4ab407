import pytest
from tiny_artifact import table, write_artifact, write_graph

from edgecompress.bench import latency
from edgecompress.bench.latency import latencies
from edgecompress.errors import ArtifactError
from edgecompress.progress import listening


class Recorder:
    """Stands in for an onnxruntime session: notes whose turn it was."""

    def __init__(self, name, calls):
        self.name, self.calls = name, calls

    def run(self, _outputs, _feed):
        self.calls.append(self.name)


def test_every_subject_and_shape_has_a_median_and_a_tail(tmp_path):
    artifact = write_artifact(tmp_path / "a", "ner", max_length=8)
    subjects = {"teacher": artifact.model_path, "student": artifact}
    measured = latencies(subjects, ((1, 4), (2, 8)), seconds=0, rounds=2, iterations=3)
    assert [(m.subject, m.metric, m.settings["batch"], m.settings["length"]) for m in measured] == [
        (subject, metric, *shape)
        for shape in ((1, 4), (2, 8))
        for subject in ("teacher", "student")
        for metric in ("latency_p50", "latency_p90")
    ]
    assert {(m.unit, m.task, m.settings["threads"], m.settings["iterations"]) for m in measured} == {("ms", "", 1, 4)}
    assert all(m.value >= 0 for m in measured)


def test_shapes_beyond_the_longest_input_are_left_out_and_reported(tmp_path):
    artifact = write_artifact(tmp_path / "a", max_length=8)
    events = []
    with listening(events.append):
        measured = latencies({"student": artifact}, ((1, 9), (1, 8)), seconds=0, rounds=1, iterations=1)
    assert {m.settings["length"] for m in measured} == {8}
    assert "student: 1×9 left out, its longest input is 8 tokens" in [event.note for event in events]
    assert [(event.done, event.total) for event in events][-1] == (2, 2)


def test_subjects_take_turns():
    calls = []
    runs = {name: (Recorder(name, calls), {}) for name in ("a", "b")}
    times = latency._interleaved(runs, latency.Budget(seconds=0, rounds=2, iterations=4))
    assert "".join(calls) == "aaabbb" + "aabb" * 2
    assert {name: len(values) for name, values in times.items()} == {"a": 4, "b": 4}


def test_an_onnx_file_without_a_tokenizer_runs_on_low_ids(tmp_path):
    write_graph(tmp_path / "model.onnx", table("ner").repeat(2, axis=0), "token")
    assert len(latencies({"file": tmp_path / "model.onnx"}, ((1, 64),), seconds=0, rounds=1, iterations=1)) == 2


def test_no_subjects_have_no_latencies():
    assert latencies({}, seconds=0) == []


def test_a_file_that_is_no_encoder_is_refused(tmp_path):
    (tmp_path / "bad.onnx").write_bytes(b"nothing")
    with pytest.raises(ArtifactError, match=r"bad\.onnx cannot be opened"):
        latencies({"bad": tmp_path / "bad.onnx"})
    write_graph(tmp_path / "model.onnx", table("ner"), "token")
    rename_input(tmp_path / "model.onnx")
    with pytest.raises(ArtifactError, match="takes pixels: give an encoder's"):
        latencies({"image": tmp_path / "model.onnx"})


def rename_input(path):
    import onnx

    model = onnx.load(path)
    model.graph.input[0].name = model.graph.node[0].input[1] = "pixels"
    onnx.save(model, path)
