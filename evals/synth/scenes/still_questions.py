"""What can be asked about a still scene."""

import math
import random
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

from evals.synth.scenes.asking import YES_NO, Ask, Tells, plural, with_article
from evals.synth.scenes.stills import Entity, Still
from evals.synth.scenes.vocabulary import COLOURS, PLACES, SHAPES, SIZES, UNSEEN, Universe

Maker = Callable[["StillQuestions", random.Random], Ask | None]

#: Differences of two middles from which on they stand clearly side by side, or one above the other.
_APART = 0.14
#: How often a question about an attribute is about something that is not there.
_ABSENT = 0.14
_MOST = 5
#: High counts are seldom possible, and so taken where they are.
_COUNT_WEIGHTS = (0.5, 0.6, 1.6, 3, 6, 24)
_SIZE_WEIGHTS = {"small": 1, "medium": 1, "large": 3}
_TRIES = 8
#: How much nearer than the next thing a neighbour is, and how it is called.
_NEAREST = 0.75
_BESIDE = ("next to", "beside")
_COLOURS = tuple(COLOURS)


class StillQuestions:
    """Questions about one scene, each answerable from its picture alone and in one way only.

    Args:
        placed: whether the parts of the frame may be spoken of, and sizes; not so from far.
    """

    def __init__(self, still: Still, universe: Universe, *, placed: bool = True) -> None:
        self._still, self.universe, self._placed = still, universe, placed
        self._shapes = still.shapes
        nouns = [
            noun
            for entity in self._shapes
            for noun, named in (
                (entity.shape, entity.shape in SHAPES),
                (entity.colour, entity.colour != ""),
                (entity.noun, entity.named),
            )
            if named
        ]
        self._number_of = Counter(nouns)
        self._places = Counter(entity.place for entity in self._shapes)

    def colour(self, chance: random.Random) -> Ask | None:
        """The colour of something referred to by shape, size or place."""
        return self._attribute(chance, "colour", _COLOURS)

    def shape(self, chance: random.Random) -> Ask | None:
        """The shape of something referred to by colour or place."""
        return self._attribute(chance, "shape", SHAPES)

    def size(self, chance: random.Random) -> Ask | None:
        """The size of something; each size is as likely as its scarcity allows."""
        there = sorted({entity.size for entity in self._shapes})
        if not there:
            return None
        wanted = chance.choices(there, [_SIZE_WEIGHTS[size] for size in there])[0]
        entities = [entity for entity in self._shapes if entity.size == wanted]
        return self._attribute(chance, "size", tuple(SIZES), entities)

    def position(self, chance: random.Random) -> Ask | None:
        """The part of the frame in which something is."""
        return self._attribute(chance, "position", PLACES)

    def presence(self, chance: random.Random) -> Ask | None:
        """Whether something is there: a pair, a shape, a colour, a number or a word."""
        yes, roll = chance.random() < 0.5, chance.random()
        if not self._shapes:
            return None
        if roll < 0.15:
            return self._presence_of_text(chance, yes=yes)
        if roll < 0.35:
            return self._presence_of_one(chance, yes=yes)
        entity = chance.choice(self._shapes)
        if not entity.named:
            return self._presence_of_one(chance, yes=yes)
        tells = ((entity, frozenset({"colour", "shape"})),)
        there = _presence(f"{entity.colour} {entity.shape}", yes=True, tells=tells)
        if yes:
            return there
        for _ in range(_TRIES):
            pair = self._near_miss(chance)
            if not self._number_of[" ".join(pair)]:
                return _presence(" ".join(pair), yes=False, shadow=there)
        return None

    def count(self, chance: random.Random) -> Ask | None:
        """How many things of a kind there are, from none to five, each number as likely as the scene allows."""
        groups: dict[int, list[str]] = {}
        for noun, number in self._groups(chance):
            groups.setdefault(number, []).append(noun)
        number = chance.choices(list(groups), [_COUNT_WEIGHTS[number] for number in groups])[0]
        noun = chance.choice(groups[number])
        wrong = [str(other) for other in range(_MOST + 1) if other != number]
        return Ask("count", "count", {"refs": plural(noun)}, str(number), wrong, ("count", noun))

    def number(self, chance: random.Random) -> Ask | None:
        """What number is written."""
        return self._reading(chance, "number")

    def word(self, chance: random.Random) -> Ask | None:
        """What word is written."""
        return self._reading(chance, "word")

    def relation(self, chance: random.Random) -> Ask | None:
        """How two things stand to each other."""
        if len(self._shapes) < 2:
            return None
        one, other = chance.sample(self._shapes, 2)
        names = self._name(chance, one), self._name(chance, other)
        if names[0] is None or names[1] is None:
            return None
        right, below = one.x - other.x, one.y - other.y
        across = abs(right) > abs(below) if chance.random() < 0.7 else chance.random() < 0.5
        gap = right if across else below
        if abs(gap) < _APART:
            return None
        slots = {"ref": names[0], "other": names[1]}
        tells = tuple((entity, frozenset({"colour", "shape"})) for entity in (one, other))
        about = ("relation", frozenset((one, other)))
        words = ("left", "right") if across else ("above", "below")
        truth = words[gap > 0]
        if chance.random() < 0.5:
            wording = "relation side" if across else "relation height"
            return Ask("relation", wording, slots, truth, (), about, tells)
        yes = chance.random() < 0.5
        said = truth if yes else words[gap < 0]
        slots["relation"] = f"{said} of" if across else said
        return Ask("relation", "relation yes", slots, YES_NO[not yes], (), about, tells)

    def _attribute(
        self, chance: random.Random, kind: str, values: Sequence[str], entities: list[Entity] | None = None
    ) -> Ask | None:
        absent = chance.random() < _ABSENT
        if absent:
            ref = self.absent(chance, kind)
            if ref is None:
                return None
            wrong = chance.sample(values, min(len(values), 4))
            return Ask("unseen", kind, {"ref": ref}, UNSEEN, wrong, (kind, ref))
        pool = self._shapes if entities is None else entities
        if not pool:
            return None
        entity = chance.choice(pool)
        found = self.refer(chance, entity, kind)
        if found is None:
            return None
        ref, through = found
        tells = ((entity, frozenset({*through, kind})),)
        answer = {"colour": entity.colour, "shape": entity.shape, "size": entity.size, "position": entity.place}[kind]
        if answer not in values:
            # It has no name, and any name is as good as any other; but there is something, in plain view.
            answer, *others = chance.sample(values, len(values))
            return Ask(kind, kind, {"ref": ref}, answer, (), (kind, entity), tells, forgiven=tuple(others))
        wrong = [value for value in values if value != answer]
        given = {"colour": "shape", "shape": "colour"}.get(kind)
        unheard = self.universe.unheard(getattr(entity, given)) if given in through else ()
        return Ask(kind, kind, {"ref": ref}, answer, wrong, (kind, entity), tells, forgiven=unheard)

    def refer(self, chance: random.Random, entity: Entity, asked: str) -> tuple[str, frozenset[str]] | None:
        """Words that only ``entity`` fits and that do not name the attribute that is asked, and what they use."""
        pair = f"{entity.colour} {entity.shape}"
        found: list[tuple[str, frozenset[str]]] = []
        if asked != "shape" and entity.shape in SHAPES and self._number_of[entity.shape] == 1:
            found.append((entity.shape, frozenset({"shape"})))
        if asked != "colour" and entity.colour and self._number_of[entity.colour] == 1:
            found.append((f"{entity.colour} object", frozenset({"colour"})))
        if asked not in ("colour", "shape") and self._number_of[pair] == 1:
            found.append((pair, frozenset({"colour", "shape"})))
        if asked in ("colour", "shape") and self._placed and self._places[entity.place] == 1:
            found.append((_at_place(entity.place), frozenset({"position"})))
        beside = self._beside(entity) if asked in ("colour", "shape") and self._placed else None
        if beside is not None and entity.named:
            own = entity.shape if asked == "colour" else f"{entity.colour} object"
            used = frozenset({"shape" if asked == "colour" else "colour"})
            found.append((f"{own} {chance.choice(_BESIDE)} the {beside.colour} {beside.shape}", used))
        return chance.choice(found) if found else None

    def names(self, chance: random.Random, one: Entity, other: Entity) -> dict[str, str] | None:
        """Words for each of two things, as slots of a wording."""
        found = [self.refer(chance, entity, "name") for entity in (one, other)]
        if found[0] is None or found[1] is None:
            return None
        return {"ref": found[0][0], "other": found[1][0]}

    def _beside(self, entity: Entity) -> Entity | None:
        """A shape to which ``entity`` is clearly the nearest thing, and that nothing else is called by."""
        for other in self._shapes:
            if other is entity or not self.is_single(other):
                continue
            near = sorted((one for one in self._still.entities if one is not other), key=partial(_gap, other))
            if near[0] is entity and all(_gap(other, entity) < _NEAREST * _gap(other, third) for third in near[1:]):
                return other
        return None

    def is_single(self, entity: Entity) -> bool:
        """Whether nothing else has both its colour and its shape."""
        return self._number_of[f"{entity.colour} {entity.shape}"] == 1

    def absent(self, chance: random.Random, asked: str) -> str | None:
        """Words for something that is not there, of the forms that `refer` uses."""
        forms = {"colour": ["shape"], "shape": ["colour"]}.get(asked, ["shape", "colour", "pair"])
        if asked in ("colour", "shape") and self._placed:
            forms.append("place")
        form = chance.choice(forms)
        if form == "shape":
            there = {entity.shape for entity in self._shapes}
            return chance.choice([shape for shape in SHAPES if shape not in there])
        if form == "colour":
            there = {entity.colour for entity in self._shapes}
            return f"{chance.choice([colour for colour in COLOURS if colour not in there])} object"
        if form == "pair":
            colour, shape = self._near_miss(chance)
            there_pairs = {(entity.colour, entity.shape) for entity in self._shapes}
            return None if (colour, shape) in there_pairs else f"{colour} {shape}"
        empty = [place for place in PLACES if self._empty(place)]
        return _at_place(chance.choice(empty)) if empty else None

    def _near_miss(self, chance: random.Random) -> tuple[str, str]:
        """A pair that may well share its colour or its shape with something that is there."""
        for _ in range(4):
            pair = self.universe.pair(chance)
            if self._shapes and chance.random() < 0.7:
                entity = chance.choice(self._shapes)
                pair = (entity.colour, pair[1]) if chance.random() < 0.5 else (pair[0], entity.shape)
            if self.universe.allows(*pair):
                return pair
        return self.universe.pair(chance)

    def _presence_of_text(self, chance: random.Random, *, yes: bool) -> Ask | None:
        kind = chance.choice(("number", "word"))
        writing = self._still.writing(kind)
        if writing is None:
            return None
        if yes:
            return _presence_of(kind, writing.text, yes=True)
        text = self.universe.number(chance) if kind == "number" else self.universe.word(chance)
        return _presence_of(kind, text, yes=False) if text != writing.text else None

    def _presence_of_one(self, chance: random.Random, *, yes: bool) -> Ask | None:
        by_shape = chance.random() < 0.5
        there = {entity.shape if by_shape else entity.colour for entity in self._shapes}
        pool = [value for value in (SHAPES if by_shape else COLOURS) if (value in there) == yes]
        if not pool:
            return None
        value = chance.choice(pool)
        return _presence(value if by_shape else f"{value} object", yes=yes)

    def _groups(self, chance: random.Random) -> list[tuple[str, int]]:
        """Kinds of things and how many there are of each."""
        nouns = {"object": len(self._shapes)}
        for noun, number in self._number_of.items():
            nouns[f"{noun} object" if noun in COLOURS else noun] = number
        for noun in (chance.choice(SHAPES), f"{chance.choice(_COLOURS)} object", " ".join(self._near_miss(chance))):
            nouns.setdefault(noun, 0)
        return list(nouns.items())

    def _reading(self, chance: random.Random, kind: str) -> Ask | None:
        writing = self._still.writing(kind)
        other = self.universe.number if kind == "number" else self.universe.word
        if writing is None:
            if chance.random() >= _ABSENT:
                return None
            wrong = {other(chance) for _ in range(4)}
            return Ask("unseen", kind, {}, UNSEEN, sorted(wrong), ("text", kind))
        wrong = {text for text in (other(chance) for _ in range(4)) if text != writing.text}
        here = next(entity for entity in self._still.entities if entity.thing is writing)
        beside = self._beside(here) if self._placed and chance.random() < 0.5 else None
        if beside is not None:
            slots = {"ref": f"{beside.colour} {beside.shape}"}
            tells = ((beside, frozenset({"colour", "shape"})),)
            return Ask(kind, f"{kind} beside", slots, writing.text, sorted(wrong), ("text", kind), tells)
        return Ask(kind, kind, {}, writing.text, sorted(wrong), ("text", kind))

    def _name(self, chance: random.Random, entity: Entity) -> str | None:
        found = self.refer(chance, entity, "relation")
        return found[0] if found else None

    def _empty(self, place: str) -> bool:
        """Whether nothing reaches into a part of the frame."""
        row, column = divmod(PLACES.index(place), 3)
        for entity in self._shapes:
            reach = entity.thing.height * 0.6
            if abs(entity.x - (column + 0.5) / 3) < reach + 0.13 and abs(entity.y - (row + 0.5) / 3) < reach + 0.13:
                return False
        return True


