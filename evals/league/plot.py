"""The league as a picture: a small panel a method, each with both baselines, accuracy kept against tokens spent."""

from collections.abc import Sequence
from math import log
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from evals.league.entries import BARE, BASELINES, BLIND, FULL
from evals.league.page import as_published, find, ranked

Row = dict[str, Any]
Point = tuple[float, float]

#: Everything is drawn larger and shrunk, which smooths the lines.
_SCALE = 3
_COLUMNS = 5
#: Pixels of the result: a panel, the part of it inside the axes (left, top, right, bottom), the margin, the heading.
_WIDTH, _HEIGHT, _INSIDE = 232, 184, (34, 28, 222, 158)
_MARGIN, _HEAD = 16, 76
#: What the axes reach, and where they are labelled.
_LEAST, _HIGHEST = 0.025, 1.15
_TOKENS, _KEPT = (0.05, 0.1, 0.25, 0.5, 1.0), (0.0, 0.25, 0.5, 0.75, 1.0)

_PAPER, _INK, _FAINT, _GRID = "#ffffff", "#222222", "#6a6a6a", "#e6e6e6"
_METHOD, _BAND, _BLIND = "#1f5fbf", "#d3e1f5", "#9a9a9a"
_BASELINES = {"random_keep": ("#cc3d2b", "random choice"), "average_pooling": ("#e39a12", "average pooling")}


def plot(rows: Sequence[Row]) -> Image.Image:
    """All models, one block below the other."""
    rows = as_published(rows)
    models = dict.fromkeys(row["model"] for row in rows)
    blocks = [_Block([row for row in rows if row["model"] == model]) for model in models]
    width, height = 2 * _MARGIN + _COLUMNS * _WIDTH, sum(block.height for block in blocks)
    image = Image.new("RGB", (width * _SCALE, height * _SCALE), _PAPER)
    top = 0
    for block in blocks:
        block.draw(_Pen(ImageDraw.Draw(image), (0, top)))
        top += block.height
    return image.resize((width, height), Image.Resampling.LANCZOS)


class _Pen:
    """Draws in pixels of the result, seen from a corner."""

    def __init__(self, draw: ImageDraw.ImageDraw, corner: Point) -> None:
        self._draw, self._corner = draw, corner

    def at(self, left: float, top: float) -> "_Pen":
        return _Pen(self._draw, (self._corner[0] + left, self._corner[1] + top))

    def line(self, points: Sequence[Point], colour: str, width: float = 1) -> None:
        self._draw.line([self._place(point) for point in points], colour, round(width * _SCALE), joint="curve")

    def area(self, points: Sequence[Point], colour: str) -> None:
        self._draw.polygon([self._place(point) for point in points], colour)

    def dot(self, point: Point, colour: str, radius: float = 3) -> None:
        self._draw.circle(self._place(point), radius * _SCALE, colour)

    def text(self, point: Point, text: str, colour: str = _INK, size: int = 11, anchor: str = "ls") -> float:
        """Writes from or around ``point``; gives the text's width."""
        font = ImageFont.load_default(size * _SCALE)
        self._draw.text(self._place(point), text, colour, font, anchor)
        return float(self._draw.textlength(text, font)) / _SCALE

    def _place(self, point: Point) -> Point:
        return (self._corner[0] + point[0]) * _SCALE, (self._corner[1] + point[1]) * _SCALE


class _Block:
    """The panels of one model."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._title = f"{rows[0]['model']} ({rows[0]['host']}): accuracy kept, by share of visual tokens spent (%)"
        self._rows = [row for row in rows if row.get("kept") is not None]
        fixed = [row["method"] for row in self._rows if row["keep"] is None]
        self._names = [name for name in ranked(self._rows) if name not in BASELINES]
        self._names += [name for name in fixed if name not in BARE]

    @property
    def height(self) -> int:
        return _HEAD + -(-len(self._names) // _COLUMNS) * _HEIGHT + _MARGIN

    def draw(self, pen: _Pen) -> None:
        pen.text((_MARGIN, 30), self._title, size=18)
        self._legend(pen.at(_MARGIN, 58))
        for place, name in enumerate(self._names):
            row, column = divmod(place, _COLUMNS)
            self._panel(pen.at(_MARGIN + column * _WIDTH, _HEAD + row * _HEIGHT), name)

    def _legend(self, pen: _Pen) -> None:
        entries = [(_METHOD, "the method, with its 95 % interval"), *_BASELINES.values(), (_BLIND, "blind")]
        left = 0.0
        for colour, label in entries:
            if colour == _METHOD:
                pen.area([(left, -9), (left + 22, -9), (left + 22, 1), (left, 1)], _BAND)
            pen.line([(left, -4), (left + 22, -4)], colour, 2 if colour != _BLIND else 1)
            left += 28
            left += pen.text((left, 0), label, size=12) + 22

    def _panel(self, pen: _Pen, name: str) -> None:
        left, top, right, bottom = _INSIDE
        pen.text((left, top - 9), name, size=13)
        for kept in _KEPT:
            pen.line([(left, _y(kept)), (right, _y(kept))], _GRID)
            pen.text((left - 5, _y(kept)), f"{kept:.0%}", _FAINT, 10, "rm")
        for share in _TOKENS:
            pen.line([(_x(share), top), (_x(share), bottom)], _GRID)
            pen.text((_x(share), bottom + 12), f"{100 * share:.0f}", _FAINT, 10, "ms")
        if blind := find(self._rows, BLIND):
            pen.line([(left, _y(blind["kept"])), (right, _y(blind["kept"]))], _BLIND)
        own = self._line(name)
        budgeted = any(row["keep"] is not None for row in own)
        if budgeted:
            pen.area([_point(row, "high") for row in own] + [_point(row, "low") for row in reversed(own)], _BAND)
        for baseline, (colour, _) in _BASELINES.items():
            pen.line([_point(row) for row in self._line(baseline)], colour, 1.7)
        if budgeted:
            pen.line([_point(row) for row in own], _METHOD, 2.2)
        for row in own:
            if row["method"] == name:
                if not budgeted:
                    pen.line([_point(row, "low"), _point(row, "high")], _METHOD, 1.5)
                pen.dot(_point(row), _METHOD)

    def _line(self, name: str) -> list[Row]:
        """The rows of a method by tokens spent, up to full tokens."""
        return sorted((row for row in self._rows if row["method"] in (name, FULL)), key=lambda row: row["share"])


def _point(row: Row, key: str = "kept") -> Point:
    return _x(row["share"]), _y(row[key])


def _x(share: float) -> float:
    left, _, right, _ = _INSIDE
    return left + (right - left) * log(max(share, _LEAST) / _LEAST) / log(1 / _LEAST)


def _y(kept: float) -> float:
    _, top, _, bottom = _INSIDE
    return bottom - (bottom - top) * min(kept, _HIGHEST) / _HIGHEST
