"""Backdrops as pixels of any part of the frame at any size, and which colours stand out from them."""

import math
import random
from functools import lru_cache
from typing import get_args

import cv2
import numpy as np
import numpy.typing as npt

from evals.synth.scenes.vocabulary import COLOURS, RGB
from evals.synth.scenes.world import Backdrop, Texture

Pixels = npt.NDArray[np.uint8]
Plane = npt.NDArray[np.floating]

_TEXTURES: tuple[Texture, ...] = get_args(Texture)
#: How far apart two colours are at least where one lies on the other; black and white are 765 apart.
_CONTRAST = 200.0
#: And how far a colour without a name is from those with one.
_UNLIKE = 100.0
#: How many colours stand out from a backdrop at least.
_LEAST_COLOURS = 7
_LATTICE = 64


def random_backdrop(chance: random.Random) -> Backdrop:
    """A muted backdrop, dark or light, from which most colours stand out."""
    while True:
        backdrop = _any_backdrop(chance)
        if len(showing(backdrop)) >= _LEAST_COLOURS:
            return backdrop


def _any_backdrop(chance: random.Random) -> Backdrop:
    texture = chance.choice(_TEXTURES)
    hue, light, strength = chance.random(), chance.uniform(0.12, 0.72), chance.uniform(0, 0.22)
    step = chance.choice((-1, 1)) * chance.uniform(0.05, 0.13)
    colours = (_muted(hue, light, strength), _muted(hue + chance.uniform(-0.1, 0.1), light + step, strength))
    return Backdrop(texture, colours, chance.uniform(0.09, 0.3), chance.uniform(0, math.pi), chance.uniform(0, 50))


def showing(backdrop: Backdrop) -> tuple[str, ...]:
    """The colours that stand out from both colours of a backdrop."""
    return _standing_out(backdrop.colours)


def odd_colour(chance: random.Random, backdrop: Backdrop) -> RGB:
    """A colour without a name that stands out from a backdrop: far from all that have one."""
    while True:
        red, green, blue = (int(chance.uniform(0, 256)) for _ in range(3))
        found = (red, green, blue)
        if all(_distance(found, ground) > _CONTRAST**2 for ground in backdrop.colours) and all(
            _distance(found, rgb) > _UNLIKE**2 for rgb in COLOURS.values()
        ):
            return found


@lru_cache(maxsize=64)
def _standing_out(grounds: tuple[RGB, RGB]) -> tuple[str, ...]:
    least = _CONTRAST**2
    return tuple(name for name, rgb in COLOURS.items() if all(_distance(rgb, ground) > least for ground in grounds))


def _distance(one: RGB, other: RGB) -> float:
    """Squared distance of two colours as the eye weighs them."""
    (r0, g0, b0), (r1, g1, b1) = one, other
    red = (r0 + r1) / 512
    return (2 + red) * (r0 - r1) ** 2 + 4 * (g0 - g1) ** 2 + (3 - red) * (b0 - b1) ** 2


def paint(backdrop: Backdrop, x: Plane, y: Plane) -> Pixels:
    """The backdrop where columns ``x [W]`` and rows ``y [H]`` of pixels lie: uint8 ``[H, W, 3]``."""
    one, other = np.array(backdrop.colours, np.float32)
    share = np.linspace(0, 1, 256, dtype=np.float32)[:, None]
    ramp = (one + (other - one) * share + 0.5).astype(np.uint8)[None]
    if backdrop.texture == "plain":
        return np.broadcast_to(ramp[0, 0], (len(y), len(x), 3)).copy()
    level = (_mix(backdrop, x, y) * 255).astype(np.uint8)
    return np.asarray(cv2.LUT(cv2.merge([level, level, level]), ramp), np.uint8)


def _mix(backdrop: Backdrop, x: Plane, y: Plane) -> Plane:
    """How much of the second colour each pixel has, 0..1."""
    pixel = float(abs(y[1] - y[0])) if len(y) > 1 else 1.0
    cos, sin, pitch, phase = math.cos(backdrop.angle), math.sin(backdrop.angle), backdrop.pitch, backdrop.phase
    along = (x * cos)[None, :] + (y * sin)[:, None] + phase
    if backdrop.texture == "gradient":
        return np.asarray(0.5 + 0.5 * np.sin(along * 2.2), np.float32)
    if backdrop.texture == "stripes":
        return _step(_wave(along / pitch), pixel / pitch * 4)
    if backdrop.texture == "checks":
        soft = pixel / pitch * 4
        columns, rows = _step(_wave((x + phase) / pitch), soft), _step(_wave((y + phase) / pitch), soft)
        return np.asarray(columns[None, :] * (1 - rows[:, None]) + (1 - columns[None, :]) * rows[:, None], np.float32)
    if backdrop.texture == "dots":
        across = (x + phase) / pitch % 1 - 0.5
        down = (y + phase) / pitch % 1 - 0.5
        distance = np.sqrt((across**2)[None, :] + (down**2)[:, None])
        return _step(0.28 - distance, pixel / pitch)
    if backdrop.texture == "hills":
        ridge = 0.55 + 0.14 * np.sin(x * 4 + phase) + 0.05 * np.sin(x * 11 + 2 * phase)
        return _step(y[:, None] - ridge[None, :], pixel)
    # Clouds: a smooth surface over a grid of random heights.
    scale = 1 / (1.3 * pitch)
    step = float(x[1] - x[0]) if len(x) > 1 else 1.0
    to_lattice = np.array(
        [[step * scale, 0, x[0] * scale + phase % 37], [0, pixel * scale, y[0] * scale + phase % 29]], np.float64
    )
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    surface = cv2.warpAffine(_lattice(), to_lattice, (len(x), len(y)), flags=flags, borderMode=cv2.BORDER_WRAP)
    return np.asarray(np.clip(surface, 0, 1), np.float32)


def _wave(turns: Plane) -> Plane:
    """A triangle wave between -1 and 1."""
    return np.asarray(np.abs(turns % 1 - 0.5) * 4 - 1, np.float32)


def _step(height: Plane, soft: float) -> Plane:
    """1 where ``height`` is above 0, 0 below, over a width of ``soft`` in between."""
    return np.asarray(np.clip(height / soft + 0.5, 0, 1), np.float32)


@lru_cache(maxsize=1)
def _lattice() -> Plane:
    return np.random.default_rng(5).random((_LATTICE, _LATTICE), dtype=np.float32)


def _muted(hue: float, lightness: float, strength: float) -> RGB:
    """A colour of little saturation."""
    red, green, blue = (
        min(max(round(255 * lightness * (1 + strength * math.cos(2 * math.pi * (hue - phase)))), 0), 255)
        for phase in (0.0, 1 / 3, 2 / 3)
    )
    return red, green, blue
