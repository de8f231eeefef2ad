"""The exact truth of a drawn video: what was said, written and shown, when and where."""

from pathlib import Path
from typing import Literal

from evals.synth.draw import clock_region, place
from evals.synth.script import Caption, Clock, Color, MovingObject, Record, Scene, Script, Shape, Slide, Speech
from evals.synth.speech import Spoken, speak
from tools.errors import BadInput
from tools.media.span import Span
from tools.media.view import Region


class SaidWord(Record):
    """One spoken word."""

    text: str
    span: Span


class Said(Record):
    """What one speech event says; the span goes from the first to the last sound."""

    text: str
    span: Span
    words: tuple[SaidWord, ...]


class Written(Record):
    """One line of text on screen; the region is the box of its ink."""

    text: str
    span: Span
    region: Region
    part: Literal["title", "line", "caption"]


class Ticking(Record):
    """A clock on screen that shows the running time."""

    span: Span
    region: Region


class Place(Record):
    """Where an object is at one time; None while it is outside the frame."""

    time: float
    region: Region | None


class Shown(Record):
    """An object on screen. It moves at constant speed between its places (within a pixel)."""

    label: str
    color: Color
    shape: Shape
    span: Span
    places: tuple[Place, ...]


class Shot(Record):
    """A scene without cuts."""

    span: Span


class Truth(Record):
    """Everything that a script says and shows, in order of time."""

    duration: float
    said: tuple[Said, ...] = ()
    written: tuple[Written, ...] = ()
    shown: tuple[Shown, ...] = ()
    clocks: tuple[Ticking, ...] = ()
    shots: tuple[Shot, ...] = ()

    def save(self, path: Path) -> None:
        """Writes the truth as JSON."""
        path.write_text(self.model_dump_json(indent=1), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> "Truth":
        """Reads what `save` wrote."""
        return cls.model_validate_json(path.read_text(encoding="utf-8"))


def truth_path(video: Path) -> Path:
    """Where the truth of a video is kept: beside it."""
    return video.with_suffix(".truth.json")


def spoken(script: Script, speech: Speech) -> Spoken:
    """The sound of one speech event."""
    return speak(speech.text, voice=script.voice, words_per_minute=script.words_per_minute)


def truth_of(script: Script) -> Truth:
    """The truth of a script, without drawing it.

    Raises:
        BadInput: if a speech goes on past the end of the video.
    """
    written: list[Written] = []
    for event in script.events:
        if isinstance(event, Slide | Caption):
            span = event.span.clamp(Span.of(0, script.duration))
            for index, line in enumerate(place(script, event)):
                part: Literal["title", "line", "caption"] = "title" if index == 0 else "line"
                if isinstance(event, Caption):
                    part = "caption"
                written.append(Written(text=line.text, span=span, region=line.region, part=part))
    return Truth(
        duration=script.frame_count / script.fps,
        said=tuple(_said(script, event) for event in script.of(Speech)),
        written=tuple(sorted(written, key=lambda line: line.span.start)),
        shown=tuple(_shown(script, event) for event in script.of(MovingObject)),
        clocks=tuple(Ticking(span=event.span, region=clock_region(script)) for event in script.of(Clock)),
        shots=tuple(Shot(span=event.span) for event in script.of(Scene)),
    )


def _said(script: Script, speech: Speech) -> Said:
    sound = spoken(script, speech)
    span = Span.of(speech.start, speech.start + sound.duration)
    if span.end > script.duration:
        raise BadInput(
            f"the speech at {span.start:.1f} s goes on until {span.end:.1f} s, after the end of the video",
            remedy="make the script longer or the text shorter",
            field="duration",
        )
    words = [
        SaidWord(text=word.text, span=Span.of(speech.start + word.start, speech.start + word.end))
        for word in sound.words
    ]
    return Said(text=speech.text, span=span, words=tuple(words))


def _shown(script: Script, thing: MovingObject) -> Shown:
    legs = max(len(thing.path) - 1, 1)
    times = [thing.span.start + thing.span.duration * index / legs for index in range(legs + 1)]
    return Shown(
        label=thing.label,
        color=thing.color,
        shape=thing.shape,
        span=thing.span,
        places=tuple(Place(time=time, region=thing.region_at(time, script.aspect)) for time in times),
    )
