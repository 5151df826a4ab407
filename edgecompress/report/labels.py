"""Where the labels of points stand, so that they cover neither one another nor a point: plain geometry."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

_GAP = 6.0  # between a point's middle and its label, in the unit of the points
_MARKER = 5.0  # half the width of what is drawn at a point
_RINGS = (1.0, 2.2, 4.0, 6.0, 9.0)
_DIRECTIONS = tuple(math.radians(degrees) for degrees in (0, 180, 90, 270, 45, 315, 135, 225, 20, 340, 160, 200))
_OUTSIDE = 1e6  # dearer than any overlap

_STROKE = 1.5  # half the width that a line keeps free

Place = tuple[float, float]
Box = tuple[float, float, float, float]  # left, bottom, right, top


@dataclass(frozen=True)
class Label:
    """A label's place: its anchor, how its text is aligned to it, and the box it fills. ``far``: it needs a line."""

    x: float
    y: float
    align: Literal["left", "center", "right"]
    box: Box
    far: bool


def place(points: Sequence[Place], sizes: Sequence[Place], frame: Box, line: Sequence[Place] = ()) -> list[Label]:
    """Return a place for each label of ``sizes`` (width, height) beside its point and inside ``frame``.

    Near places are tried first, free of points, of other labels, and of the ``line`` through these corners. Where none
    is free, the one is taken that covers the least.
    """
    taken = [_around(point, _MARKER) for point in points]
    taken += [_around(point, _STROKE) for start, end in pairwise(line) for point in _between(start, end)]
    labels = []
    for point, size in zip(points, sizes, strict=True):
        tried = [_candidate(point, size, ring, angle) for ring in _RINGS for angle in _DIRECTIONS]
        best = min(tried, key=lambda label: _cost(label, taken, frame))  # of equals the first, so the nearest
        taken.append(best.box)
        labels.append(best)
    return labels


def _around(point: Place, half: float) -> Box:
    return point[0] - half, point[1] - half, point[0] + half, point[1] + half


def _between(start: Place, end: Place) -> list[Place]:
    """Return points on the way, close enough together that no label fits between two of them."""
    steps = max(int(math.dist(start, end) / _STROKE), 1)
    (x, y), (wide, high) = start, (end[0] - start[0], end[1] - start[1])
    return [(x + wide * at / steps, y + high * at / steps) for at in range(steps + 1)]


def overlap(one: Box, other: Box) -> float:
    """Return the area that two boxes share."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return max(width, 0.0) * max(height, 0.0)


def _cost(label: Label, taken: Sequence[Box], frame: Box) -> float:
    return sum(overlap(label.box, box) for box in taken) + _OUTSIDE * _beyond(label.box, frame)


def _candidate(point: tuple[float, float], size: tuple[float, float], ring: float, angle: float) -> Label:
    x, y = point[0] + ring * _GAP * math.cos(angle), point[1] + ring * _GAP * math.sin(angle)
    cosine, sine = round(math.cos(angle), 3), round(math.sin(angle), 3)
    align: Literal["left", "center", "right"] = "center" if not cosine else "left" if cosine > 0 else "right"
    left = x - {"left": 0.0, "center": size[0] / 2, "right": size[0]}[align]
    bottom = y - (size[1] / 2 if abs(sine) < 0.5 else 0.0 if sine > 0 else size[1])  # noqa: PLR2004
    return Label(x, bottom, align, (left, bottom, left + size[0], bottom + size[1]), far=ring > _RINGS[0])


def _beyond(box: Box, frame: Box) -> float:
    """Return how far a box reaches out of the frame."""
    sides = (frame[0] - box[0], frame[1] - box[1], box[2] - frame[2], box[3] - frame[3])
    return sum(max(side, 0.0) for side in sides)
