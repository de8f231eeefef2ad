"""Shapes and characters as outlines: polygons that can be drawn at any size, so that zooming in stays sharp."""

import math
from collections.abc import Callable
from functools import cache
from typing import Literal, get_args

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

Outline = tuple[npt.NDArray[np.float32], ...]
Font = Literal["grotesk", "grotesk bold", "round", "round bold", "round italic", "pixel"]
FONTS: tuple[Font, ...] = get_args(Font)

_CAP = 160
_CURVE = 48
#: Weights of the variable font that OpenCV carries.
_WEIGHTS: dict[Font, tuple[str, int]] = {
    "round": ("sans", 480),
    "round bold": ("sans", 750),
    "round italic": ("italic", 620),
}


@cache
def shape_outline(shape: str) -> Outline:
    """Rings of corners ``[P, 2]`` in -0.5..0.5, y downwards; what lies within an odd number of rings is inside."""
    rings = _SHAPES[shape]()
    whole = np.concatenate(rings)
    low, high = whole.min(axis=0), whole.max(axis=0)
    # Every shape is as high as its size says, and centred.
    return tuple(((ring - (low + high) / 2) / (high - low)[1]).astype(np.float32) for ring in rings)


@cache
def glyph_outline(character: str, font: Font) -> tuple[Outline, float]:
    """Rings of a character whose base line is y = 0 and whose capitals are 1 high, and how far the next one stands."""
    canvas, advance, cap, origin = _pixel_glyph(character) if font == "pixel" else _smooth_glyph(character, font)
    found, _ = cv2.findContours(canvas, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    rings = []
    for contour in found:
        corners = cv2.approxPolyDP(contour, 0.012 * cap, True).reshape(-1, 2).astype(np.float32)
        if len(corners) >= 3:
            rings.append((corners + 0.5 - np.array(origin, np.float32)) / cap)
    return tuple(rings), advance / cap


def text_outline(text: str, font: Font) -> tuple[list[Outline], float]:
    """Characters placed one after the other from x = 0 on, capitals 1 high above y = 0; and the whole width."""
    placed, x = [], 0.0
    for character in text:
        rings, advance = glyph_outline(character, font)
        placed.append(tuple(ring + np.array((x, 0), np.float32) for ring in rings))
        x += advance
    return placed, x


def _smooth_glyph(character: str, font: Font) -> tuple[npt.NDArray[np.uint8], float, float, tuple[float, float]]:
    side, left, base = 3 * _CAP, _CAP // 2, 2 * _CAP
    canvas = np.zeros((side, side), np.uint8)
    if font in _WEIGHTS:
        name, weight = _WEIGHTS[font]
        size = round(_CAP / 0.7)
        right, _ = cv2.putText(canvas, character, (left, base), (255,), cv2.FontFace(name), size, weight=weight)
        advance = float(right[0] - left)
    else:
        face = ImageFont.load_default(round(_CAP / 0.7))
        image = Image.new("L", (side, side))
        stroke = _CAP // 26 if font == "grotesk bold" else 0
        ImageDraw.Draw(image).text(
            (left, base), character, fill=255, font=face, anchor="ls", stroke_width=stroke, stroke_fill=255
        )
        canvas = np.array(image)
        advance = face.getlength(character) + 2 * stroke
    ink = (canvas > 127).astype(np.uint8)
    return ink, advance, float(_CAP), (float(left), float(base))


def _pixel_glyph(character: str) -> tuple[npt.NDArray[np.uint8], float, float, tuple[float, float]]:
    """From the bitmap font that Pillow carries: capitals are seven dots high."""
    mask = ImageFont.load_default_imagefont().getmask(character)
    dots = np.array(mask, np.uint8).reshape(mask.size[1], mask.size[0])
    rows = np.flatnonzero(dots.any(axis=1))
    dots, scale = dots[rows[0] : rows[-1] + 1], 16
    base = dots.shape[0] - (character == "Q")
    ink = np.pad((np.kron(dots, np.ones((scale, scale))) > 0).astype(np.uint8), scale)
    return ink, (dots.shape[1] + 0.3) * scale, 7.0 * scale, (float(scale), float((base + 1) * scale))


def _points(*corners: tuple[float, float]) -> npt.NDArray[np.float64]:
    return np.array(corners, np.float64)


def _round(count: int, inner: float = 1.0) -> npt.NDArray[np.float64]:
    """Corners on a circle from the top on, every second one drawn in to ``inner`` of the radius."""
    angles = 2 * math.pi * np.arange(count) / count - math.pi / 2
    radii = np.where(np.arange(count) % 2 == 0, 1.0, inner)
    return np.stack([np.cos(angles) * radii, np.sin(angles) * radii], axis=1)


def _cross() -> npt.NDArray[np.float64]:
    quarter = [(-0.18, -0.5), (0.18, -0.5), (0.18, -0.18)]
    corners = []
    for _ in range(4):
        corners += quarter
        quarter = [(-y, x) for x, y in quarter]
    return _points(*corners)


def _heart() -> npt.NDArray[np.float64]:
    t = 2 * np.pi * np.arange(_CURVE) / _CURVE
    x = 16 * np.sin(t) ** 3
    y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return np.stack([x, -y], axis=1)


def _moon() -> npt.NDArray[np.float64]:
    """A crescent open to the right: the left arc of a disc, and back along a disc that stands to the right of it."""
    reach = math.acos(0.45)
    outer = np.linspace(reach, 2 * math.pi - reach, _CURVE)
    back = np.linspace(-1, 1, _CURVE // 2)[1:-1]
    tip, depth = math.sin(reach), 0.85
    inner_y = tip * back
    inner_x = 0.45 - depth * np.sqrt(1 - back**2)
    return np.concatenate([np.stack([np.cos(outer), np.sin(outer)], axis=1), np.stack([inner_x, inner_y], axis=1)])


_SHAPES: dict[str, Callable[[], list[npt.NDArray[np.float64]]]] = {
    "circle": lambda: [_round(_CURVE)],
    "ring": lambda: [_round(_CURVE), _round(_CURVE) * 0.56],
    "square": lambda: [_points((-1, -1), (1, -1), (1, 1), (-1, 1))],
    "triangle": lambda: [_points((0, -1), (1.1, 0.9), (-1.1, 0.9))],
    "diamond": lambda: [_points((0, -1), (0.8, 0), (0, 1), (-0.8, 0))],
    "star": lambda: [_round(10, inner=0.42)],
    "cross": lambda: [_cross()],
    "heart": lambda: [_heart()],
    "moon": lambda: [_moon()],
    "arrow": lambda: [
        _points((0, -1), (0.85, -0.05), (0.33, -0.05), (0.33, 1), (-0.33, 1), (-0.33, -0.05), (-0.85, -0.05))
    ],
    # Those that nobody names.
    "bar": lambda: [_points((-1, -0.45), (1, -0.45), (1, 0.45), (-1, 0.45))],
    "hexagon": lambda: [_round(6)],
    "drop": lambda: [np.concatenate([_points((0, -1.9)), _round(_CURVE)[_CURVE // 8 : -_CURVE // 8]])],
    "bolt": lambda: [_points((0.25, -1), (-0.6, 0.15), (-0.05, 0.15), (-0.25, 1), (0.6, -0.2), (0.05, -0.2))],
    "gate": lambda: [_points((-1, -1), (1, -1), (1, 1), (0.45, 1), (0.45, -0.4), (-0.45, -0.4), (-0.45, 1), (-1, 1))],
    "stairs": lambda: [_points((-1, -1), (-0.3, -1), (-0.3, -0.3), (0.4, -0.3), (0.4, 0.4), (1, 0.4), (1, 1), (-1, 1))],
    "wedge": lambda: [_points((-1, -0.6), (1, -1), (1, 1), (-1, 0.6))],
    "hourglass": lambda: [_points((-0.8, -1), (0.8, -1), (0.15, 0), (0.8, 1), (-0.8, 1), (-0.15, 0))],
}
