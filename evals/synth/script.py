"""What a drawn video contains: a frozen script of timed events, written by hand or from a seed."""

from itertools import pairwise
from typing import Annotated, Literal, Self, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

from evals.synth.speech import VOICE, WORDS_PER_MINUTE
from tools.media.span import Span
from tools.media.view import Region

Color = Literal["red", "green", "blue", "yellow", "orange", "purple", "cyan", "pink", "white", "brown"]
Shape = Literal["circle", "square", "triangle", "diamond", "pentagon", "hexagon", "star", "cross", "ring"]
Texture = Literal["plain", "stripes", "checks", "hills"]
COLORS: tuple[Color, ...] = get_args(Color)
SHAPES: tuple[Shape, ...] = get_args(Shape)
TEXTURES: tuple[Texture, ...] = get_args(Texture)


class Record(BaseModel):
    """Base of all records: immutable, without unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Visible(Record):
    """Something on screen while ``span`` lasts."""

    span: Span


T = TypeVar("T", bound=Record)
V = TypeVar("V", bound=Visible)


class Scene(Visible):
    """What lies behind everything; a change of scene is a hard cut.

    Attributes:
        tint: hue and lightness of the background, any integer; different numbers look different.
    """

    kind: Literal["scene"] = "scene"
    texture: Texture = "plain"
    tint: int = 0


class Slide(Visible):
    """A light panel with a title and lines of text."""

    kind: Literal["slide"] = "slide"
    title: str = Field(min_length=1)
    lines: tuple[str, ...] = ()


class Caption(Visible):
    """One line on a dark bar in the lower third."""

    kind: Literal["caption"] = "caption"
    text: str = Field(min_length=1)


class Clock(Visible):
    """The video's running time, ``MM:SS`` (``HH:MM:SS`` from one hour on), in the upper right corner."""

    kind: Literal["clock"] = "clock"


class MovingObject(Visible):
    """A coloured shape that moves at constant speed from point to point.

    Attributes:
        path: positions of its middle in fractions of the frame, reached at equal intervals from ``span.start`` to
            ``span.end``; one point stands still.
        size: its height in fractions of the frame's height.
    """

    kind: Literal["object"] = "object"
    color: Color
    shape: Shape
    path: tuple[tuple[float, float], ...] = Field(min_length=1)
    size: float = Field(default=0.15, gt=0, le=1)

    @property
    def label(self) -> str:
        """Colour and shape, e.g. "red circle"."""
        return f"{self.color} {self.shape}"

    def middle_at(self, time: float) -> tuple[float, float]:
        """Fractions ``(x, y)`` of its middle at ``time``, clamped to its span."""
        legs = len(self.path) - 1
        if legs == 0 or self.span.duration == 0:
            return self.path[0]
        progress = (min(max(time, self.span.start), self.span.end) - self.span.start) / self.span.duration * legs
        leg = min(int(progress), legs - 1)
        share = progress - leg
        (x0, y0), (x1, y1) = self.path[leg], self.path[leg + 1]
        return x0 + (x1 - x0) * share, y0 + (y1 - y0) * share

    def region_at(self, time: float, aspect: float) -> Region | None:
        """Its box at ``time`` inside a frame that is ``aspect`` times as wide as high; None when outside the frame."""
        x, y = self.middle_at(time)
        half_width, half_height = self.size / aspect / 2, self.size / 2
        x0, x1 = max(x - half_width, 0.0), min(x + half_width, 1.0)
        y0, y1 = max(y - half_height, 0.0), min(y + half_height, 1.0)
        return Region(x0=x0, y0=y0, x1=x1, y1=y1) if x0 < x1 and y0 < y1 else None


class Speech(Record):
    """Words spoken from ``start`` on, as long as they take."""

    kind: Literal["speech"] = "speech"
    start: float = Field(ge=0)
    text: str = Field(min_length=1)


Event = Annotated[Scene | Slide | Caption | Clock | MovingObject | Speech, Field(discriminator="kind")]


class Script(Record):
    """A whole video.

    Attributes:
        seed: chooses what the events leave open (the grain of textures) and names the script.
        duration: seconds.
        fps: pictures a second.
        width, height: even numbers of pixels.
        voice, words_per_minute: of the espeak-ng speaker.
        sound: whether the file has an audio track; needed by speech.
        events: in any order; at most one scene, slide, caption and clock at a time.
    """

    seed: int = 0
    duration: float = Field(gt=0)
    fps: int = Field(default=25, ge=1, le=120)
    width: int = Field(default=640, ge=64, le=7680, multiple_of=2)
    height: int = Field(default=360, ge=64, le=4320, multiple_of=2)
    voice: str = VOICE
    words_per_minute: int = Field(default=WORDS_PER_MINUTE, ge=80, le=450)
    sound: bool = True
    events: tuple[Event, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for kind in (Scene, Slide, Caption, Clock):
            for earlier, later in pairwise(self.of(kind)):
                if later.span.start < earlier.span.end:
                    raise ValueError(f"two of {kind.__name__} at once: {earlier.span} and {later.span}")
        if not self.sound and self.of(Speech):
            raise ValueError("a script with speech needs sound")
        return self

    @property
    def aspect(self) -> float:
        """Width over height."""
        return self.width / self.height

    @property
    def frame_count(self) -> int:
        """How many pictures the video has, one at least."""
        return max(1, round(self.duration * self.fps))

    def of(self, kind: type[T]) -> list[T]:
        """The events of one kind in order of time."""
        return sorted((event for event in self.events if isinstance(event, kind)), key=_start)


def _start(event: Record) -> float:
    return event.start if isinstance(event, Speech) else event.span.start if isinstance(event, Visible) else 0.0
