"""The page's colours of series: told apart by everybody, and seen on their paper."""

import re
from importlib.resources import files
from itertools import combinations

import numpy as np
import pytest

CSS = files("edgecompress.report").joinpath("page.css").read_text(encoding="utf-8")
# Machado, Oliveira and Fernandes 2009, severity 1.0, on linear RGB
VISIONS = {
    "normal": np.eye(3),
    "deuteranope": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "protanope": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
}
# Ottosson 2020: linear RGB to cone responses to OKLab
CONES = [[0.41222147, 0.53633254, 0.05144599], [0.2119035, 0.68069955, 0.10739696], [0.08830246, 0.28171884, 0.6299787]]
OKLAB = [
    [0.21045426, 0.79361779, -0.00407205],
    [1.9779985, -2.4285922, 0.45059371],
    [0.0259040, 0.78277177, -0.80867577],
]


def palettes():
    blocks = [
        dict(re.findall(r"--([\w-]+): (#[0-9a-f]{3,6})", b)) for b in re.findall(r":root \{(.*?)\}", CSS, re.DOTALL)
    ]
    return dict(zip(("light", "dark", "print"), blocks, strict=True))


def linear(colour):
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    part = np.array([int(digits[at : at + 2], 16) for at in (0, 2, 4)]) / 255
    return np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)


def contrast(one, other):
    low, high = sorted(float(linear(colour) @ [0.2126, 0.7152, 0.0722]) for colour in (one, other))
    return (high + 0.05) / (low + 0.05)


def oklab(colour, vision):
    seen = np.clip(np.array(VISIONS[vision]) @ linear(colour), 0, 1)
    return np.array(OKLAB) @ np.cbrt(np.array(CONES) @ seen)


@pytest.mark.parametrize("vision", VISIONS)
@pytest.mark.parametrize("mode", ["light", "dark", "print"])
def test_series_are_told_apart(mode, vision):
    colours = [palettes()[mode][f"c{n}"] for n in range(8)]
    apart = [np.linalg.norm(oklab(one, vision) - oklab(other, vision)) for one, other in combinations(colours, 2)]
    assert min(apart) > 0.1


@pytest.mark.parametrize("mode", ["light", "dark", "print"])
def test_series_and_text_are_seen_on_their_paper(mode):
    palette = palettes()[mode]
    assert all(contrast(palette[f"c{n}"], palette["paper"]) >= 3 for n in range(8))
    for text in ("ink", "soft", "bad", "link"):
        for ground in ("paper", "band"):
            assert contrast(palette[text], palette[ground]) >= 4.5
    assert contrast(palette["bad"], palette["bad-band"]) >= 4.5
