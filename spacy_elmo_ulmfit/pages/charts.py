"""Line charts as numbers for a template that draws them in SVG."""

import math
from dataclasses import dataclass
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

Point = Tuple[float, float]

# Sizes of wide and other charts, and what axes need of a chart, in pixels.
_WIDE, _NARROW = (960, 300), (400, 220)
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 16, 14, 40
_N_TICKS = 5
# Thousands below 10,000 are written out.
_UNITS = (("T", 1e12, 1e12), ("G", 1e9, 1e9), ("M", 1e6, 1e6), ("k", 1e3, 1e4))
# Points that tell their value to who points at them.
_MAX_DOTS = 150


class Series(NamedTuple):
    """A line of a chart.

    name (str): What it shows.
    points (Sequence[Tuple[float, float]]): Its points, by rising x.
    color (str): A colour of CSS.
    dashed (bool): Whether it is dashed.
    """

    name: str
    points: Sequence[Point]
    color: str
    dashed: bool = False


@dataclass(frozen=True)
class Scale:
    """Places of values on an axis.

    low (float): Least value.
    high (float): Largest value.
    start (float): Place of the least value, in pixels.
    end (float): Place of the largest.
    logarithmic (bool): Whether equal distances are equal ratios.
    """

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    def place(self, value: float) -> float:
        """Return the place of a value, in pixels."""
        low, high = self.low, self.high
        if self.logarithmic:
            value, low, high = math.log(value), math.log(low), math.log(high)
        share = (value - low) / (high - low) if high > low else 0.5
        return round(self.start + share * (self.end - self.start), 1)

    def ticks(self) -> List[float]:
        """Return a few round values on the axis."""
        if self.logarithmic and self.high >= 10 * self.low:
            exponents = range(
                math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1
            )
            ticks = [factor * 10.0**e for e in exponents for factor in (1, 2, 5)]
            ticks = [tick for tick in ticks if self.low <= tick <= self.high]
            tens = [tick for tick in ticks if math.log10(tick).is_integer()]
            return ticks if len(ticks) <= 2 * _N_TICKS else tens
        step = _round_step((self.high - self.low) / _N_TICKS)
        first = math.ceil(self.low / step)
        last = math.floor(self.high / step + 1e-9)
        return [number * step for number in range(first, last + 1)]


def line_chart(
    title: str,
    series: Sequence[Series],
    *,
    x_label: str,
    logarithmic: bool = False,
    wide: bool = False,
) -> Dict[str, Any]:
    """Lay a chart out.

    title (str): What it shows.
    series (Sequence[Series]): Its lines; those without points are left out.
    x_label (str): What the horizontal axis shows.
    logarithmic (bool): Whether the vertical axis is.
    wide (bool): Whether it is as wide as the page, or a third of it.
    RETURNS (Dict[str, Any]): What the template `chart.html` draws.
    """
    series = [line for line in series if line.points]
    xs = [x for line in series for x, _ in line.points]
    ys = [y for line in series for _, y in line.points]
    width, height = _WIDE if wide else _NARROW
    right, bottom = width - _RIGHT, height - _BOTTOM
    across = Scale(0.0, max(xs, default=0.0) or 1.0, _LEFT, right)
    up = Scale(*_bounds(ys, logarithmic), bottom, _TOP, logarithmic)
    return {
        "title": title,
        "x_label": x_label,
        "size": (width, height),
        "frame": (_LEFT, _TOP, right, bottom),
        "x_ticks": _ticks(across),
        "y_ticks": _ticks(up),
        "lines": [_line(line, across, up) for line in series],
    }


def short_number(value: float, like: Optional[float] = None) -> str:
    """Write a number with three digits that count, such as 12.5M or 0.0003.

    value (float): The number.
    like (Optional[float]): One whose unit it is to have, by default its own.
    RETURNS (str): The number with its unit.
    """
    size = abs(value if like is None else like)
    for unit, factor, least in _UNITS:
        if value and size >= least:
            return f"{value / factor:.3g}{unit}"
    if 0 < abs(value) < 1e-3:
        return f"{value:.2g}"
    return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"


def _ticks(scale: Scale) -> List[Tuple[float, str]]:
    values = scale.ticks()
    largest = None if scale.logarithmic else scale.high
    return [(scale.place(value), short_number(value, largest)) for value in values]


def _line(line: Series, across: Scale, up: Scale) -> Dict[str, Any]:
    places = [(across.place(x), up.place(y)) for x, y in line.points]
    step = max(1, math.ceil(len(places) / _MAX_DOTS))
    kept = sorted({*range(0, len(places), step), len(places) - 1})
    return {
        "name": line.name,
        "color": line.color,
        "dashed": line.dashed,
        "last": short_number(line.points[-1][1]),
        "path": " ".join(f"{x},{y}" for x, y in places),
        "dots": [(*places[i], _tell(line.name, line.points[i])) for i in kept],
    }


def _tell(name: str, point: Point) -> str:
    return f"{name}: {short_number(point[1])} at {short_number(point[0])}"


def _bounds(values: Sequence[float], logarithmic: bool) -> Tuple[float, float]:
    """Return what an axis begins and ends with."""
    if not values:
        return (1.0, 10.0) if logarithmic else (0.0, 1.0)
    low, high = min(values), max(values)
    if logarithmic:
        return low / 1.05, high * 1.05
    return min(0.0, low), high * 1.05 or 1.0


def _round_step(step: float) -> float:
    """Return the next of 1, 2, 5, 10 and so on."""
    size = 10.0 ** math.floor(math.log10(step))
    return next(factor * size for factor in (1, 2, 5, 10) if factor * size >= step)
