"""Heat maps of looks: as small pictures with a pixel a cell, and drawn over the frames for a person to read."""

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from tools.evidence import HeatMap, SeenFrame
from tools.media.span import format_time
from tools.media.view import Region

Array = npt.NDArray[Any]

#: Colours: page, text, quiet text; cells that were merged, and cells that left after some decoder layers.
PAGE, INK, QUIET = (17, 19, 24), (236, 239, 244), (139, 148, 163)
MERGED, LEFT = (56, 152, 255), (255, 170, 40)
#: A dropped cell lies under a veil of this colour, what lies outside the lattice under that of the page; so much of
#: their light comes through.
VEIL, THROUGH_VEIL, THROUGH_PAGE = (44, 48, 57), 0.16, 0.07
#: Widths of a picture on the page, of one that is alone, and of the space between pictures.
TILE, ALONE, GAP = 360, 738, 18


def heat_maps(report: Mapping[str, Any]) -> tuple[HeatMap, ...]:
    """The heat maps in the report of a look (see `tools.vlm.look.Look`)."""
    return tuple(
        HeatMap(
            time=entry["time"],
            part=entry["part"],
            region=Region.of(*entry["region"]) if entry["region"] is not None else None,
            png=encode(np.asarray(entry["layers"]) / 255, np.asarray(entry["mass"]), np.asarray(entry["token"])),
        )
        for entry in report.get("heat", ())
    )


def encode(layers: Array, mass: Array, token: Array) -> bytes:
    """A PNG with a pixel a cell.

    Args:
        layers: ``[h, w]``, share of decoder layers that each cell's token went through, 0..1.
        mass: ``[h, w]``, how many cells that token stands for, 0 where it was dropped.
        token: ``[h, w]``, which token it is.
    """
    alone = np.divide(1.0, mass, out=np.zeros(mass.shape), where=mass > 0)
    # A token of very many cells must not look like none at all.
    green = np.maximum(np.round(255 * alone), mass > 0)
    # Neighbouring tokens get numbers far apart; few levels, so that the colour stays that of the other two.
    blue = np.where(mass > 1, 1 + token * 29 % 63, 0)
    pixels = np.stack([np.round(255 * layers), green, blue], axis=-1)
    file = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8), "RGB").save(file, "PNG", optimize=True)
    return file.getvalue()


def decode(png: bytes) -> tuple[Array, Array, Array]:
    """What `encode` was given: layers, mass (large ones roughly) and, for merged cells, a number above 0 that changes
    from token to token."""
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"), dtype=np.float64)
    alone = pixels[..., 1] / 255
    mass: Array = np.divide(1.0, alone, out=np.zeros(alone.shape), where=alone > 0)
    return pixels[..., 0] / 255, mass.round(), pixels[..., 2]


@dataclass(frozen=True)
class Shares:
    """Of all cells, how many were kept, merged, left after some decoder layers, and dropped before them."""

    kept: int
    merged: int
    left: int
    dropped: int

    @classmethod
    def of(cls, heat: Sequence[HeatMap]) -> "Shares":
        """Counted over some heat maps."""
        kinds = np.concatenate([_kinds(*decode(one.png)[:2]).ravel() for one in heat]) if heat else np.zeros(0, int)
        return cls(*(int(count) for count in np.bincount(kinds, minlength=4)))

    @property
    def cells(self) -> int:
        """All of them."""
        return self.kept + self.merged + self.left + self.dropped


