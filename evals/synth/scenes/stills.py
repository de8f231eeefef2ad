"""Still scenes: some shapes, perhaps a number and a word, on a backdrop; seen from near or from far."""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import get_args

from evals.synth.scenes.backdrop import odd_colour, random_backdrop, showing
from evals.synth.scenes.layout import Layout, height_of
from evals.synth.scenes.outlines import FONTS, Font
from evals.synth.scenes.render import Box, reach
from evals.synth.scenes.vocabulary import COLOURS, RGB, SHAPES, Pair, Shared, Universe, place_of
from evals.synth.scenes.world import Backdrop, Shot, Thing, World, Writing

_EVER = (float("-inf"), float("inf"))
_TILT = math.radians(8)
#: The pixel font tells M from W badly; it writes numbers only.
_WORD_FONTS: tuple[Font, ...] = FONTS[:-1]
_INKS = ("white", "black", "white", "black", "yellow", "red", "blue", "cyan")
#: How much lighter or darker ink is than what it stands on, of 255.
_INK_CONTRAST = 85
#: How many times smaller things are from far.
_FAR = (4.0, 5.5)
_PLATES: tuple[RGB, ...] = ((52, 60, 74), (70, 58, 52), (200, 194, 180), (186, 194, 196))


@dataclass(frozen=True, eq=False)
class Entity:
    """A thing in a near scene and what can be said of it when the scene begins.

    Attributes:
        shape: "" for a writing.
        size: likewise.
        place: the part of the frame in which its middle ``(x, y)`` is.
    """

    thing: Thing
    colour: str
    shape: str
    size: str
    x: float
    y: float
    place: str

    @property
    def named(self) -> bool:
        """Whether both its colour and its shape have a name."""
        return self.colour != "" and self.shape in SHAPES

    @property
    def noun(self) -> str:
        """What it is called, by those of its colour and its shape that have a name."""
        return f"{self.colour} {self.shape if self.shape in SHAPES else 'object'}".strip()

    @classmethod
    def of(cls, thing: Thing, size: str = "") -> "Entity":
        """The entity that a thing is."""
        _, x, y = thing.keys[0]
        return cls(thing, thing.colour, thing.shape, size, x, y, place_of(x, y))


@dataclass(frozen=True)
class Still:
    """A near scene."""

    backdrop: Backdrop
    entities: tuple[Entity, ...]

    @property
    def shapes(self) -> list[Entity]:
        """Those that are no writing."""
        return [entity for entity in self.entities if entity.shape]

    def writing(self, kind: str) -> Writing | None:
        """The number or the word, if there is one."""
        for entity in self.entities:
            if isinstance(entity.thing, Writing) and entity.thing.kind == kind:
                return entity.thing
        return None

    def shot(self, start: float = 0.0) -> Shot:
        """The scene as a shot."""
        return Shot(self.backdrop, tuple(entity.thing for entity in self.entities), start)


def random_still(universe: Universe, chance: random.Random) -> Still:
    """A near scene; in three of ten, several things are alike, so that counting is not always counting to one."""
    backdrop = random_backdrop(chance)
    colours = showing(backdrop)
    layout, entities = Layout(), []
    roll = chance.random()
    if roll < 0.62:
        entities += _writings(universe, chance, backdrop, layout, number=roll < 0.42, word=roll > 0.32)
    room = 4 if entities else 5
    if chance.random() < 0.36:
        wanted = _alike(universe, chance, colours, room)
    else:
        wanted = [universe.thing(chance, colours) for _ in range(chance.randint(1, room))]
    for pair in wanted:
        size = _size(chance, len(wanted) + len(entities))
        entity = _shape(chance, pair, size, layout, backdrop)
        if entity is not None:
            entities.append(entity)
    return Still(backdrop, tuple(entities))


def set_back(world: World, chance: random.Random) -> tuple[World, Box]:
    """A near world as a small part of a wide frame, and the region that shows it from near again."""
    scale = chance.uniform(*_FAR)
    left, top = (chance.uniform(0, scale - 1) for _ in range(2))
    shots = tuple(
        replace(
            shot,
            backdrop=replace(shot.backdrop, pitch=shot.backdrop.pitch / 2),
            things=tuple(moved_back(thing, scale, left, top) for thing in shot.things),
        )
        for shot in world.shots
    )
    return replace(world, shots=shots), (left / scale, top / scale, (left + 1) / scale, (top + 1) / scale)


