import dataclasses
import re

import pytest
from huggingface_hub import ModelCard
from sample_results import a_failure, sample_results
from tiny_artifact import write_artifact

from edgecompress import extras
from edgecompress.artifact import seal
from edgecompress.bench import results
from edgecompress.errors import InputError, MissingExtraError
from edgecompress.export.schemes import SCHEMES
from edgecompress.records import Step
from edgecompress.report.card import UNNAMED, About, measured, render

STUDENT = "student int8-tables4"
FULL = About(("sk", "no"), "apache-2.0", "intfloat/multilingual-e5-small", "SIB-200 slk", "me/slovak")
STEPS = (
    Step("trim", {"size": 20000}, 29_171_712, 90.0),
    Step("distill", {"layers": 6, "teacher": "teacher"}, 5_700_000, 1500.0),
    Step("finetune", {"task": {"kind": "topic"}, "training": {"max_length": 8}}, 5_700_000, 300.0),
    Step("quantize", {"scheme": "int8-tables4"}, 5_700_000, 0.0, {"agreement": 0.997, "texts": 200}),
)


def an_artifact(folder, task="topic", **changes):
    plain = write_artifact(folder, task)
    return seal(dataclasses.replace(plain, **{"history": STEPS, "scheme": "int8-tables4", **changes}))


def results_of(artifact, subject=STUDENT, **options):
    """The sample's figures, as those of this very artifact."""
    digest = artifact.checksums[artifact.model_file]
    found = sample_results(**options)

    def named(one):
        return {
            task: dataclasses.replace(model, sha256=digest) if task == artifact.task.name else model
            for task, model in one.models.items()
        }

    subjects = [dataclasses.replace(one, models=named(one)) if one.name == subject else one for one in found.subjects]
    return dataclasses.replace(found, subjects=tuple(subjects))


def lines_of(card, title):
    return re.split(r"^## ", card, flags=re.MULTILINE)[1:][_titles(card).index(title)].splitlines()[2:]


def _titles(card):
    return re.findall(r"^## (.*)$", card, flags=re.MULTILINE)


def test_the_hub_reads_what_was_stated(tmp_path):
    artifact = an_artifact(tmp_path / "a")
    data = ModelCard(render(artifact, FULL, results_of(artifact))).data
    assert (data.language, data.license) == (["sk", "no"], "apache-2.0")
    assert (data.base_model, data.pipeline_tag) == ("intfloat/multilingual-e5-small", "text-classification")
    assert (data.library_name, data.tags) == ("edgecompress", ["onnx", "edgecompress", "topic"])
    assert (data.model_name, data.metrics) == ("slovak", ["f1"])
    (found,) = data.eval_results
    assert (found.task_type, found.dataset_name, found.dataset_split) == ("text-classification", "SIB-200 slk", "test")
    assert (found.metric_type, found.metric_name, found.metric_value) == ("f1", "Macro F1", 0.866)


def test_nothing_is_guessed(tmp_path):
    card = render(an_artifact(tmp_path / "a"), About())
    data = ModelCard(card).data.to_dict()
    assert set(data) == {"library_name", "pipeline_tag", "tags"}
    assert lines_of(card, "Scores")[0] == "Not measured: no accuracy is claimed."
    assert lines_of(card, "Licence")[0].startswith("Licence: not stated.")
    assert "- Languages: not stated" in card
    assert "- Base model: not stated" in card
    assert "Latency was not measured." in card


def test_test_data_without_a_name_are_called_so(tmp_path):
    artifact = an_artifact(tmp_path / "a")
    card = render(artifact, About(), results_of(artifact))
    assert ModelCard(card).data.eval_results[0].dataset_name == UNNAMED
    assert f"Data: {UNNAMED}, 500 examples." in card


@pytest.mark.parametrize(
    ("task", "tag", "metric", "answer"),
    [("ner", "token-classification", "Span F1", ".spans"), ("pos", "token-classification", "Accuracy", ".words"),
     ("sentiment", "text-classification", "Macro F1", ".label")],
)  # fmt: skip
def test_tasks(tmp_path, task, tag, metric, answer):
    artifact = an_artifact(tmp_path / "a", task)
    card = render(artifact, FULL, results_of(artifact))
    data = ModelCard(card).data
    assert data.pipeline_tag == data.eval_results[0].task_type == tag
    assert data.eval_results[0].metric_name == metric
    assert f'predict("…"){answer}' in card
    assert ", ".join(f"`{label}`" for label in artifact.labels) in card
    assert "Latency was not measured with this file." in card  # the sample's times are of the topic model's graph