#: What is asked about near stills, and how often it is tried; makers that seldom find something are tried more often.
NEAR_MAKERS: dict[str, tuple[Maker, float]] = {
    "colour": (StillQuestions.colour, 1.2),
    "shape": (StillQuestions.shape, 1.2),
    "size": (StillQuestions.size, 1.2),
    "position": (StillQuestions.position, 1.2),
    "presence": (StillQuestions.presence, 1.4),
    "count": (StillQuestions.count, 1.2),
    "number": (StillQuestions.number, 1.6),
    "word": (StillQuestions.word, 1.6),
    "relation": (StillQuestions.relation, 1.6),
}
#: From far, parts of the frame and sizes mean something else than they do after zooming in.
FAR_MAKERS = {name: made for name, made in NEAR_MAKERS.items() if name not in ("size", "position")}


def _presence(noun: str, *, yes: bool, tells: Tells = (), shadow: Ask | None = None) -> Ask:
    slots = {"a_ref": with_article(noun)}
    return Ask("presence", "presence", slots, YES_NO[not yes], (), ("presence", noun), tells, shadow)


def _presence_of(kind: str, text: str, *, yes: bool) -> Ask:
    return Ask("presence", "presence", {"a_ref": f"the {kind} {text}"}, YES_NO[not yes], (), ("text", kind))


def _gap(one: Entity, other: Entity) -> float:
    return math.dist((one.x, one.y), (other.x, other.y))


def _at_place(place: str) -> str:
    if place == "middle":
        return "object in the middle"
    return f"object {'on' if place in ('left', 'right') else 'at'} the {place}"