def overlay(picture: Image.Image, heat: HeatMap) -> Image.Image:
    """The picture as the model saw it: kept cells as they are, merged ones blue, those that left on the way amber,
    dropped ones dark and grey."""
    layers, mass, token = decode(heat.png)
    kinds = _kinds(layers, mass)
    colour = np.asarray(picture.convert("RGB"), dtype=np.float32)
    height, width = colour.shape[:2]
    grey = colour @ np.array([[0.299], [0.587], [0.114]], np.float32)
    box = heat.region or Region(x0=0, y0=0, x1=1, y1=1)
    left, right = round(box.x0 * width), max(round(box.x1 * width), round(box.x0 * width) + 1)
    top, bottom = round(box.y0 * height), max(round(box.y1 * height), round(box.y0 * height) + 1)
    # The cell of every pixel inside the lattice.
    rows = ((np.arange(bottom - top) + 0.5) * kinds.shape[0] / (bottom - top)).astype(int)
    columns = ((np.arange(right - left) + 0.5) * kinds.shape[1] / (right - left)).astype(int)
    cell = np.ix_(rows, columns)
    kind, strength = kinds[cell], _strength(layers, mass)[cell][..., None]
    flat = grey[top:bottom, left:right]
    seen = colour[top:bottom, left:right].copy()
    for number, ink in ((1, MERGED), (2, LEFT)):
        there = kind == number
        seen[there] = _tint(seen[there], flat[there], ink, strength[there])
    seen[kind == 3] = flat[kind == 3] * THROUGH_VEIL + np.array(VEIL)
    page = grey * THROUGH_PAGE + np.array(PAGE, np.float32)
    page[top:bottom, left:right] = seen
    shown = Image.fromarray(page.clip(0, 255).astype(np.uint8), "RGB")
    return _outlined(shown, np.where(kinds == 1, 10 + token, kinds), (left, top, right, bottom))


def sheet(
    frames: Sequence[SeenFrame], heat: Sequence[HeatMap], *, title: str = "", lines: Sequence[str] = ()
) -> Image.Image:
    """A page with every picture as the model saw it, its time, and what the colours mean.

    Args:
        frames: pictures that were seen.
        heat: their heat maps; those without a picture of their time are left out.
        title: in large letters above, e.g. the question.
        lines: in small letters below it.
    """
    pictures = {frame.time: Image.open(io.BytesIO(frame.jpeg)) for frame in frames}
    drawn = [one for one in heat if one.time in pictures]
    across = ALONE if len(drawn) == 1 else TILE
    tiles = [_tile(pictures[one.time], one, across) for one in drawn]
    columns = _columns(tiles)
    width = max(ALONE, columns * (across + GAP) - GAP) + 2 * GAP
    inner = width - 2 * GAP
    head = [(line, _font(22), INK) for line in _wrapped(title, _font(22), inner)]
    head += [(part, _font(15), QUIET) for line in lines for part in _wrapped(line, _font(15), inner)]
    above = GAP + sum(_line_height(font) for _, font, _ in head) + (GAP if head else 0)
    row_heights = [max(tile.height for tile in tiles[i : i + columns]) for i in range(0, len(tiles), columns)]
    page = Image.new("RGB", (width, above + sum(row_heights) + GAP * len(row_heights) + 48), PAGE)
    draw = ImageDraw.Draw(page)
    y = GAP
    for text, font, ink in head:
        draw.text((GAP, y), text, font=font, fill=ink)
        y += _line_height(font)
    y = above
    for row, height in enumerate(row_heights):
        for column, tile in enumerate(tiles[row * columns : (row + 1) * columns]):
            page.paste(tile, (GAP + column * (across + GAP), y))
        y += height + GAP
    _legend(draw, Shares.of(drawn), y + 6)
    return page


def _kinds(layers: Array, mass: Array) -> npt.NDArray[np.int64]:
    """0 kept, 1 merged, 2 left after some layers, 3 dropped."""
    return np.select([mass == 0, layers <= 0, layers < 1, mass > 1], [3, 3, 2, 1], 0).astype(np.int64)


def _strength(layers: Array, mass: Array) -> npt.NDArray[np.float32]:
    """How far a cell is from being kept, 0..1: by the cells of its token, or by the layers that it missed."""
    merged = np.clip(np.log2(np.maximum(mass, 1)) / 5, 0.1, 1)
    return np.where(layers < 1, 1 - layers, merged).astype(np.float32)


def _tint(colour: Array, grey: Array, ink: tuple[int, int, int], strength: Array) -> Array:
    """The picture through coloured glass, the thicker the stronger."""
    glass = (0.7 * grey / 255 + 0.45 - 0.15 * strength) * np.array(ink)
    share = 0.4 + 0.4 * strength
    tinted: Array = colour * (1 - share) + glass * share * (1 - 0.35 * strength)
    return tinted


