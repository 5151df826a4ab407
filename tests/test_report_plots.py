import dataclasses
import re
import xml.etree.ElementTree as ET

import pytest
from sample_results import sample_results

from edgecompress.report import bars, plots, svg, training


def shown(plot):
    return ["".join(node.itertext()) for node in ET.fromstring(plot.svg).iter() if node.tag.endswith("text")]  # noqa: S314


def every_plot(results):
    found = [plots.by_size(results), plots.by_latency(results), plots.by_length(results)]
    return [*found, *bars.size_plots(results), *training.curve_plots(results)]


def without(results, drop):
    return dataclasses.replace(results, measurements=tuple(m for m in results.measurements if not drop(m)))


@pytest.fixture(scope="module")
def drawn():
    return every_plot(sample_results())


AXES = (
    {"file size (MB, logarithmic)", "mean score, four tasks (%)"},
    {"latency at 1×32, 1 thread (median ms, logarithmic)", "mean score, four tasks (%)"},
    {"length (tokens, logarithmic)", "latency (ms, logarithmic)"},
    {"size (MB)"},
    {"share of the file (%)"},
    {"optimizer steps", "loss (no unit)"},
    *({"optimizer steps", "loss (no unit)", "score (%)"},) * 4,
)


def test_every_axis_has_a_label_with_its_unit(drawn):
    assert len(drawn) == len(AXES)
    for plot, wanted in zip(drawn, AXES, strict=True):
        assert wanted <= set(shown(plot))


def test_text_is_text_and_colours_are_the_page_s(drawn):
    for plot in drawn:
        assert "font-family: inherit" in plot.svg
        assert not re.search(r"#[0-9a-f]{6}\b|<style|<!--|rgb\(", plot.svg)
        assert "var(--ink)" in plot.svg
        assert plot.svg.startswith("<svg viewBox=")
        assert 'role="img" aria-label="' in plot.svg


def test_text_stays_legible_on_a_phone(drawn):
    for plot in drawn:
        width = float(plot.svg.split('viewBox="0 0 ')[1].split()[0])
        sizes = [float(size) for size in re.findall(r"font-size: ([\d.]+)px", plot.svg)]
        assert min(sizes) * 328 / width >= 9  # 360 px less the margins of the page


def test_no_id_is_there_twice_and_every_reference_is_met(drawn):
    everything = "".join(plot.svg for plot in drawn)
    ids = re.findall(r' id="([^"]+)"', everything)
    assert len(ids) == len(set(ids)) > 10
    assert set(re.findall(r'(?:href="#|url\(#)([^")]+)', everything)) == set(ids)


def test_the_same_results_give_the_same_bytes(drawn):
    assert [plot.svg for plot in every_plot(sample_results())] == [plot.svg for plot in drawn]


def test_a_user_s_matplotlibrc_changes_nothing(drawn):
    import matplotlib as mpl

    with mpl.rc_context({"font.size": 30, "lines.linewidth": 9, "axes.facecolor": "red"}):
        assert plots.by_size(sample_results()).svg == drawn[0].svg


def test_every_subject_is_labelled(drawn):
    for plot in drawn[:2]:
        assert {"teacher fp32", "student fp32", "student int8-tables4", "cut-only fp32"} <= set(shown(plot))


def test_the_frontier_is_what_no_other_subject_beats():
    points = [
        plots.Point(name, "student", 0, x, y)
        for name, x, y in (("a", 1, 50), ("b", 2, 40), ("c", 3, 60), ("d", 3, 55), ("e", 4, 60), ("f", 1, 45))
    ]
    assert [point.name for point in plots.frontier(points)] == ["a", "c"]


def test_who_lacks_a_figure_is_not_drawn_and_named():
    found = without(sample_results(), lambda m: m.subject == "cut-only fp32" and m.task == "ner")
    plot = plots.by_size(found)
    assert plot.caption.endswith("Not drawn, as a figure is missing: cut-only fp32.")
    assert "cut-only fp32" not in shown(plot)


def test_a_crowd_is_numbered_and_the_caption_says_who_is_who():
    results = sample_results()
    subjects = list(results.subjects)
    rows = list(results.measurements)
    for n in range(8):
        name = f"student {n}"
        subjects.append(dataclasses.replace(subjects[1], name=name))
        rows += [dataclasses.replace(m, subject=name) for m in results.measurements if m.subject == "student fp32"]
    plot = plots.by_size(dataclasses.replace(results, subjects=tuple(subjects), measurements=tuple(rows)))
    assert "12:\N{NO-BREAK SPACE}student 7" in plot.caption
    assert "12" in shown(plot)
    assert "student 7" not in shown(plot)


def with_teacher_called(name):
    results = sample_results()
    subjects = (dataclasses.replace(results.subjects[0], name=name), *results.subjects[1:])
    rows = tuple(
        dataclasses.replace(m, subject=name) if m.subject == "teacher fp32" else m for m in results.measurements
    )
    return dataclasses.replace(results, subjects=subjects, measurements=rows)


@pytest.mark.parametrize("name", ["a$x^$b", "_hidden"])
def test_a_name_is_no_markup_and_no_legend_leaves_it_out(drawn, name):
    def shows(plot, name):
        return name in {text.strip("\N{ZERO WIDTH SPACE}").partition(",")[0] for text in shown(plot)}

    found = [shows(plot, name) for plot in every_plot(with_teacher_called(name))]
    assert found == [shows(plot, "teacher fp32") for plot in drawn]


def test_names_are_escaped():
    name = 'a <b> & "c"'
    plot = plots.by_size(with_teacher_called(name))
    assert name in shown(plot)
    assert 'aria-label="a &lt;b&gt; &amp; &quot;c&quot; 83.0 % at 118 MB' in plot.svg


@pytest.mark.parametrize(
    ("drop", "there"),
    [
        (lambda m: m.metric == "model_bytes", [False, True, True]),
        (lambda m: m.metric == "latency_p50", [True, False, False]),
        (lambda m: m.settings.get("length") == 128, [True, True, False]),
        (lambda m: m.metric in ("macro_f1", "span_f1", "accuracy"), [False, False, True]),
        (lambda m: m.metric == "latency_p99", [True, True, True]),
    ],
)
def test_a_plot_without_figures_is_left_out(drop, there):
    found = without(sample_results(), drop)
    assert [p is not None for p in (plots.by_size(found), plots.by_latency(found), plots.by_length(found))] == there


def test_no_parts_and_no_curves_are_no_plots():
    results = sample_results()
    assert bars.size_plots(without(results, lambda m: m.metric == "part_bytes")) == []
    bare = tuple(dataclasses.replace(s, models={}) for s in results.subjects)
    assert training.curve_plots(dataclasses.replace(results, subjects=bare)) == []


def test_one_lonely_subject_can_be_drawn():
    results = sample_results()
    alone = dataclasses.replace(results, subjects=results.subjects[:1])
    alone = without(alone, lambda m: m.subject != "teacher fp32")
    assert "teacher fp32" in shown(plots.by_size(alone))


def test_an_empty_key_salt_is_not_shared():
    one, other = (svg.draw(key, "x", 2.0, lambda figure: figure.subplots().plot([1, 2], "o")) for key in ("a", "b"))
    assert set(re.findall(r' id="([^"]+)"', one)).isdisjoint(re.findall(r' id="([^"]+)"', other))
