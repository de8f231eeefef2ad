"""Draws the pictures of a script and knows where every written thing lies."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from evals.synth.script import Caption, Clock, MovingObject, Scene, Script, Slide, V
from evals.synth.shapes import background, sprite
from tools.media.span import format_time
from tools.media.view import Region

Pixels = npt.NDArray[np.uint8]

# Layout in fractions of the frame.
_PANEL = (0.06, 0.11, 0.94, 0.68)
_CAPTION_BAR = (0.0, 0.80, 1.0, 0.93)
_CLOCK_BOX = (0.80, 0.012, 0.99, 0.092)
_TITLE_SIZE, _LINE_SIZE, _CAPTION_SIZE, _CLOCK_SIZE = 0.085, 0.064, 0.066, 0.055
_PANEL_COLOR, _INK = (244, 244, 238), (25, 28, 36)
_BAR_COLOR, _LIGHT_INK = (18, 22, 34), (250, 250, 250)


@dataclass(frozen=True)
class Placed:
    """A line of text and where its ink lies."""

    text: str
    region: Region


@dataclass(frozen=True)
class _Line:
    """A line of text to be drawn: left edge or middle in pixels, and vertical middle."""

    text: str
    x: float
    y: float
    anchor: str
    font: ImageFont.FreeTypeFont


def place(script: Script, event: Slide | Caption) -> list[Placed]:
    """Where each line of a slide (title first) or caption is drawn."""
    lines = _slide_lines(script, event) if isinstance(event, Slide) else [_caption_line(script, event)]
    return [Placed(line.text, _ink(script, line)) for line in lines]


def clock_text(time: float) -> str:
    """What a clock shows at ``time``."""
    return format_time(int(time))


def clock_region(script: Script) -> Region:
    """The box in which the clock is drawn."""
    x0, y0, x1, y1 = _pixels(script, _CLOCK_BOX)
    return Region(x0=x0 / script.width, y0=y0 / script.height, x1=x1 / script.width, y1=y1 / script.height)


class Painter:
    """Draws a script's pictures in order of time, reusing what did not change."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._scenes = script.of(Scene)
        self._slides = script.of(Slide)
        self._captions = script.of(Caption)
        self._clocks = script.of(Clock)
        self._objects = script.of(MovingObject)
        self._still_key: object = None
        self._still: Pixels = np.zeros((script.height, script.width, 3), np.uint8)
        self._background_key: object = None
        self._background: Pixels = self._still
        self._sprites: dict[tuple[str, str, int], Pixels] = {}
        self._key: object = None
        self._picture: Pixels = self._still

    def picture(self, time: float) -> Pixels:
        """The picture at ``time``: uint8 ``[H, W, 3]``; the very same object as long as nothing changes."""
        scene, slide, caption = _at(self._scenes, time), _at(self._slides, time), _at(self._captions, time)
        ticking = clock_text(time) if _at(self._clocks, time) else None
        moving = [(thing, *self._corner(thing, time)) for thing in self._objects if time in thing.span]
        still_key = (scene, slide, caption)
        key = (still_key, ticking, tuple((id(thing), left, top) for thing, left, top in moving))
        if key == self._key:
            return self._picture
        if still_key != self._still_key:
            self._still, self._still_key = self._draw_still(scene, slide, caption), still_key
        picture = self._still.copy() if moving or ticking else self._still
        for thing, left, top in moving:
            _paste(picture, self._sprite(thing), left, top)
        if ticking:
            self._draw_clock(picture, ticking)
        self._picture, self._key = picture, key
        return picture

    def _draw_still(self, scene: Scene | None, slide: Slide | None, caption: Caption | None) -> Pixels:
        script = self._script
        if scene != self._background_key:
            self._background = (
                background(scene.texture, scene.tint, script.seed, script.width, script.height)
                if scene
                else np.zeros((script.height, script.width, 3), np.uint8)
            )
            self._background_key = scene
        if slide is None and caption is None:
            return self._background
        image = Image.fromarray(self._background)
        draw = ImageDraw.Draw(image)
        if slide is not None:
            draw.rectangle(_pixels(script, _PANEL), fill=_PANEL_COLOR)
            for line in _slide_lines(script, slide):
                draw.text((line.x, line.y), line.text, fill=_INK, font=line.font, anchor=line.anchor)
        if caption is not None:
            draw.rectangle(_pixels(script, _CAPTION_BAR), fill=_BAR_COLOR)
            line = _caption_line(script, caption)
            draw.text((line.x, line.y), line.text, fill=_LIGHT_INK, font=line.font, anchor=line.anchor)
        return np.asarray(image)

    def _draw_clock(self, picture: Pixels, text: str) -> None:
        x0, y0, x1, y1 = _pixels(self._script, _CLOCK_BOX)
        patch = Image.new("RGB", (x1 - x0, y1 - y0), _BAR_COLOR)
        font = _font(_CLOCK_SIZE * self._script.height)
        ImageDraw.Draw(patch).text(((x1 - x0) / 2, (y1 - y0) / 2), text, fill=_LIGHT_INK, font=font, anchor="mm")
        picture[y0:y1, x0:x1] = np.asarray(patch)

    def _corner(self, thing: MovingObject, time: float) -> tuple[int, int]:
        """Pixel of the object's left upper corner."""
        x, y = thing.middle_at(time)
        side = self._side(thing)
        return round(x * self._script.width - side / 2), round(y * self._script.height - side / 2)

    def _side(self, thing: MovingObject) -> int:
        return max(2, round(thing.size * self._script.height))

    def _sprite(self, thing: MovingObject) -> Pixels:
        key = (thing.shape, thing.color, self._side(thing))
        if key not in self._sprites:
            self._sprites[key] = sprite(thing.shape, thing.color, self._side(thing))
        return self._sprites[key]


