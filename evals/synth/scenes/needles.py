"""Events that a long video hides: far away, small and short, each with a question about it."""

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from evals.synth.scenes.backdrop import showing
from evals.synth.scenes.render import reach
from evals.synth.scenes.stills import make_shape, make_writing, moved_back
from evals.synth.scenes.vocabulary import COLOURS, SHAPES, Pair, Universe
from evals.synth.scenes.world import Backdrop, Thing

Family = Literal["number", "word", "colour", "shape", "motion", "change", "meeting"]

_DIRECTIONS = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}
_HEIGHT = 0.27


@dataclass(frozen=True)
class Event:
    """What happens in a square of side 1, and what can be asked about it.

    Attributes:
        question: in words that tell the event from all others by the pair of its main thing.
        answer, wrong: the right option and three others.
    """

    family: Family
    things: tuple[Thing, ...]
    question: str
    answer: str
    wrong: tuple[str, ...]

    def placed(self, scale: float, left: float, top: float) -> tuple[Thing, ...]:
        """The things with the square made ``scale`` times smaller and its corner at ``(left, top)`` of the frame."""
        return tuple(moved_back(thing, scale, left * scale, top * scale) for thing in self.things)


def make_event(
    universe: Universe, chance: random.Random, backdrop: Backdrop, pair: Pair, family: Family, start: float, end: float
) -> Event:
    """An event of a family around a thing of colour and shape ``pair`` that lasts from ``start`` to ``end``."""
    return _MAKERS[family](universe, chance, backdrop, pair, (start, end))


Span = tuple[float, float]


def _reading(universe: Universe, chance: random.Random, backdrop: Backdrop, pair: Pair, span: Span, kind: str) -> Event:
    draw = universe.number if kind == "number" else universe.word
    texts: list[str] = []
    while len(texts) < 4:
        text = draw(chance)
        if text not in texts and len(text) > 1:
            texts.append(text)
    sign = make_writing(chance, backdrop, texts[0], 0.24)
    wide = reach(sign)[0]
    sign = replace(sign, height=min(0.24, 0.24 * 0.42 / wide), span=span)
    above = chance.random() < 0.5
    shape = _thing(chance, pair, 0.5, 0.26 if above else 0.74, span)
    sign = replace(sign, keys=((0.0, 0.5, 0.72 if above else 0.28),))
    forms = (
        f"Which {kind} is written next to the {_name(pair)}?",
        f"What {kind} appears beside the {_name(pair)}?",
        f"Read the {kind} that is shown with the {_name(pair)}.",
    )
    family: Family = "number" if kind == "number" else "word"
    return Event(family, (shape, sign), chance.choice(forms), texts[0], tuple(texts[1:]))


def _number(universe: Universe, chance: random.Random, backdrop: Backdrop, pair: Pair, span: Span) -> Event:
    return _reading(universe, chance, backdrop, pair, span, "number")


def _word(universe: Universe, chance: random.Random, backdrop: Backdrop, pair: Pair, span: Span) -> Event:
    return _reading(universe, chance, backdrop, pair, span, "word")


def _neighbour(
    universe: Universe,
    chance: random.Random,
    backdrop: Backdrop,
    pair: Pair,
    span: Span,
    asked: Literal["colour", "shape"],
) -> Event:
    other = _other(universe, chance, backdrop, pair)
    left = chance.random() < 0.5
    things = (
        _thing(chance, pair, 0.27 if left else 0.73, 0.5, span),
        _thing(chance, other, 0.73 if left else 0.27, 0.5, span),
    )
    if asked == "colour":
        forms = (
            f"What colour is the {other[1]} next to the {_name(pair)}?",
            f"Which colour does the {other[1]} beside the {_name(pair)} have?",
            f"Name the colour of the {other[1]} next to the {_name(pair)}.",
        )
        answer, values = other[0], tuple(COLOURS)
    else:
        forms = (
            f"What shape is the {other[0]} object next to the {_name(pair)}?",
            f"Which shape does the {other[0]} object beside the {_name(pair)} have?",
            f"Name the shape of the {other[0]} object next to the {_name(pair)}.",
        )
        answer, values = other[1], SHAPES
    return Event(asked, things, chance.choice(forms), answer, _wrong(chance, values, answer))


