"""Scripts made from a seed: a few seconds for tests, minutes and hours for benchmarks."""

import random
from collections.abc import Sequence

from evals.synth.script import (
    COLORS,
    SHAPES,
    TEXTURES,
    Caption,
    Clock,
    Event,
    MovingObject,
    Scene,
    Script,
    Slide,
    Speech,
)
from evals.synth.speech import speak
from tools.media.span import Span

#: Words that pocketsphinx recognises well when espeak-ng speaks them.
_SENTENCES = (
    "Last year the road was closed for three months.",
    "The station was built a long time ago.",
    "From here you can see the mountains.",
    "In the summer you can see for fifty miles.",
    "Some of them stay for only one month.",
    "The next train comes on Saturday.",
    "So all the food must come by airplane.",
    "Everybody is happy when it comes.",
    "Each of them can carry ten people.",
    "The kitchen is on the other side.",
    "In the evening somebody plays the guitar.",
    "Then we have to wait for a long time.",
    "Most of the people come from Canada.",
    "It was a present from the president.",
    "From the top you can see the ocean.",
    "Some of us have been here for many years.",
)
_TITLES = ("Annual Report", "Water Supply", "Harbor Works", "City Library", "Garden Plan", "Train Service")
_LINES = ("Budget", "Workers", "Visitors", "Length", "Height", "Tickets", "Books", "Trees")
_PLACES = ("North Gate", "Old Harbor", "Main Square", "River Bank", "Town Hall", "East Station")
#: Objects keep to the strip between slide and caption bar, so that they hide no text.
_STRIP_Y, _STRIP_SIZE = 0.74, 0.09


def short_script(seed: int, *, duration: float = 10.0) -> Script:
    """A few seconds with one of everything: two scenes, a slide, a caption, a clock, an object and a sentence."""
    chance = random.Random(f"short {seed}")
    half = round(duration / 2, 1)
    textures, tint = chance.sample(TEXTURES, 2), chance.randrange(100)
    events: list[Event] = [
        Scene(span=Span.of(0, half), texture=textures[0], tint=tint),
        Scene(span=Span.of(half, duration), texture=textures[1], tint=tint + 1),
        _slide(chance, Span.of(0.5, half)),
        Caption(span=Span.of(half + 0.5, duration - 0.5), text=_caption(chance)),
        Clock(span=Span.of(0, duration)),
        _object(chance, Span.of(half, duration)),
        Speech(start=1.0, text=chance.choice(_SENTENCES)),
    ]
    return Script(seed=seed, duration=duration, events=tuple(events))


def long_script(seed: int, minutes: float, *, speech: bool) -> Script:
    """Minutes or hours: a new scene every 15-40 s, slides, captions, an object now and then, and a clock.

    Args:
        speech: whether somebody talks without pause (half a second between sentences).
    """
    chance = random.Random(f"long {seed}")
    duration = minutes * 60
    events: list[Event] = [Clock(span=Span.of(0, duration))]
    time, tint = 0.0, 0
    while time < duration:
        end = min(time + chance.uniform(15, 40), duration)
        if duration - end < 5:
            end = duration
        tint += 1
        events.append(Scene(span=Span.of(time, end), texture=chance.choice(TEXTURES), tint=tint))
        if end - time >= 12:
            middle = time + (end - time) * chance.uniform(0.4, 0.6)
            events.append(_slide(chance, Span.of(time + 1, middle)))
            events.append(Caption(span=Span.of(middle + 0.5, end - 0.5), text=_caption(chance)))
            if chance.random() < 0.4:
                events.append(_object(chance, Span.of(middle, min(middle + 6, end))))
        time = end
    if speech:
        events += _talk(chance, duration)
    return Script(seed=seed, duration=duration, events=tuple(events))


def _talk(chance: random.Random, duration: float) -> list[Speech]:
    said: list[Speech] = []
    time = 0.5
    while True:
        text = chance.choice(_SENTENCES)
        length = speak(text).duration
        if time + length > duration:
            return said
        said.append(Speech(start=round(time, 3), text=text))
        time += length + 0.5


def _slide(chance: random.Random, span: Span) -> Slide:
    lines = [f"{word}: {chance.randrange(10, 990)}" for word in chance.sample(_LINES, 3)]
    return Slide(span=span, title=chance.choice(_TITLES), lines=tuple(lines))


def _caption(chance: random.Random) -> str:
    return f"{chance.choice(_PLACES)} {chance.randrange(2, 60)}"


def _object(chance: random.Random, span: Span) -> MovingObject:
    ends: Sequence[tuple[float, float]] = [(0.1, _STRIP_Y), (0.9, _STRIP_Y)]
    path = tuple(ends if chance.random() < 0.5 else reversed(ends))
    return MovingObject(
        span=span, color=chance.choice(COLORS), shape=chance.choice(SHAPES), path=path, size=_STRIP_SIZE
    )