def _at(events: list[V], time: float) -> V | None:
    """The event on screen at ``time``."""
    return next((event for event in events if time in event.span), None)


def _paste(picture: Pixels, patch: Pixels, left: int, top: int) -> None:
    """Blends an RGBA patch into the picture, cut at its edges."""
    height, width = picture.shape[:2]
    side = patch.shape[0]
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + side, width), min(top + side, height)
    if x0 >= x1 or y0 >= y1:
        return
    cut = patch[y0 - top : y1 - top, x0 - left : x1 - left].astype(np.uint16)
    under = picture[y0:y1, x0:x1]
    alpha = cut[..., 3:]
    under[:] = (cut[..., :3] * alpha + under * (255 - alpha) + 127) // 255


def _pixels(script: Script, box: tuple[float, float, float, float]) -> tuple[int, int, int, int]:
    x0, y0, x1, y1 = box
    return round(x0 * script.width), round(y0 * script.height), round(x1 * script.width), round(y1 * script.height)


def _slide_lines(script: Script, slide: Slide) -> list[_Line]:
    x0, y0, x1, y1 = _pixels(script, _PANEL)
    margin = 0.03 * script.width
    room = x1 - x0 - 2 * margin
    top, step = y0 + 0.10 * script.height, (y1 - y0 - 0.20 * script.height) / max(len(slide.lines), 1)
    step = min(step, 0.10 * script.height)
    lines = [_Line(slide.title, x0 + margin, top, "lm", _fitting(slide.title, _TITLE_SIZE * script.height, room))]
    for index, text in enumerate(slide.lines):
        y = top + 0.12 * script.height + index * step
        lines.append(_Line(text, x0 + margin, y, "lm", _fitting(text, min(_LINE_SIZE * script.height, step), room)))
    return lines


def _caption_line(script: Script, caption: Caption) -> _Line:
    _, y0, _, y1 = _pixels(script, _CAPTION_BAR)
    font = _fitting(caption.text, _CAPTION_SIZE * script.height, 0.94 * script.width)
    return _Line(caption.text, script.width / 2, (y0 + y1) / 2, "mm", font)


def _fitting(text: str, size: float, room: float) -> ImageFont.FreeTypeFont:
    """The font at ``size`` pixels, or smaller so that ``text`` fits into ``room`` pixels."""
    font = _font(size)
    length = font.getlength(text)
    return font if length <= room else _font(size * room / length)


def _font(size: float) -> ImageFont.FreeTypeFont:
    """The font that Pillow carries, so that every machine draws the same letters."""
    font = ImageFont.load_default(max(6.0, size))
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise TypeError("Pillow was built without FreeType")
    return font


def _ink(script: Script, line: _Line) -> Region:
    x0, y0, x1, y1 = line.font.getbbox(line.text, anchor=line.anchor)
    return Region.of(
        (line.x + x0) / script.width,
        (line.y + y0) / script.height,
        (line.x + x1) / script.width,
        (line.y + y1) / script.height,
    )