def moved_back(thing: Thing, scale: float, left: float, top: float) -> Thing:
    """A thing ``scale`` times smaller, its frame's corner at ``(left, top)`` in heights of that small frame."""
    keys = tuple((time, (x + left) / scale, (y + top) / scale) for time, x, y in thing.keys)
    return replace(thing, height=thing.height / scale, keys=keys)


def random_tone(chance: random.Random) -> RGB:
    """A slight deviation from a named colour."""
    red, green, blue = (int(chance.uniform(-14, 14)) for _ in range(3))
    return red, green, blue


def make_shape(chance: random.Random, pair: Pair, height: float, x: float = 0, y: float = 0) -> Thing:
    """A shape at rest."""
    colour, shape = pair
    angle = chance.uniform(-_TILT, _TILT)
    return Thing(shape, height, ((0.0, x, y),), ((0.0, colour),), random_tone(chance), angle)


def make_writing(chance: random.Random, backdrop: Backdrop, text: str, height: float) -> Writing:
    """A number or a word in ink that can be read on the backdrop, or on a plate."""
    plate = chance.choice(_PLATES) if chance.random() < 0.35 else None
    grounds = (plate,) if plate else backdrop.colours
    inks = [ink for ink in _INKS if all(_legible(COLOURS[ink], ground) for ground in grounds)]
    if not inks:
        plate, inks = _PLATES[0], ["white"]
    font = chance.choice(FONTS if text[0].isdigit() else _WORD_FONTS)
    angle = chance.uniform(-_TILT, _TILT) / 2 if plate is None else 0.0
    paint = ((0.0, chance.choice(inks)),)
    return Writing("", height, ((0.0, 0.0, 0.0),), paint, (0, 0, 0), angle, _EVER, ((0.0, text),), font, plate)


def _legible(ink: RGB, ground: RGB) -> bool:
    """Whether ink is much lighter or darker: video keeps lightness sharp and blurs colours."""
    lightness = [0.3 * red + 0.59 * green + 0.11 * blue for red, green, blue in (ink, ground)]
    return abs(lightness[0] - lightness[1]) > _INK_CONTRAST


def _shape(chance: random.Random, pair: Pair, size: str, layout: Layout, backdrop: Backdrop) -> Entity | None:
    thing = make_shape(chance, pair, height_of(chance, size))
    if not thing.colour:
        thing = replace(thing, tone=odd_colour(chance, backdrop))
    middle = layout.place(chance, reach(thing))
    return Entity.of(replace(thing, keys=((0.0, *middle),)), size) if middle else None


def _writings(
    universe: Universe, chance: random.Random, backdrop: Backdrop, layout: Layout, *, number: bool, word: bool
) -> list[Entity]:
    texts = []
    if word:
        texts.append((universe.word(chance), chance.uniform(0.13, 0.19)))
    if number:
        texts.append((universe.number(chance), chance.uniform(0.14, 0.26)))
    entities = []
    for text, height in texts:
        thing = make_writing(chance, backdrop, text, height)
        half_x, half_y = reach(thing)
        if half_x > 0.44:
            thing = replace(thing, height=height * 0.44 / half_x)
            half_x, half_y = reach(thing)
        pad = 0.35 * thing.height if thing.plate else 0.0
        middle = layout.place(chance, (half_x + pad, half_y + pad))
        if middle:
            entities.append(Entity.of(replace(thing, keys=((0.0, *middle),))))
    return entities


def _alike(universe: Universe, chance: random.Random, colours: Sequence[str], room: int) -> list[Pair]:
    """Several things that share colour, shape or both, and perhaps one other."""
    colour, shape = universe.pair(chance, colours)
    count, share = chance.randint(2, room), chance.choice(get_args(Shared))
    pairs: list[Pair] = []
    while len(pairs) < count:
        other = universe.pair(chance, colours)
        pair = {"both": (colour, shape), "shape": (other[0], shape), "colour": (colour, other[1])}[share]
        if universe.allows(*pair):
            pairs.append(universe.stranger(chance, pair, share))
    if count < room and chance.random() < 0.6:
        pairs.append(universe.pair(chance, colours))
    chance.shuffle(pairs)
    return pairs


def _size(chance: random.Random, crowd: int) -> str:
    """Large things are likely only where there is room for them."""
    weights = (3, 3, 5) if crowd <= 2 else (4, 4, 4) if crowd <= 3 else (6, 5, 1)
    return chance.choices(("small", "medium", "large"), weights)[0]
