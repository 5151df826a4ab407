import dataclasses
import json
import subprocess
import sys
import textwrap

import pytest
from sample_results import HOST, sample_results
from test_compare import STUDENT, changed, times

from edgecompress.bench import results

OTHER = dataclasses.replace(HOST, cpu="a slower one")


@pytest.fixture
def written(tmp_path):
    def write(name, **options):
        results.write(tmp_path / name, sample_results(**options))
        return tmp_path / name

    return write


def test_the_command_and_its_exit_codes(run, written):
    old, slow, noise = written("old.json"), written("slow.json", slower=1.3), written("noise.json", slower=1.01)
    assert run("compare", old, slow)[0] == 0
    assert run("compare", old, noise, "--max-regression", 5)[0] == 0
    code, out, err = run("compare", old, slow, "--max-regression", 5)
    assert (code, err.count("\n")) == (1, 1)
    assert err.startswith("edgecompress: worse by more than 5 %: student fp32 topic p50 1×32 +30.0 % (3.1 → 4.03), ")
    assert err.rstrip().endswith("and 12 more")
    assert "21 worse" in out
    assert run("compare", old, slow, "--max-regression", 5) == (code, out, err)


def test_two_machines_want_force(run, written):
    old, other = written("old.json"), written("other.json", host=OTHER, slower=2.0)
    code, out, err = run("compare", old, other)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "two machines (CPU AMD EPYC 9B45 and a slower one): measure on one, or give --force" in err
    code, out, _ = run("compare", old, other, "--force")
    assert code == 0
    assert out.startswith(f"{old} → {other} (TWO MACHINES)\n")
    assert "two machines, times do not compare: CPU AMD EPYC 9B45 and a slower one" in out


@pytest.mark.parametrize("percent", ["-1", "nan", "inf", "x"])
def test_a_percentage_is_a_number_from_0(run, written, percent):
    code, out, err = run("compare", written("old.json"), written("new.json"), "--max-regression", percent)
    assert (code, out) == (2, "")
    assert "--max-regression" in err


def test_an_older_file_is_refused_and_nothing_written(run, written, tmp_path):
    old, new = written("old.json"), written("new.json")
    found = json.loads(old.read_text())
    found.pop("schema")
    old.write_text(json.dumps(found))
    code, out, err = run("compare", old, new, "--json", tmp_path / "rows.json")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "older edgecompress" in err
    assert not (tmp_path / "rows.json").exists()


def test_rows_as_json(run, written, tmp_path):
    old, new, target = written("old.json"), written("new.json", slower=1.3), tmp_path / "rows.json"
    assert run("compare", old, new, "--json", target, "--max-regression", 10)[0] == 1
    found = json.loads(target.read_text(), parse_constant=pytest.fail)
    first = found["rows"][0]
    assert (first["subject"], first["metric"], first["old"], first["new"]) == ("student fp32", "latency_p50", 3.1, 4.03)
    assert (first["verdict"], first["regression"], found["max_regression"]) == ("worse", True, 10.0)
    assert len(found["rows"]) == 152
    assert str(tmp_path) not in target.read_text()
    zero = changed(sample_results(), times(0.0), metric="load")
    results.write(old, zero)
    assert run("compare", old, new, "--json", target)[0] == 0
    rows = json.loads(target.read_text(), parse_constant=pytest.fail)["rows"]
    assert [row["difference"] for row in rows if row["metric"] == "load" and row["subject"] == STUDENT] == [None]


def test_it_imports_without_torch_and_the_report_extra():
    script = """
        import sys
        for name in ("torch", "transformers", "matplotlib", "jinja2", "huggingface_hub"):
            sys.modules[name] = None
        import edgecompress.bench.compare, edgecompress.report.compare, edgecompress.commands.compare
        import edgecompress.report.card, edgecompress.report.card_text, edgecompress.commands.publish, edgecompress.hub
    """
    words = [sys.executable, "-W", "error", "-c", textwrap.dedent(script)]
    done = subprocess.run(words, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