def _outlined(page: Image.Image, areas: Array, box: tuple[int, int, int, int]) -> Image.Image:
    """Fine lines where one area of cells meets another, and around the lattice where it is not the whole picture."""
    draw = ImageDraw.Draw(page, "RGBA")
    left, top, right, bottom = box
    xs = np.round(np.linspace(left, right, areas.shape[1] + 1)).astype(int)
    ys = np.round(np.linspace(top, bottom, areas.shape[0] + 1)).astype(int)
    line = (255, 255, 255, 130)
    for row, column in np.argwhere(areas[:, 1:] != areas[:, :-1]):
        x = int(xs[column + 1])
        draw.line([(x, int(ys[row])), (x, int(ys[row + 1]))], fill=line)
    for row, column in np.argwhere(areas[1:] != areas[:-1]):
        y = int(ys[row + 1])
        draw.line([(int(xs[column]), y), (int(xs[column + 1]), y)], fill=line)
    if (left, top, right, bottom) != (0, 0, *page.size):
        draw.rectangle([left, top, right - 1, bottom - 1], outline=(255, 255, 255, 90))
    return page


def _tile(picture: Image.Image, heat: HeatMap, width: int) -> Image.Image:
    """One picture with its time and its count below."""
    height = max(1, round(width * picture.height / picture.width))
    shown = overlay(picture.convert("RGB").resize((width, height), Image.Resampling.LANCZOS), heat)
    tile = Image.new("RGB", (width, height + 26), PAGE)
    tile.paste(shown, (0, 0))
    draw = ImageDraw.Draw(tile)
    part = {"frame": "", "base": "  whole picture", "mosaic": "  in detail"}[heat.part]
    shares = Shares.of([heat])
    draw.text((0, height + 5), _clock(heat.time) + part, font=_font(15), fill=INK)
    parts = ((shares.kept, "kept"), (shares.merged, "merged"), (shares.left, "left"), (shares.dropped, "dropped"))
    count = " · ".join(f"{number} {word}" for number, word in parts if number)
    draw.text((width, height + 6), count, font=_font(14), fill=QUIET, anchor="ra")
    return tile


def _columns(tiles: Sequence[Image.Image]) -> int:
    """So many that the page is about half as wide again as it is high."""
    if not tiles:
        return 1
    tallest = max(tile.height for tile in tiles)
    return min(len(tiles), math.ceil(math.sqrt(1.4 * len(tiles) * (tallest + GAP) / (TILE + GAP))))


def _legend(draw: ImageDraw.ImageDraw, shares: Shares, y: int) -> None:
    entries = [
        ("kept", INK, shares.kept),
        ("merged into a neighbour's token", MERGED, shares.merged),
        ("left after some layers", LEFT, shares.left),
        ("dropped", tuple(2 * part for part in VEIL), shares.dropped),
    ]
    x, font = GAP, _font(14)
    for text, ink, count in entries:
        if not count:
            continue
        draw.rounded_rectangle([x, y, x + 16, y + 16], radius=3, fill=ink)
        label = f"{text} {100 * count / shares.cells:.0f} %"
        draw.text((x + 24, y), label, font=font, fill=QUIET)
        x += 24 + round(draw.textlength(label, font=font)) + 26


def _clock(seconds: float) -> str:
    whole, tenth = divmod(round(seconds * 10), 10)
    return format_time(whole) + (f".{tenth}" if tenth else "")


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """A font with many scripts if this machine has it, else the one that comes with Pillow."""
    try:
        return ImageFont.truetype("DejaVuSans.ttf", size)
    except OSError:
        return ImageFont.load_default(size)


def _line_height(font: Any) -> int:
    return int(1.25 * font.getbbox("Ág")[3])


def _wrapped(text: str, font: Any, width: int) -> list[str]:
    """The text in lines of at most ``width`` pixels, three at most."""
    lines: list[str] = []
    for word in "".join(char if char.isprintable() else " " for char in text[:400]).split():
        if lines and font.getlength(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return [*lines[:2], f"{lines[2]} …"] if len(lines) > 3 else lines