def test_scores_sizes_and_times_are_the_measured_ones(tmp_path):
    artifact = an_artifact(tmp_path / "a")
    card = render(artifact, FULL, results_of(artifact, failures=[a_failure()]))
    assert "| topic Macro F1 | 86.6 | 84.6 to 88.6 | 92.0 | 5.4 (4.4 to 6.4) |" in card
    speed = lines_of(card, "Size and latency")
    assert speed[0] == f"The model file takes {artifact.model_bytes:,} bytes."
    assert "| 1 × 32 | 1 | 1.10 | 1.08 to 1.13 | 22.7× |" in speed
    assert sum("texts of the task" in line for line in speed) == 1
    assert "AMD EPYC 9B45, 2 cores, avx2 avx512_vnni; onnxruntime 1.32.0; 2026-11-25." in speed
    assert "Not measured: 8×128 (hung: no answer within 120 s, the process was ended)." in speed


def test_a_drop_without_a_paired_interval_is_the_plain_difference(tmp_path):
    artifact = an_artifact(tmp_path / "a")
    found = results_of(artifact)
    rows = tuple(row for row in found.measurements if not row.metric.endswith("_difference"))
    assert "| 92.0 | 5.4 |" in render(artifact, FULL, dataclasses.replace(found, measurements=rows))
    rows = tuple(row for row in rows if row.subject != "teacher fp32")
    assert "| 86.6 | 84.6 to 88.6 | – | – |" in render(artifact, FULL, dataclasses.replace(found, measurements=rows))


def test_a_student_better_than_its_teacher_has_a_minus(tmp_path):
    artifact = an_artifact(tmp_path / "a")
    card = render(artifact, FULL, results_of(artifact, points=6.4))
    assert "| 93.0 | 91.0 to 95.0 | 92.0 | −1.0 (−2.0 to 0.0) |" in card


def test_the_history(tmp_path):
    steps = lines_of(render(an_artifact(tmp_path / "a"), FULL), "How it was made")
    assert steps[2:6] == [
        "| trim (size 20000) | 29,171,712 | 1.50 |",
        "| distill (layers 6) | 5,700,000 | 25.0 |",
        "| finetune | 5,700,000 | 5.00 |",
        "| quantize (scheme int8-tables4) | 5,700,000 | – |",
    ]
    bare = render(an_artifact(tmp_path / "b", history=()), FULL)
    assert lines_of(bare, "How it was made")[0] == "The artifact holds no history."


def test_limits(tmp_path):
    limits = "\n".join(lines_of(render(an_artifact(tmp_path / "a"), FULL), "Limits"))
    assert "more than 16 tokens is read in overlapping windows" in limits
    assert "fine-tuned on at most 8 tokens" in limits
    assert "On 200 texts, 99.7% of decisions are the fp32 model's." in limits
    assert "was not measured: do so" in limits


@pytest.mark.parametrize("scheme", ["fp32", *SCHEMES, "of-tomorrow"])
def test_how_the_weights_are_stored(tmp_path, scheme):
    limits = "\n".join(lines_of(render(an_artifact(tmp_path / "a", scheme=scheme), FULL), "Limits"))
    assert f"`{scheme}`" in limits
    if scheme in SCHEMES and scheme != "optimized":
        assert SCHEMES[scheme].does in limits
    dynamic = scheme in SCHEMES and SCHEMES[scheme].weights == "dynamic"
    assert ("scaled over the whole batch" in limits) is dynamic
    assert ("nothing is quantized" in limits) is (scheme in ("fp32", "optimized"))


def test_other_layouts_claim_no_more_than_where_the_files_lie(tmp_path):
    plain = an_artifact(tmp_path / "a")
    assert "optimum" not in render(plain, FULL)  # no config.json
    (plain.folder / "config.json").write_text("{}")
    card = render(seal(plain), FULL)
    assert (
        "optimum's `ORTModelForSequenceClassification` expects them;\nwhether it gives the same answers was not" in card
    )
    (plain.folder / "onnx").mkdir()
    plain.model_path.rename(plain.folder / "onnx" / "model_quantized.onnx")
    card = render(seal(dataclasses.replace(plain, model_file="onnx/model_quantized.onnx")), FULL)
    assert ModelCard(card).data.library_name == "transformers.js"
    assert 'pipeline("text-classification")' in card
    assert "optimum" not in card


def test_the_card_says_how_to_load_it(tmp_path):
    artifact = an_artifact(tmp_path / "a")
    assert 'edgecompress.load(snapshot_download("me/slovak"))' in render(artifact, FULL)
    assert f'edgecompress.load("{artifact.folder.name}")' in render(artifact, About())
    assert "from a clone of edgecompress, `pip install . huggingface_hub`:" in render(artifact, FULL)
    assert "from a clone of edgecompress, `pip install .`:" in render(artifact, About())


