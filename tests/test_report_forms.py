"""The command, Markdown and CSV."""

import csv
import io
import json
import subprocess
import sys

import pytest
from sample_results import a_failure, sample_results

from edgecompress.bench import results
from edgecompress.bench.results import Failure
from edgecompress.report.markdown import markdown
from edgecompress.report.tables_csv import COLUMNS, table


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "bench.json"
    results.write(path, sample_results(failures=[a_failure()]))
    return path


@pytest.mark.parametrize(
    ("name", "begins"), [("r.html", "<!doctype html>"), ("R.MD", "## sample"), ("r.csv", "subject,role")]
)
def test_the_suffix_says_in_which_form(run, file, tmp_path, name, begins):
    target = tmp_path / "new" / name
    code, out, err = run("report", file, "-o", target)
    assert (code, out.strip(), err) == (0, str(target), "")
    assert target.read_text(encoding="utf-8").startswith(begins)
    assert [path.name for path in target.parent.iterdir()] == [name]


def test_a_report_that_is_there_is_replaced(run, file, tmp_path):
    target = tmp_path / "r.md"
    target.write_text("what stood here before")
    assert run("report", file, "-o", target)[0] == 0
    assert target.read_text().startswith("## sample")
    assert "what stood here before" not in target.read_text()


@pytest.mark.parametrize("name", ["report", "report.pdf", "report.html.gz"])
def test_another_suffix_is_one_clear_error(run, file, tmp_path, name):
    code, out, err = run("report", file, "-o", tmp_path / name)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert "give a name that ends in .html, .md, .csv" in err
    assert not (tmp_path / name).exists()


def test_a_folder_is_not_overwritten(run, file, tmp_path):
    (tmp_path / "x.html").mkdir()
    code, _, err = run("report", file, "-o", tmp_path / "x.html")
    assert code == 2
    assert "is a folder" in err


@pytest.mark.parametrize("text", ["{}", "nothing", None])
def test_bad_results_write_nothing(run, tmp_path, text):
    source = tmp_path / "bad.json"
    if text is not None:
        source.write_text(text)
    code, _, err = run("report", source, "-o", tmp_path / "r.csv")
    assert code == 2
    assert "bad.json" in err
    assert err.count("\n") == 1
    assert not (tmp_path / "r.csv").exists()


def test_several_files_are_one_report(run, file, tmp_path):
    other = json.loads(file.read_text())
    for row in (*other["subjects"], *other["measurements"], *other["failures"]):
        key = "name" if "name" in row else "subject"
        row[key] = f"second {row[key]}"
    (teacher,) = [one["name"] for one in other["subjects"] if one["role"] == "teacher"]  # a report has one
    for rows, key in (("subjects", "name"), ("measurements", "subject"), ("failures", "subject")):
        other[rows] = [row for row in other[rows] if row[key] != teacher]
    (tmp_path / "b.json").write_text(json.dumps(other))
    assert run("report", file, tmp_path / "b.json", "-o", tmp_path / "r.csv")[0] == 0
    rows = list(csv.DictReader(io.StringIO((tmp_path / "r.csv").read_text())))
    assert {row["subject"] for row in rows} >= {"teacher fp32", "second student fp32"}
    assert run("report", file, file, "-o", tmp_path / "twice.csv")[0] == 2


def test_markdown_and_csv_need_none_of_the_large_libraries():
    script = (
        "import sys\n"
        "for name in ('torch', 'matplotlib', 'jinja2', 'onnx', 'onnx_ir', 'transformers'): sys.modules[name] = None\n"
        "import edgecompress.commands.report, edgecompress.report.markdown, edgecompress.report.tables_csv\n"
        "import edgecompress.report.html, edgecompress.report.plots, edgecompress.report.bars\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def rows_of(text):
    return [line for line in text.splitlines() if line.startswith("|")]


def test_markdown_tables_are_whole():
    text = markdown(sample_results(failures=[a_failure()]))
    widths = {}
    for line in rows_of(text):
        widths.setdefault(line.replace("\\|", "").count("|"), []).append(line)
    assert {width: len(lines) for width, lines in widths.items()} == {9: 6, 6: 6}  # heads, rules and four rows each
    assert "| student int8-tables4 | 86.6 \\[84.6 to 88.6\\] |" in text
    assert "| 6.5 | 4.7 | 5.7 |" in text
    assert "4.40 (×22.7) \\[22.0 to 23.6\\] | failed |" in text
    assert "The student int8-tables4 keeps 93.5 %" in text
    assert "- student int8-tables4, topic, 8×128: hung" in text
    assert "Measured on AMD EPYC 9B45, 2 cores" in text
    assert text.endswith("\n")
    assert not text.endswith("\n\n")


def test_markdown_shows_marks_as_they_are():
    failure = Failure("teacher fp32", "topic", "load", "a | b <i>c</i>\n*d* `e` [f](g)")
    text = markdown(sample_results(failures=[failure], name="x_y|z"))
    assert "## x\\_y\\|z" in text
    assert "a \\| b &lt;i>c&lt;/i> \\*d\\* \\`e\\` \\[f\\](g)" in text


def test_csv_has_a_row_for_every_measurement_and_failure():
    found = sample_results(failures=[a_failure()])
    rows = list(csv.DictReader(io.StringIO(table(found), newline="")))
    assert tuple(rows[0]) == COLUMNS
    assert len(rows) == len(found.measurements) + 1
    for row, source in zip(rows, found.measurements, strict=False):
        assert (row["subject"], row["task"], row["metric"]) == (source.subject, source.task, source.metric)
        assert float(row["value"]) == source.value
        assert (row["low"], row["high"]) == (tuple(map(str, source.interval)) if source.interval else ("", ""))
        assert row["length"] == str(source.settings.get("length", ""))
    assert {row["part"] for row in rows} >= {"embeddings", "model", "tokenize", ""}
    last = rows[-1]
    assert (last["metric"], last["value"], last["where"]) == ("failed", "", "8×128")
    assert last["reason"] == "hung: no answer within 120 s, the process was ended"


def test_csv_keeps_commas_quotes_and_line_breaks(run, tmp_path):
    reason = 'a, "b"\nc\r\nd'
    results.write(tmp_path / "r.json", sample_results(failures=[Failure("teacher fp32", "", "load", reason)]))
    assert run("report", tmp_path / "r.json", "-o", tmp_path / "r.csv")[0] == 0
    with (tmp_path / "r.csv").open(encoding="utf-8", newline="") as handle:
        text = handle.read()
    assert list(csv.DictReader(io.StringIO(text, newline="")))[-1]["reason"] == reason
    assert text.replace(reason.replace('"', '""'), "").count("\r") == 0
