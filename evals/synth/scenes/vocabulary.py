"""What scenes are made of, what it is called, and which combinations each split keeps for itself."""

import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import product
from typing import Literal, get_args

from evals.synth.script import Color
from evals.synth.shapes import PALETTE

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)

RGB = tuple[int, int, int]
Pair = tuple[str, str]
#: What things that are alike have in common.
Shared = Literal["both", "shape", "colour"]

_KEPT: tuple[Color, ...] = ("red", "green", "blue", "yellow", "orange", "purple", "cyan", "pink", "white")
#: What each colour looks like before the tone of a single thing.
COLOURS: dict[str, RGB] = {**{name: PALETTE[name] for name in _KEPT}, "black": (12, 12, 14)}
SHAPES = ("circle", "square", "triangle", "diamond", "star", "cross", "ring", "heart", "moon", "arrow")
#: Shapes that are drawn in training without ever being named; likewise colours, which are called "".
NAMELESS = ("bar", "hexagon", "drop", "bolt", "gate", "stairs", "wedge", "hourglass")
#: Heights in fractions of a near frame.
SIZES = {"small": 0.15, "medium": 0.23, "large": 0.35}
DIGITS = "0123456789"
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#: Parts of the frame in raster order, three to a row.
PLACES = (
    *("top left", "top", "top right"),
    *("left", "middle", "right"),
    *("bottom left", "bottom", "bottom right"),
)
UNSEEN = "not visible"

#: Names of the classes of dense labels; 0 is nothing of the kind.
CLASSES: dict[str, tuple[str, ...]] = {
    "colour": ("none", *COLOURS),
    "shape": ("none", *SHAPES, "text"),
    "glyph": ("none", *DIGITS, *LETTERS),
    # Which character of its writing a patch shows.
    "character": ("none", "1st", "2nd", "3rd", "4th", "5th"),
}
#: The kinds whose classes have names that are spoken of.
NAMED = ("colour", "shape", "glyph")
CLASS_OF: dict[str, dict[str, int]] = {
    kind: {name: index for index, name in enumerate(names)} for kind, names in CLASSES.items()
}

#: Likewise of what has become of a thing since the clip began: which way it has moved since it was first seen, how far
#: in eighths of the frame, in which frame that was, its colour then, whether it touches another, and the scene that it
#: is in. 0 is nothing of the kind, and all that is as it was in the beginning.
COURSES: dict[str, tuple[str, ...]] = {
    "way": ("none", "left", "right", "up", "down"),
    "distance": ("none", *map(str, range(1, 9))),
    "since": ("none", *map(str, range(2, 9))),
    "origin": ("none", *COLOURS),
    "touch": ("none", "yes"),
    "scene": ("none", "2", "3"),
}

_WORDS = (
    *("APPLE", "BABY", "BAG", "BALL", "BANK", "BAR", "BED", "BELL", "BIRD", "BLUE", "BOAT", "BOOK", "BOX"),
    *("BREAD", "BUS", "CAFE", "CAKE", "CAR", "CARD", "CAT", "CITY", "CLUB", "COAT", "COLD", "CUP", "DAY", "DESK"),
    *("DOG", "DOOR", "DUCK", "EAST", "EGG", "EXIT", "FARM", "FISH", "FLAG", "FOOD", "FOX", "FREE", "GAME"),
    *("GATE", "GIFT", "GO", "GOLD", "GUM", "HALL", "HAT", "HELP", "HILL", "HOME", "HOT", "HOUSE", "ICE", "INN"),
    *("JAM", "JAZZ", "JOB", "KEY", "KING", "KITE", "LAKE", "LAMP", "LAST", "LEAF", "LEFT", "LION", "LOCK"),
    *("MAIL", "MAP", "MARK", "MENU", "MILK", "MOON", "MUD", "NEST", "NEW", "NIGHT", "NORTH", "NOTE", "OAK"),
    *("OIL", "OPEN", "PARK", "PATH", "PIANO", "PIZZA", "POND", "PORT", "PUB", "QUEEN", "QUIZ", "RAIN", "RED"),
    *("RICE", "RING", "ROAD", "ROOM", "ROPE", "SAIL", "SALE", "SALT", "SAND", "SEA", "SHIP", "SHOP", "SKY"),
    *("SNOW", "SOUP", "SOUTH", "STAR", "STOP", "SUGAR", "SUN", "TAXI", "TEA", "TENT", "TIGER", "TOWN", "TRAIN"),
    *("TREE", "UP", "VAN", "VIDEO", "WALL", "WATER", "WAVE", "WEST", "WIND", "WOLF", "WOOD", "YARD", "YES"),
    *("ZEBRA", "ZERO", "ZOO"),
)
_TRIES = 30
#: Part of the things in training whose colour has no name, and of those whose shape has none.
_NAMELESS = 0.2
#: The same, both together, of those that are like others.
_STRANGERS = 0.35
_CONSONANTS, _VOWELS = "BCDFGHJKLMNPQRSTVWXYZ", "AEIOU"


def pair_split(colour: str, shape: str) -> Split:
    """The split that a pair belongs to: each colour and each shape has one pair of its own in validation and test."""
    turn = (list(COLOURS).index(colour) * 3 + SHAPES.index(shape)) % 10
    return "test" if turn == 4 else "validation" if turn == 8 else "train"


