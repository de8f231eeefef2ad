"""Draws a world: any part of the frame, at any size and time; and what lies in each patch of a picture."""

import math
from collections.abc import Iterator
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from evals.synth.scenes.backdrop import Pixels, Plane, paint
from evals.synth.scenes.outlines import Outline, shape_outline, text_outline
from evals.synth.scenes.vocabulary import CLASS_OF, COLOURS, RGB
from evals.synth.scenes.world import Shot, Thing, World, Writing

Labels = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]
Box = tuple[float, float, float, float]

WHOLE: Box = (0.0, 0.0, 1.0, 1.0)
#: Bits after the point of OpenCV's corners.
_SHIFT = 4
#: A thing, or the ink of a character, counts in a patch from this share of its pixels on.
_THING_SHARE, _INK_SHARE = 0.1, 0.06
#: Room around a writing on its plate, in heights of its capitals.
_PLATE_PAD = 0.35


def reach(thing: Thing, time: float = 0.0) -> tuple[float, float]:
    """Half the width and half the height of the box around a thing."""
    low, high = _extent(thing, time)
    return (high[0] - low[0]) / 2, (high[1] - low[1]) / 2


class Painter:
    """Draws one part of a world's frame at one size, reusing the backdrop.

    Args:
        width, height: of the pictures in pixels.
        region: corners of the part in fractions of the frame.
    """

    def __init__(self, world: World, width: int, height: int, region: Box = WHOLE) -> None:
        self._world = world
        self._width, self._height = width, height
        x0, y0, x1, y1 = region
        self._scale = np.array([width / ((x1 - x0) * world.aspect), height / (y1 - y0)], np.float32)
        self._origin = np.array([x0 * world.aspect, y0], np.float32)
        self._backdrop: tuple[Shot, Pixels] | None = None

    def picture(self, time: float) -> Pixels:
        """What is seen at ``time``: RGB ``[H, W, 3]``."""
        shot = self._world.shot_at(time)
        canvas = self._behind(shot).copy()
        for thing in shot.things:
            if thing.there(time):
                self._draw(canvas, thing, time)
        return canvas

    def labels(self, time: float, patch: int) -> Labels:
        """Classes of colour, shape and glyph of what covers most of each ``patch``-pixel square, background aside."""
        things = np.zeros((self._height, self._width), np.uint8)
        glyphs = np.zeros_like(things)
        colours, shapes = [0], [0]
        for thing in self._world.shot_at(time).things:
            if not thing.there(time):
                continue
            colours.append(CLASS_OF["colour"][thing.colour_at(time)])
            shapes.append(CLASS_OF["shape"][thing.shape or "text"])
            text = thing.text_at(time) if isinstance(thing, Writing) else ""
            for index, outline in enumerate(self._placed(thing, time)):
                corners = [np.round((ring - 0.5) * (1 << _SHIFT)).astype(np.int32) for ring in outline]
                cv2.fillPoly(things, corners, (len(colours) - 1,), shift=_SHIFT)
                cv2.fillPoly(glyphs, corners, (CLASS_OF["glyph"][text[index]] if text else 0,), shift=_SHIFT)
        most = _most(things, patch, _THING_SHARE)
        return np.array(colours)[most], np.array(shapes)[most], _most(glyphs, patch, _INK_SHARE)

    def _behind(self, shot: Shot) -> Pixels:
        if self._backdrop is None or self._backdrop[0] is not shot:
            x = self._axis(self._width, 0)
            y = self._axis(self._height, 1)
            self._backdrop = shot, paint(shot.backdrop, x, y)
        return self._backdrop[1]

    def _axis(self, count: int, axis: int) -> Plane:
        return np.asarray((np.arange(count, dtype=np.float32) + 0.5) / self._scale[axis] + self._origin[axis])

    def _draw(self, canvas: Pixels, thing: Thing, time: float) -> None:
        if isinstance(thing, Writing) and thing.plate is not None:
            self._fill(canvas, [self._plate(thing, time)], thing.plate)
        self._fill(canvas, self._placed(thing, time), _toned(thing.colour_at(time), thing.tone))

    def _placed(self, thing: Thing, time: float) -> list[Outline]:
        """The outlines of a thing in pixels: one, or one a character."""
        x, y = thing.at(time)
        text = thing.text_at(time) if isinstance(thing, Writing) else ""
        outlines = _upright(thing.shape, text, thing.font if isinstance(thing, Writing) else "")
        cos, sin = math.cos(thing.angle) * thing.height, math.sin(thing.angle) * thing.height
        turn = np.array([[cos, sin], [-sin, cos]], np.float32) * self._scale
        shift = (np.array([x, y], np.float32) - self._origin) * self._scale
        return [tuple(ring @ turn + shift for ring in outline) for outline in outlines]

    def _plate(self, thing: Writing, time: float) -> Outline:
        x, y = thing.at(time)
        half = np.array(reach(thing, time), np.float32) + _PLATE_PAD * thing.height
        corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], np.float32) * half + np.array([x, y], np.float32)
        return ((corners - self._origin) * self._scale,)

    def _fill(self, canvas: Pixels, outlines: list[Outline], rgb: RGB) -> None:
        """Fills outlines with smooth edges: they are drawn enlarged and scaled down."""
        every = np.concatenate([ring for outline in outlines for ring in outline])
        left, top = np.maximum(np.floor(every.min(axis=0)).astype(int) - 1, 0).tolist()
        right, bottom = np.ceil(every.max(axis=0)).astype(int) + 1
        right, bottom = min(int(right), self._width), min(int(bottom), self._height)
        if left >= right or top >= bottom:
            return
        fine = 4 if max(right - left, bottom - top) <= 256 else 2
        mask = np.zeros(((bottom - top) * fine, (right - left) * fine), np.uint8)
        corner = np.array([left, top], np.float32)
        for outline in outlines:
            corners = [np.round(((ring - corner) * fine - 0.5) * (1 << _SHIFT)).astype(np.int32) for ring in outline]
            cv2.fillPoly(mask, corners, (255,), shift=_SHIFT)
        alpha = cv2.resize(mask, (right - left, bottom - top), interpolation=cv2.INTER_AREA)[..., None]
        under = canvas[top:bottom, left:right]
        share = alpha.astype(np.uint16)
        under[:] = (share * np.array(rgb, np.uint16) + (255 - share) * under + 127) // 255