def _colour(universe: Universe, chance: random.Random, backdrop: Backdrop, pair: Pair, span: Span) -> Event:
    return _neighbour(universe, chance, backdrop, pair, span, "colour")


def _shape(universe: Universe, chance: random.Random, backdrop: Backdrop, pair: Pair, span: Span) -> Event:
    return _neighbour(universe, chance, backdrop, pair, span, "shape")


def _motion(_: Universe, chance: random.Random, __: Backdrop, pair: Pair, span: Span) -> Event:
    direction = chance.choice(tuple(_DIRECTIONS))
    dx, dy = _DIRECTIONS[direction]
    thing = _thing(chance, pair, 0.5, 0.5, span)
    keys = ((span[0], 0.5 - dx * 0.3, 0.5 - dy * 0.3), (span[1], 0.5 + dx * 0.3, 0.5 + dy * 0.3))
    forms = (
        f"In which direction does the {_name(pair)} move?",
        f"Where does the {_name(pair)} move?",
        f"Which way does the {_name(pair)} go?",
    )
    wrong = tuple(name for name in _DIRECTIONS if name != direction)
    return Event("motion", (replace(thing, keys=keys),), chance.choice(forms), direction, wrong)


def _change(universe: Universe, chance: random.Random, backdrop: Backdrop, pair: Pair, span: Span) -> Event:
    colours = [name for name in showing(backdrop) if name != pair[0] and universe.allows(name, pair[1])]
    after = chance.choice(colours)
    middle = (span[0] + span[1]) / 2
    thing = replace(_thing(chance, pair, 0.5, 0.5, span), paint=((0.0, pair[0]), (middle, after)))
    forms = (
        f"What colour does the {_name(pair)} become?",
        f"Which colour does the {_name(pair)} turn?",
        f"Into which colour does the {_name(pair)} change?",
    )
    wrong = _wrong(chance, [name for name in COLOURS if name != pair[0]], after)
    return Event("change", (thing,), chance.choice(forms), after, wrong)


def _meeting(universe: Universe, chance: random.Random, backdrop: Backdrop, pair: Pair, span: Span) -> Event:
    other = _other(universe, chance, backdrop, pair)
    sign = chance.choice((-1, 1))
    # Upright, so that their reach is exact and they touch.
    waits = replace(_thing(chance, other, 0.5 + sign * 0.28, 0.5, span), angle=0.0)
    mover = replace(_thing(chance, pair, 0.5, 0.5, span), angle=0.0)
    stop = 0.5 + sign * (0.28 - reach(waits)[0] - reach(mover)[0] + 0.055)
    middle = span[0] + 0.6 * (span[1] - span[0])
    mover = replace(mover, keys=((span[0], 0.5 - sign * 0.32, 0.5), (middle, stop, 0.5)))
    forms = (
        f"What does the {_name(pair)} meet?",
        f"Which object does the {_name(pair)} touch?",
        f"What does the {_name(pair)} run into?",
    )
    wrong: list[str] = []
    while len(wrong) < 3:
        name = _name(universe.pair(chance))
        if name not in (*wrong, _name(other), _name(pair)):
            wrong.append(name)
    return Event("meeting", (waits, mover), chance.choice(forms), _name(other), tuple(wrong))


def _thing(chance: random.Random, pair: Pair, x: float, y: float, span: Span) -> Thing:
    return replace(make_shape(chance, pair, _HEIGHT * chance.uniform(0.9, 1.1), x, y), span=span)


def _other(universe: Universe, chance: random.Random, backdrop: Backdrop, pair: Pair) -> Pair:
    colours = showing(backdrop)
    while True:
        other = universe.pair(chance, colours)
        if other[0] != pair[0] and other[1] != pair[1]:
            return other


def _name(pair: Pair) -> str:
    return f"{pair[0]} {pair[1]}"


def _wrong(chance: random.Random, values: tuple[str, ...] | list[str], answer: str) -> tuple[str, ...]:
    return tuple(chance.sample([value for value in values if value != answer], 3))


_MAKERS: dict[Family, Callable[[Universe, random.Random, Backdrop, Pair, Span], Event]] = {
    "number": _number,
    "word": _word,
    "colour": _colour,
    "shape": _shape,
    "motion": _motion,
    "change": _change,
    "meeting": _meeting,
}
FAMILIES: tuple[Family, ...] = tuple(_MAKERS)