def test_results_of_another_model_are_refused(tmp_path):
    artifact = an_artifact(tmp_path / "a")
    with pytest.raises(InputError, match=r"the results 'sample' hold no model with the digest of .*model\.onnx"):
        measured(sample_results(), artifact)


@pytest.mark.parametrize(
    ("about", "says"),
    [
        (About(languages=("sk", "Slovak")), "language 'Slovak': give an ISO 639-1 or 639-3 code"),
        (About(languages=("SK",)), "language 'SK'"),
        (About(languages=("",)), "language ''"),
        (About(license="MIT"), "licence 'MIT': give the hub's id in lower case"),
        (About(license="apache 2"), "licence 'apache 2'"),
        (About(base_model="a/b/c"), "'a/b/c' is no name on the hub: give owner/name"),
        (About(repo="me--you"), "'me--you' is no name on the hub"),
        (About(dataset="two\nlines"), "in one line"),
    ],
)
def test_what_the_hub_would_refuse(tmp_path, about, says):
    with pytest.raises(InputError, match=re.escape(says)) as error:
        render(an_artifact(tmp_path / "a"), about)
    assert "\n" not in str(error.value)


def test_many_languages_are_fine(tmp_path):
    card = render(an_artifact(tmp_path / "a"), About(languages=("mlt", "multilingual", "mlt")))
    assert ModelCard(card).data.language == ["mlt", "multilingual"]


def test_two_tasks_of_one_model_are_told_apart(tmp_path):
    artifact = an_artifact(tmp_path / "a")
    found = results_of(artifact)
    rows = [row for row in found.measurements if (row.subject, row.task) == (STUDENT, "topic")]
    again = tuple(dataclasses.replace(row, task="topic-law") for row in rows)
    subjects = [
        dataclasses.replace(one, models={**one.models, "topic-law": one.models["topic"]})
        if one.name == STUDENT
        else one
        for one in found.subjects
    ]
    found = dataclasses.replace(found, subjects=tuple(subjects), measurements=(*found.measurements, *again))
    card = render(artifact, FULL, found)
    assert [one.dataset_config for one in ModelCard(card).data.eval_results] == ["topic", "topic-law"]
    assert "| topic-law Macro F1 | 86.6 |" in card


def test_without_huggingface_hub(tmp_path, monkeypatch):
    monkeypatch.setattr(extras, "is_there", lambda module: module != "huggingface_hub")
    with pytest.raises(MissingExtraError, match=r"huggingface_hub: pip install '\.\[compress\]'"):
        render(an_artifact(tmp_path / "a"), FULL)


def test_the_command_writes_to_the_terminal_or_a_file(run, tmp_path):
    artifact = an_artifact(tmp_path / "a")
    results.write(tmp_path / "r.json", results_of(artifact))
    before = sorted(tmp_path.rglob("*"))
    words = ("card", artifact.folder, "--results", tmp_path / "r.json", "--language", "sk", "--license", "mit")
    words += ("--base-model", "a/b", "--dataset", "D")
    code, out, err = run(*words)
    assert (code, err) == (0, "")
    assert out == render(artifact, About(("sk",), "mit", "a/b", "D"), results_of(artifact))
    assert sorted(tmp_path.rglob("*")) == before
    target = tmp_path / "new" / "README.md"
    assert run(*words, "-o", target)[0] == 0
    assert target.read_text(encoding="utf-8") == out
    assert [path.name for path in target.parent.iterdir()] == ["README.md"]


def test_what_is_open_is_told_with_its_option(run, tmp_path):
    code, _, err = run("card", an_artifact(tmp_path / "a").folder)
    assert code == 0
    assert [line.split(" (")[0] for line in err.splitlines()] == [
        f"not stated: {what}" for what in ("licence", "languages", "base model", "scores")
    ]
    assert "--license apache-2.0" in err


def test_a_file_of_somebody_else_stays(run, tmp_path):
    artifact, target = an_artifact(tmp_path / "a"), tmp_path / "README.md"
    target.write_text("# my project\n")
    code, _, err = run("card", artifact.folder, "-o", target)
    assert (code, err.count("\n")) == (2, 1)
    assert "is no card that this command wrote" in err
    assert target.read_text() == "# my project\n"
    target.unlink()
    assert run("card", artifact.folder, "-o", target)[0] == 0
    assert run("card", artifact.folder, "--license", "mit", "-o", target)[0] == 0
    assert ModelCard(target.read_text(encoding="utf-8")).data.license == "mit"


def test_a_damaged_artifact_gets_no_card(run, tmp_path):
    artifact = an_artifact(tmp_path / "a")
    artifact.model_path.write_bytes(b"x")
    code, out, err = run("card", artifact.folder, "-o", tmp_path / "README.md")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "has changed since the export" in err
    assert not (tmp_path / "README.md").exists()