def text_split(text: str) -> Split:
    """The split that a number or a word belongs to: a tenth each in validation and test."""
    turn = sum(weight * ord(letter) for weight, letter in zip((3, 7, 1, 9, 3), text, strict=False)) % 10
    return "test" if turn == 4 else "validation" if turn == 8 else "train"


@dataclass(frozen=True)
class Universe:
    """What may appear, and be spoken of, in the scenes of one split: what every split shares, and its own.

    Attributes:
        shared: pairs of every split.
        own: pairs of this split alone; none in train, which has the shared ones to itself to learn from.
        jumbled: whether half of the made-up words are any letters in any order. Otherwise all can be spoken, and
            whoever has read many of them expects a consonant behind each vowel.
    """

    split: Split
    shared: tuple[Pair, ...]
    own: tuple[Pair, ...]
    jumbled: bool = False

    @cached_property
    def _allowed(self) -> frozenset[Pair]:
        return frozenset((*self.shared, *self.own))

    def pair(self, chance: random.Random, colours: Sequence[str] | None = None) -> Pair:
        """A pair, from ``colours`` if given; in validation and test three in ten are the split's own."""
        pool = self.own if self.own and chance.random() < 0.3 else self.shared
        for _ in range(_TRIES):
            pair = pool[int(chance.random() * len(pool))]
            if colours is None or pair[0] in colours:
                return pair
        return chance.choice([pair for pair in self.shared if colours is None or pair[0] in colours])

    def thing(self, chance: random.Random, colours: Sequence[str] | None = None) -> Pair:
        """As `pair`; in training a part of the things lack a name for their colour, which is "", or for their shape,
        which is one of `NAMELESS`.

        Whoever meets each shape in some colours only, and can name all of them, learns those pairs by heart and
        overlooks a new one. What is a star in a colour without a name can be found by its shape alone.
        """
        colour, shape = self.pair(chance, colours)
        roll = chance.random() if self.split == "train" else 1.0
        if roll < _NAMELESS:
            return "", shape
        return (colour, chance.choice(NAMELESS)) if roll < 2 * _NAMELESS else (colour, shape)

    def stranger(self, chance: random.Random, pair: Pair, shared: Shared) -> Pair:
        """A pair of several that are alike; in training a part of them lack the name of what they do not share.

        Whoever counts only things that all have names counts pairs, and leaves out the star in a new colour.
        """
        if self.split != "train" or chance.random() >= _STRANGERS:
            return pair
        if shared == "shape" or (shared == "both" and chance.random() < 0.5):
            return "", pair[1]
        return pair[0], chance.choice(NAMELESS)

    def unheard(self, value: str) -> tuple[str, ...]:
        """Colours that the shape ``value`` has in other splits only, or shapes of the colour: that they never come is
        no reason to take them for wrong."""
        if value in SHAPES:
            return tuple(colour for colour in COLOURS if not self.allows(colour, value))
        return tuple(shape for shape in SHAPES if not self.allows(value, shape))

    def allows(self, colour: str, shape: str) -> bool:
        """Whether the pair may appear or be spoken of."""
        return (colour, shape) in self._allowed

    def without(self, pairs: Collection[Pair]) -> "Universe":
        """The same without some pairs."""
        shared, own = (tuple(pair for pair in kept if pair not in pairs) for kept in (self.shared, self.own))
        return replace(self, shared=shared, own=own)

    def number(self, chance: random.Random) -> str:
        """Mostly two digits; in validation and test half are the split's own."""
        roll = chance.random()
        low, high = (10, 99) if roll < 0.75 else (100, 999) if roll < 0.93 else (0, 9)
        wanted = self._wanted(chance)
        while True:
            text = str(chance.randint(low, high))
            if len(text) == 1 or text_split(text) == wanted:
                return text

    def word(self, chance: random.Random) -> str:
        """A short word, real or made up so that it has to be read; in validation and test half are the split's own."""
        wanted = self._wanted(chance)
        while True:
            real = chance.random() < 0.4
            text = chance.choice(_WORDS) if real else _made_up(chance, jumbled=self.jumbled and chance.random() < 0.5)
            if text_split(text) == wanted:
                return text

    def _wanted(self, chance: random.Random) -> Split:
        return self.split if chance.random() < 0.5 else "train"


@lru_cache(maxsize=3)
def universe(split: Split) -> Universe:
    """The universe of a split."""
    pairs = list(product(COLOURS, SHAPES))
    shared = tuple(pair for pair in pairs if pair_split(*pair) == "train")
    own = tuple(pair for pair in pairs if pair_split(*pair) == split) if split != "train" else ()
    return Universe(split, shared, own)


def place_of(x: float, y: float) -> str:
    """The part of the frame in which a point ``(x, y)``, in fractions of it, lies."""
    return PLACES[min(int(y * 3), 2) * 3 + min(int(x * 3), 2)]


def _made_up(chance: random.Random, *, jumbled: bool) -> str:
    """Three to five letters, as many vowels as consonants if they are ``jumbled``."""
    if jumbled:
        pattern = "".join(chance.choices("CV", k=chance.randint(3, 5)))
    else:
        pattern = chance.choice(("CVC", "CVC", "CVCV", "VCVC", "CVCC", "CVCVC"))
    return "".join(chance.choice(_CONSONANTS if kind == "C" else _VOWELS) for kind in pattern)