def _most(ids: npt.NDArray[np.uint8], patch: int, share: float) -> npt.NDArray[np.int64]:
    """The id with most pixels in each patch, 0 aside; 0 where none has ``share`` of them."""
    rows, columns = ids.shape[0] // patch, ids.shape[1] // patch
    kinds = int(ids.max()) + 1
    if kinds == 1:
        return np.zeros((rows, columns), np.int64)
    flat = _patches(ids.shape[0], ids.shape[1], patch) * kinds + ids.reshape(-1)
    counts = np.bincount(flat, minlength=rows * columns * kinds).reshape(rows, columns, kinds)
    best = counts[..., 1:].argmax(axis=-1) + 1
    enough = np.take_along_axis(counts, best[..., None], -1)[..., 0] >= share * patch * patch
    return np.where(enough, best, 0)


@lru_cache(maxsize=8)
def _patches(height: int, width: int, patch: int) -> npt.NDArray[np.int64]:
    """The patch in which each pixel lies."""
    rows, columns = np.arange(height) // patch, np.arange(width) // patch
    return (rows[:, None] * (width // patch) + columns).reshape(-1).astype(np.int64)


@lru_cache(maxsize=512)
def _upright(shape: str, text: str, font: str) -> tuple[Outline, ...]:
    """Outlines around (0, 0) at height 1."""
    if shape:
        return (shape_outline(shape),)
    placed, width = text_outline(text, font)  # type: ignore[arg-type]
    middle = np.array([width / 2, -0.5], np.float32)
    return tuple(tuple(ring - middle for ring in outline) for outline in placed)


def _extent(thing: Thing, time: float) -> tuple[tuple[float, float], tuple[float, float]]:
    text = thing.text_at(time) if isinstance(thing, Writing) else ""
    return _turned(thing.shape, text, thing.font if isinstance(thing, Writing) else "", thing.angle, thing.height)


@lru_cache(maxsize=4096)
def _turned(
    shape: str, text: str, font: str, angle: float, height: float
) -> tuple[tuple[float, float], tuple[float, float]]:
    every = np.concatenate([ring for outline in _upright(shape, text, font) for ring in outline])
    cos, sin = math.cos(angle) * height, math.sin(angle) * height
    turned = every @ np.array([[cos, sin], [-sin, cos]])
    (x0, y0), (x1, y1) = turned.min(axis=0).tolist(), turned.max(axis=0).tolist()
    return (x0, y0), (x1, y1)


def _toned(colour: str, tone: RGB) -> RGB:
    red, green, blue = (min(max(base + more, 0), 255) for base, more in zip(COLOURS[colour], tone, strict=True))
    return red, green, blue


def things_at(world: World, time: float) -> Iterator[Thing]:
    """The things that exist at ``time``."""
    return (thing for thing in world.shot_at(time).things if thing.there(time))
