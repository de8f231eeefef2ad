"""A world: shots one after the other, each with a backdrop and things that move, change, come and go.

Lengths are in heights of the frame: y goes from 0 at the top to 1, x from 0 to the frame's aspect. Seconds are the
video's own.
"""

from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Literal

from evals.synth.scenes.outlines import Font
from evals.synth.scenes.vocabulary import RGB

Texture = Literal["plain", "gradient", "stripes", "checks", "dots", "hills", "clouds"]
_EVER = (float("-inf"), float("inf"))


@dataclass(frozen=True)
class Backdrop:
    """What lies behind everything.

    Attributes:
        colours: the two that the texture is made of.
        pitch: length of the texture's repetition.
        angle: radians.
        phase: shifts the texture; also the seed of what is irregular in it.
    """

    texture: Texture
    colours: tuple[RGB, RGB]
    pitch: float = 0.2
    angle: float = 0.0
    phase: float = 0.0


@dataclass(frozen=True)
class Thing:
    """A coloured shape.

    Attributes:
        shape: one of the shapes, or "" for a text.
        height: of a shape; of the capitals of a text.
        keys: ``(seconds, x, y)`` of its middle; between them it moves evenly, before and after it rests.
        paint: ``(seconds, colour)``: from then on it has that colour.
        tone: added to the colour, so that no two reds are quite alike; all of a colour that is called "".
        angle: radians.
        span: seconds from and until which it is there.
    """

    shape: str
    height: float
    keys: tuple[tuple[float, float, float], ...]
    paint: tuple[tuple[float, str], ...]
    tone: RGB = (0, 0, 0)
    angle: float = 0.0
    span: tuple[float, float] = _EVER

    def at(self, time: float) -> tuple[float, float]:
        """Its middle at ``time``."""
        keys = self.keys
        if len(keys) == 1 or time <= keys[0][0]:
            return keys[0][1:]
        for (t0, x0, y0), (t1, x1, y1) in pairwise(keys):
            if time < t1:
                share = (time - t0) / (t1 - t0)
                return x0 + (x1 - x0) * share, y0 + (y1 - y0) * share
        return keys[-1][1:]

    def colour_at(self, time: float) -> str:
        """The name of its colour at ``time``."""
        return _latest(self.paint, time)

    @property
    def colour(self) -> str:
        """The name of its first colour."""
        return self.paint[0][1]

    @property
    def rests(self) -> bool:
        """Whether it is there all the time and stays as it is."""
        return len(self.keys) == len(self.paint) == 1 and self.span == _EVER

    def there(self, time: float) -> bool:
        """Whether it exists at ``time``, in the frame or outside."""
        return self.span[0] <= time < self.span[1]


@dataclass(frozen=True)
class Writing(Thing):
    """A number or a word.

    Attributes:
        texts: ``(seconds, text)``: from then on it says that.
        plate: colour of a panel behind it, if there is one.
    """

    texts: tuple[tuple[float, str], ...] = ((0.0, ""),)
    font: Font = "round"
    plate: RGB | None = None

    def text_at(self, time: float) -> str:
        """What it says at ``time``."""
        return _latest(self.texts, time)

    @property
    def rests(self) -> bool:
        """Whether it is there all the time and stays as it is."""
        return super().rests and len(self.texts) == 1

    @property
    def text(self) -> str:
        """What it says first."""
        return self.texts[0][1]

    @property
    def kind(self) -> Literal["number", "word"]:
        """What it is."""
        return "number" if self.text[0].isdigit() else "word"


@dataclass(frozen=True)
class Shot:
    """What is seen from ``start`` until the next shot; later things lie over earlier ones."""

    backdrop: Backdrop
    things: tuple[Thing, ...] = ()
    start: float = 0.0


@dataclass(frozen=True)
class World:
    """Shots in order of time, the first at 0."""

    shots: tuple[Shot, ...]
    aspect: float = 1.0
    duration: float = 0.0

    @cached_property
    def starts(self) -> list[float]:
        """When each shot starts."""
        return [shot.start for shot in self.shots]

    def shot_at(self, time: float) -> Shot:
        """The shot on screen at ``time``."""
        return self.shots[max(bisect_right(self.starts, time) - 1, 0)]


def _latest(steps: tuple[tuple[float, str], ...], time: float) -> str:
    current = steps[0][1]
    for start, value in steps[1:]:
        if time >= start:
            current = value
    return current
