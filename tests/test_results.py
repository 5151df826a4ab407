import dataclasses
import json

import pytest
from sample_results import HOST, a_failure, sample_results

from edgecompress.bench import results
from edgecompress.errors import InputError


def test_what_is_written_is_read_back(tmp_path):
    found = sample_results(failures=[a_failure()])
    results.write(tmp_path / "r.json", found)
    assert results.read(tmp_path / "r.json") == found


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda d: d.pop("schema"), "older edgecompress"),
        (lambda d: d.update(schema=9), "schema 9 is not 2"),
        (lambda d: d.pop("host"), "damaged"),
        (lambda d: d["measurements"][0].update(value=float("nan")), "damaged"),
        (lambda d: d["measurements"][0].update(value=10**400), "damaged"),
        (lambda d: d["measurements"][0].update(subject="who"), "'who', which is no subject"),
        (lambda d: d["subjects"][0].update(role="boss"), "role 'boss'"),
    ],
)
def test_a_file_that_is_not_whole_is_named_in_one_line(tmp_path, change, says):
    path = tmp_path / "r.json"
    results.write(path, sample_results())
    found = json.loads(path.read_text())
    change(found)
    path.write_text(json.dumps(found))
    with pytest.raises(InputError, match=says) as error:
        results.read(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["{", "[]", "[" * 200_000, None])
def test_a_file_that_is_no_results_is_refused(tmp_path, text):
    if text is not None:
        (tmp_path / "r.json").write_text(text)
    with pytest.raises(InputError, match=r"r\.json: it"):
        results.read(tmp_path / "r.json")


def test_two_machines_or_one_name_twice_are_not_mixed(tmp_path):
    one, other, same = tmp_path / "a.json", tmp_path / "b.json", tmp_path / "c.json"
    results.write(one, sample_results())
    results.write(same, sample_results())
    results.write(other, sample_results(host=dataclasses.replace(HOST, cpu="a slower one")))
    with pytest.raises(InputError, match=r"two machines \(CPU AMD EPYC 9B45 and a slower one\)"):
        results.read_all([one, other])
    with pytest.raises(InputError, match="both hold 'cut-only fp32'"):
        results.read_all([one, same])
    assert results.read_all([one]) == results.read(one)


def test_figures_relative_to_two_teachers_are_not_mixed(tmp_path):
    def renamed(new, roles):
        names = {subject.name: f"{subject.name}{new}" for subject in sample_results().subjects}
        found = sample_results()
        return dataclasses.replace(
            found,
            settings={**found.settings, "left_out": [f"{new}1×9"]},
            subjects=tuple(dataclasses.replace(s, name=names[s.name]) for s in found.subjects if s.role in roles),
            measurements=tuple(
                dataclasses.replace(row, subject=names[row.subject])
                for row in found.measurements
                if next(s.role for s in found.subjects if s.name == row.subject) in roles
            ),
        )

    paths = [tmp_path / f"{name}.json" for name in "abc"]
    for path, roles in zip(paths, (("teacher", "student"), ("teacher", "student"), ("student",)), strict=True):
        results.write(path, renamed(path.stem, roles))
    with pytest.raises(InputError, match=r"have a teacher each \(teacher fp32a, teacher fp32b\): report them apart"):
        results.read_all(paths[:2])
    both = results.read_all([paths[0], paths[2]])
    assert both.settings["left_out"] == ["a1×9", "c1×9"]
    assert [subject.role for subject in both.subjects] == ["teacher", *["student"] * 4]


def test_scores_on_other_examples_are_not_mixed(tmp_path):
    def of(name, subject, digest, **more):
        found = sample_results()
        tests = {"topic": {"examples": 99, "sha256": digest}, **more}
        kept = [m for m in found.measurements if m.subject == subject]
        path = tmp_path / f"{name}.json"
        results.write(
            path,
            dataclasses.replace(
                found,
                settings={**found.settings, "tests": tests},
                subjects=tuple(s for s in found.subjects if s.name == subject),
                measurements=tuple(kept),
            ),
        )
        return path

    pos = {"pos": {"examples": 5, "sha256": "c"}}
    teacher, student = of("a", "teacher fp32", "x"), of("b", "student fp32", "y")
    with pytest.raises(InputError, match=r"a\.json and .*b\.json scored topic on other examples: report them apart"):
        results.read_all([teacher, student])
    assert set(results.read_all([teacher, of("c", "student fp32", "x", **pos)]).settings["tests"]) == {"topic", "pos"}
