"""Coloured shapes and backgrounds as pixels."""

import math

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from evals.synth.script import Color, Shape, Texture

RGB = tuple[int, int, int]

#: What each colour looks like.
PALETTE: dict[Color, RGB] = {
    "red": (220, 30, 30),
    "green": (20, 150, 40),
    "blue": (30, 70, 220),
    "yellow": (245, 220, 30),
    "orange": (245, 135, 15),
    "purple": (130, 40, 170),
    "cyan": (20, 200, 215),
    "pink": (245, 130, 180),
    "white": (250, 250, 250),
    "brown": (120, 70, 30),
}
_POLYGON_CORNERS: dict[Shape, int] = {"triangle": 3, "diamond": 4, "pentagon": 5, "hexagon": 6}
#: Shapes are drawn this many times larger and scaled down, for smooth edges.
_OVERSAMPLING = 4


def sprite(shape: Shape, color: Color, pixels: int) -> npt.NDArray[np.uint8]:
    """The shape filling a square: uint8 ``[pixels, pixels, 4]`` RGBA, transparent around it."""
    side = pixels * _OVERSAMPLING
    image = Image.new("RGBA", (side, side), (*PALETTE[color], 0))
    draw = ImageDraw.Draw(image)
    fill = (*PALETTE[color], 255)
    if shape == "circle":
        draw.ellipse((0, 0, side - 1, side - 1), fill=fill)
    elif shape == "ring":
        draw.ellipse((0, 0, side - 1, side - 1), outline=fill, width=side // 4)
    elif shape == "square":
        draw.rectangle((0, 0, side - 1, side - 1), fill=fill)
    elif shape == "cross":
        third = side // 3
        draw.rectangle((third, 0, side - third - 1, side - 1), fill=fill)
        draw.rectangle((0, third, side - 1, side - third - 1), fill=fill)
    elif shape == "star":
        draw.polygon(_fill_square(_around(10, inner=0.42), side), fill=fill)
    else:
        draw.polygon(_fill_square(_around(_POLYGON_CORNERS[shape]), side), fill=fill)
    return np.asarray(image.resize((pixels, pixels), Image.Resampling.BOX))


def _around(count: int, inner: float = 1.0) -> list[tuple[float, float]]:
    """Corners on a circle from the top on, every second one drawn in to ``inner`` of the radius."""
    angles = [2 * math.pi * index / count - math.pi / 2 for index in range(count)]
    radii = [1.0 if index % 2 == 0 else inner for index in range(count)]
    return [(math.cos(angle) * radius, math.sin(angle) * radius) for angle, radius in zip(angles, radii, strict=True)]


def _fill_square(corners: list[tuple[float, float]], side: int) -> list[tuple[float, float]]:
    """The corners stretched so that the shape's box is the whole square, as the truth says it is."""
    xs, ys = [x for x, _ in corners], [y for _, y in corners]
    width, height = max(xs) - min(xs), max(ys) - min(ys)
    return [((x - min(xs)) / width * (side - 1), (y - min(ys)) / height * (side - 1)) for x, y in corners]


def background(texture: Texture, tint: int, seed: int, width: int, height: int) -> npt.NDArray[np.uint8]:
    """A muted picture, uint8 ``[height, width, 3]``; shapes of the palette stand out from it."""
    hue = (tint * 0.381966) % 1.0
    base = np.array(_muted(hue, 0.30 + 0.12 * (tint % 3)))
    other = np.array(_muted((hue + 0.08) % 1.0, 0.38 + 0.12 * (tint % 3)))
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) / height
    if texture == "stripes":
        mask = ((x + y) * 6 % 1.0 < 0.5).astype(np.float32)
    elif texture == "checks":
        mask = ((np.floor(x * 6) + np.floor(y * 6)) % 2).astype(np.float32)
    elif texture == "hills":
        mask = (y > 0.55 + 0.12 * np.sin(x * 4 + tint) + 0.05 * np.sin(x * 11 + 2 * tint)).astype(np.float32)
    else:
        mask = y
    picture = base + (other - base) * mask[..., None]
    grain = np.random.default_rng([seed, abs(tint)]).normal(0.0, 1.5, (height, width, 1))
    pixels: npt.NDArray[np.uint8] = np.clip(picture + grain, 0, 255).astype(np.uint8)
    return pixels


def _muted(hue: float, lightness: float) -> RGB:
    """A colour of little saturation."""
    red, green, blue = (
        round(255 * lightness * (1 + 0.28 * math.cos(2 * math.pi * (hue - phase)))) for phase in (0.0, 1 / 3, 2 / 3)
    )
    return red, green, blue
