"""Figures and counts as people read them: three significant digits, units, small numbers as words."""

from __future__ import annotations

from collections.abc import Sequence

NOTHING = "–"
FAILED = "failed"
_SMALL = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_METRICS = {"macro_f1": "F1", "span_f1": "F1", "accuracy": "acc."}
_BOUNDS = (100, 10)  # below each there is one decimal more
_TINY = 0.1


def digits(value: float) -> str:
    """Return ``value`` with three significant digits, and never fewer than its whole part: 1.10, 25.0, 652."""
    if 0 < abs(value) < _TINY:
        return f"{value:.2g}"
    places = sum(abs(value) < bound for bound in _BOUNDS)
    return f"{value:,.{places}f}"


def megabytes(size: float) -> str:
    """Return bytes in MB without the unit: 0.042, 0.47, 4.7, 118."""
    value = size / 1e6
    return f"{value:,.1f}" if 1 <= value < 100 else digits(value)  # noqa: PLR2004


def millions(count: float) -> str:
    """Return a number of parameters in millions, without the unit: 0.042, 5.7, 278."""
    return megabytes(count)


def times(ratio: float) -> str:
    """Return a ratio as "23×" or "2.3×"."""
    return f"{ratio:.0f}×" if ratio >= 10 else f"{ratio:.1f}×"  # noqa: PLR2004


def short_metric(metric: str) -> str:
    """Return a metric's name as a column's head has room for it."""
    return _METRICS.get(metric, metric)


def counted(count: int, thing: str) -> str:
    """Return "one task", "four tasks", "12 tasks"."""
    number = _SMALL[count] if count < len(_SMALL) else str(count)
    return f"{number} {thing}{'' if count == 1 else 's'}"


def listed(parts: Sequence[str]) -> str:
    """Join as a sentence does: "a", "a and b", "a, b and c"."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}" if parts else ""


def interval(bounds: tuple[float, float] | None, places: int = 1) -> str:
    """Return "84.6 to 88.6"; empty without bounds."""
    return "" if bounds is None else f"{bounds[0]:.{places}f} to {bounds[1]:.{places}f}".replace("-", "−")


def shortened(name: str, most: int = 36) -> str:
    """Return ``name`` in at most ``most`` characters; the middle goes, as names differ at their ends."""
    return name if len(name) <= most else f"{name[: most // 2]}…{name[-(most - most // 2 - 1) :]}"
