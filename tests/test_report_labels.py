from itertools import combinations

import pytest

from edgecompress.report.labels import overlap, place

FRAME = (0.0, 0.0, 300.0, 200.0)
POINTS = {
    "apart": [(50.0, 50.0), (200.0, 150.0)],
    "one place": [(150.0, 100.0)] * 4,
    "a row": [(40.0 + 12 * n, 100.0) for n in range(8)],
    "corners": [(0.0, 0.0), (300.0, 0.0), (0.0, 200.0), (300.0, 200.0)],
}


@pytest.mark.parametrize("points", POINTS.values(), ids=POINTS)
def test_labels_cover_neither_one_another_nor_a_point_and_stay_inside(points):
    boxes = [label.box for label in place(points, [(60.0, 10.0)] * len(points), FRAME)]
    assert not any(overlap(one, other) for one, other in combinations(boxes, 2))
    assert not any(left < x < right and low < y < high for x, y in points for left, low, right, high in boxes)
    assert all(box[0] >= 0 and box[1] >= 0 and box[2] <= 300 and box[3] <= 200 for box in boxes)


def test_a_lonely_label_stands_right_beside_its_point_without_a_line():
    (label,) = place([(50.0, 50.0)], [(60.0, 10.0)], FRAME)
    assert (label.align, label.far) == ("left", False)
    assert label.box == (56.0, 45.0, 116.0, 55.0)


def test_the_line_through_the_points_is_kept_free():
    points = [(50.0, 100.0), (250.0, 100.0)]
    for label in place(points, [(60.0, 10.0)] * 2, FRAME, points):
        assert not label.box[1] < 100.0 < label.box[3]


def test_where_there_is_no_room_every_label_still_has_a_place():
    assert len(place([(5.0, 5.0)] * 30, [(9.0, 9.0)] * 30, (0.0, 0.0, 10.0, 10.0))) == 30
