"""Draws a world: any part of the frame, at any size and time; and what lies in each patch of a picture."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import pairwise
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from evals.synth.scenes.backdrop import Pixels, Plane, paint
from evals.synth.scenes.outlines import Font, Outline, shape_outline, text_outline
from evals.synth.scenes.vocabulary import CLASS_OF, COLOURS, RGB
from evals.synth.scenes.world import Shot, Thing, World, Writing

Box = tuple[float, float, float, float]
Rings = Sequence[tuple[int, int]]

WHOLE: Box = (0.0, 0.0, 1.0, 1.0)
#: Bits after the point of OpenCV's corners.
_SHIFT = 4
#: A thing, or the ink of a character, counts in a patch from this share of its pixels on.
_THING_SHARE, _INK_SHARE = 0.1, 0.06
#: Room around a writing on its plate, in heights of its capitals.
_PLATE_PAD = 0.35


class Labels(NamedTuple):
    """What covers most of each patch ``[H, W]``, background aside.

    Attributes:
        colour, shape, glyph, character: classes of `CLASS_OF`, 0 for none.
        thing: which of the shot's things it is, counted from 1; 0 for none.
    """

    colour: npt.NDArray[np.int64]
    shape: npt.NDArray[np.int64]
    glyph: npt.NDArray[np.int64]
    character: npt.NDArray[np.int64]
    thing: npt.NDArray[np.int64]


def reach(thing: Thing, time: float = 0.0) -> tuple[float, float]:
    """Half the width and half the height of a box around a thing."""
    half_x, half_y = _solid(thing, time).half
    cos, sin = abs(math.cos(thing.angle)) * thing.height, abs(math.sin(thing.angle)) * thing.height
    return half_x * cos + half_y * sin, half_x * sin + half_y * cos


class Painter:
    """Draws one part of a world's frame at one size, reusing what rests.

    Args:
        width, height: of the pictures in pixels.
        region: corners of the part in fractions of the frame.
    """

    def __init__(self, world: World, width: int, height: int, region: Box = WHOLE) -> None:
        self._world = world
        self._width, self._height = width, height
        x0, y0, x1, y1 = region
        self._scale = width / ((x1 - x0) * world.aspect), height / (y1 - y0)
        self._origin = x0 * world.aspect, y0
        self._resting: tuple[Shot, Pixels, tuple[Thing, ...]] | None = None

    def picture(self, time: float) -> Pixels:
        """What is seen at ``time``: RGB ``[H, W, 3]``; the very same object as long as all that is seen rests."""
        shot = self._world.shot_at(time)
        if self._resting is None or self._resting[0] is not shot:
            self._resting = shot, *self._rest(shot)
        _, canvas, others = self._resting
        active = [thing for thing in others if thing.there(time)]
        if active:
            canvas = canvas.copy()
        for thing in active:
            self._draw(canvas, thing, time)
        return canvas

    def labels(self, time: float, patch: int) -> Labels:
        """The labels of each ``patch``-pixel square at ``time``."""
        things = np.zeros((self._height, self._width), np.uint8)
        glyphs, places = np.zeros_like(things), np.zeros_like(things)
        numbers, colours, shapes, written = [0], [0], [0], False
        for number, thing in enumerate(self._world.shot_at(time).things, start=1):
            if not thing.there(time):
                continue
            numbers.append(number)
            colours.append(CLASS_OF["colour"].get(thing.colour_at(time), 0))
            shapes.append(CLASS_OF["shape"].get(thing.shape or "text", 0))
            solid, corners = _solid(thing, time), self._corners(thing, time)
            rings = _rings(corners - 0.5, solid.rings)
            cv2.fillPoly(things, rings, (len(colours) - 1,), shift=_SHIFT)
            if isinstance(thing, Writing):
                written = True
                text = zip(thing.text_at(time), solid.characters, strict=True)
                for place, (letter, (first, last)) in enumerate(text, start=1):
                    cv2.fillPoly(glyphs, rings[first:last], (CLASS_OF["glyph"][letter],), shift=_SHIFT)
                    cv2.fillPoly(places, rings[first:last], (place,), shift=_SHIFT)
            elif written:
                for canvas in (glyphs, places):
                    cv2.fillPoly(canvas, rings, (0,), shift=_SHIFT)
        most = _most(things, patch, _THING_SHARE)
        glyph, character = (_most(canvas, patch, _INK_SHARE) for canvas in (glyphs, places))
        return Labels(np.array(colours)[most], np.array(shapes)[most], glyph, character, np.array(numbers)[most])

    def _rest(self, shot: Shot) -> tuple[Pixels, tuple[Thing, ...]]:
        """The backdrop with the things on it that rest, up to the first that does not; and the things from there on."""
        canvas = paint(shot.backdrop, self._axis(self._width, 0), self._axis(self._height, 1))
        for index, thing in enumerate(shot.things):
            if not thing.rests:
                return canvas, shot.things[index:]
            self._draw(canvas, thing, 0.0)
        return canvas, ()

    def _axis(self, count: int, axis: int) -> Plane:
        return np.asarray((np.arange(count, dtype=np.float32) + 0.5) / self._scale[axis] + self._origin[axis])

    def _draw(self, canvas: Pixels, thing: Thing, time: float) -> None:
        if isinstance(thing, Writing) and thing.plate is not None:
            self._fill(canvas, self._plate(thing, time), [(0, 4)], thing.plate)
        rgb = _toned(thing.colour_at(time), thing.tone)
        self._fill(canvas, self._corners(thing, time), _solid(thing, time).rings, rgb)

    def _corners(self, thing: Thing, time: float) -> Plane:
        """The corners of a thing in pixels ``[P, 2]``."""
        cos, sin = math.cos(thing.angle) * thing.height, math.sin(thing.angle) * thing.height
        across, down = self._scale
        turn = np.array(((cos * across, sin * down), (-sin * across, cos * down)), np.float32)
        x, y = thing.at(time)
        shift = np.array(((x - self._origin[0]) * across, (y - self._origin[1]) * down), np.float32)
        return np.asarray(_solid(thing, time).points @ turn + shift)

    def _plate(self, thing: Writing, time: float) -> Plane:
        x, y = thing.at(time)
        half = np.array(reach(thing, time), np.float32) + _PLATE_PAD * thing.height
        corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], np.float32) * half + np.array([x, y], np.float32)
        return np.asarray((corners - self._origin) * self._scale)

    def _fill(self, canvas: Pixels, corners: Plane, rings: Rings, rgb: RGB) -> None:
        """Fills rings of corners with smooth edges: they are drawn enlarged and scaled down."""
        (left, top), (right, bottom) = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
        left, top = max(math.floor(left) - 1, 0), max(math.floor(top) - 1, 0)
        right, bottom = min(math.ceil(right) + 1, self._width), min(math.ceil(bottom) + 1, self._height)
        if left >= right or top >= bottom:
            return
        fine = 3 if right - left <= 256 else 2
        mask = np.zeros(((bottom - top) * fine, (right - left) * fine), np.uint8)
        placed = (corners - np.array((left, top), np.float32)) * fine - 0.5
        outlines = _rings(placed, rings)
        cv2.fillPoly(mask, outlines, (255,), shift=_SHIFT)
        # OpenCV fills every pixel that an edge touches: on average half of it is inside.
        cv2.polylines(mask, outlines, True, (128,), shift=_SHIFT)
        share = cv2.resize(mask, (right - left, bottom - top), interpolation=cv2.INTER_AREA)
        under = canvas[top:bottom, left:right]
        # Channels lie side by side in rows: a last axis of three would make every step slow.
        shares = cv2.merge((share, share, share)).reshape(bottom - top, -1).astype(np.uint16)
        blend = shares * np.tile(np.array(rgb, np.uint16), right - left)
        blend += (255 - shares) * under.reshape(bottom - top, -1)
        blend += 127
        blend //= 255
        under[:] = blend.reshape(under.shape)


def _rings(corners: Plane, rings: Rings) -> list[npt.NDArray[np.int32]]:
    """Rings as OpenCV wants them."""
    fixed = np.rint(corners * (1 << _SHIFT)).astype(np.int32)
    return [fixed[first:last] for first, last in rings]


def _most(ids: npt.NDArray[np.uint8], patch: int, share: float) -> npt.NDArray[np.int64]:
    """The id with most pixels in each patch, 0 aside; 0 where none has ``share`` of them."""
    rows, columns = ids.shape[0] // patch, ids.shape[1] // patch
    kinds = int(ids.max()) + 1
    if kinds == 1:
        return np.zeros((rows, columns), np.int64)
    flat = _patches(ids.shape[0], ids.shape[1], patch) * kinds + ids.reshape(-1)
    counts = np.bincount(flat, minlength=rows * columns * kinds).reshape(rows, columns, kinds)
    counted = counts[..., 1:]
    enough = counted.max(axis=-1) >= share * patch * patch
    return np.asarray((counted.argmax(axis=-1) + 1) * enough, np.int64)


@lru_cache(maxsize=8)
def _patches(height: int, width: int, patch: int) -> npt.NDArray[np.int64]:
    """The patch in which each pixel lies."""
    rows, columns = np.arange(height) // patch, np.arange(width) // patch
    return (rows[:, None] * (width // patch) + columns).reshape(-1).astype(np.int64)


@dataclass(frozen=True)
class _Solid:
    """What a thing looks like, upright around (0, 0) at height 1.

    Attributes:
        points: corners of all rings, ``[P, 2]``.
        rings: where each ring begins and ends among the corners.
        characters: where each character begins and ends among the rings.
        half: half the sides of the box around it.
    """

    points: Plane
    rings: Rings
    characters: Rings
    half: tuple[float, float]


def _solid(thing: Thing, time: float) -> _Solid:
    if isinstance(thing, Writing):
        return _text_solid(thing.text_at(time), thing.font)
    return _shape_solid(thing.shape)


@cache
def _shape_solid(shape: str) -> _Solid:
    return _assembled([shape_outline(shape)])


@lru_cache(maxsize=512)
def _text_solid(text: str, font: Font) -> _Solid:
    return _assembled(text_outline(text, font)[0])


def _assembled(outlines: Sequence[Outline]) -> _Solid:
    every = [ring for outline in outlines for ring in outline]
    points = np.concatenate(every)
    low, high = points.min(axis=0), points.max(axis=0)
    ends = np.cumsum([len(ring) for ring in every]).tolist()
    last = np.cumsum([len(outline) for outline in outlines]).tolist()
    half_x, half_y = ((high - low) / 2).tolist()
    rings = tuple(pairwise((0, *ends)))
    return _Solid(np.ascontiguousarray(points - (low + high) / 2), rings, tuple(pairwise((0, *last))), (half_x, half_y))


def _toned(colour: str, tone: RGB) -> RGB:
    named = COLOURS[colour] if colour else (0, 0, 0)
    red, green, blue = (min(max(base + more, 0), 255) for base, more in zip(named, tone, strict=True))
    return red, green, blue
