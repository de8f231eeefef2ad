"""Scenes in which something happens: things move, come and go, change, meet, the scene is cut, or nothing does."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from evals.synth.scenes.backdrop import random_backdrop, showing
from evals.synth.scenes.courses import DIRECTIONS
from evals.synth.scenes.layout import clear_of_lines, height_of
from evals.synth.scenes.render import reach
from evals.synth.scenes.sample import CLIP_FRAMES
from evals.synth.scenes.stills import Entity, Still, make_shape, make_writing, random_still
from evals.synth.scenes.vocabulary import Universe
from evals.synth.scenes.world import Backdrop, Shot, World

#: The side of the frame that lies in each direction.
SIDES = {"left": "left", "right": "right", "up": "top", "down": "bottom"}
#: Distances that a slow and a fast thing cover in a clip.
_SLOW, _FAST = (0.2, 0.28), (0.52, 0.6)
_EDGE = 0.02


@dataclass
class Story:
    """What happens in a clip of `CLIP_FRAMES` steps; a step is one frame.

    Attributes:
        shots: with times in steps.
        cast: everything that is seen at some time.
        first: what is there at the beginning.
        told: step and words of each thing that happens.
        directions: of every thing, "nowhere" for those at rest.
        speeds: lengths per step of what moves.
        arrivals: step at which a thing is there first, and the side where it comes in, if it does not just appear.
        exits: the side by which a thing leaves.
        changes: step, colour before and colour after.
        numbers: what is written at first and at last.
        meetings: whether one, which moves, touches the other.
        cuts: how many.
        halves: whether a thing is seen before or after the only cut.
        looks: families of still questions that the cast as a whole can be asked about.
        rests: whether nothing happens, so that all that can be asked of a still can be asked.
    """

    shots: tuple[Shot, ...]
    cast: tuple[Entity, ...]
    first: Still
    told: list[tuple[float, str]] = field(default_factory=list)
    directions: dict[Entity, str] = field(default_factory=dict)
    speeds: dict[Entity, float] = field(default_factory=dict)
    arrivals: dict[Entity, tuple[int, str]] = field(default_factory=dict)
    exits: dict[Entity, str] = field(default_factory=dict)
    changes: dict[Entity, tuple[int, str, str]] = field(default_factory=dict)
    numbers: tuple[str, str] | None = None
    meetings: list[tuple[Entity, Entity, bool]] = field(default_factory=list)
    cuts: int = 0
    halves: dict[Entity, str] = field(default_factory=dict)
    looks: tuple[str, ...] = ("colour", "shape", "presence")
    rests: bool = False

    @property
    def world(self) -> World:
        """The story as a world whose second is a step."""
        return World(self.shots, duration=float(CLIP_FRAMES))


def random_story(universe: Universe, chance: random.Random) -> Story:
    """A story of any kind."""
    return chance.choices(_KINDS, _WEIGHTS)[0](universe, chance)


def _moving(universe: Universe, chance: random.Random) -> Story:
    """One or two things move, each in a lane of its own; others rest in between."""
    stage = _Stage(universe, chance)
    axis = chance.randrange(2)
    count = chance.choice((1, 2, 2))
    lanes = chance.sample(range(3), 3)
    reaches = [chance.uniform(*_SLOW), chance.uniform(*_FAST)] if count == 2 else [chance.uniform(0.25, 0.6)]
    chance.shuffle(reaches)
    begin, end = chance.choice((0, 0, 1)), chance.choice((6, 7, 7))
    story = Story((), (), Still(stage.backdrop, ()))
    for lane, distance in zip(lanes, reaches, strict=False):
        direction = chance.choice([name for name, (along, _) in DIRECTIONS.items() if along == axis])
        entity = stage.mover(direction, lane, distance, begin, end)
        story.directions[entity], story.speeds[entity] = direction, distance / (end - begin)
        story.told.append((begin, f"{the(entity)} moves {direction}"))
    for lane in lanes[count:]:
        if len(stage.cast) < 4 and (len(stage.cast) < 2 or chance.random() < 0.7):
            story.directions[stage.rests(axis, lane)] = "nowhere"
    return stage.finish(story)


def _coming(universe: Universe, chance: random.Random) -> Story:
    """Things appear, come in, or leave; each keeps to a lane."""
    stage = _Stage(universe, chance)
    axis = chance.randrange(2)
    sides = [name for name, (along, _) in DIRECTIONS.items() if along == axis]
    story = Story((), (), Still(stage.backdrop, ()))
    steps = chance.choice(((1, 3), (1, 4), (2, 4), (2, 5), (1, 5), (3, 5)))
    acts = (
        ["comes", "comes", chance.choice(("leaves", "rests"))]
        if chance.random() < 0.6
        else ["comes", "leaves", "rests"]
    )
    arriving = iter(steps)
    for lane, act in zip(chance.sample(range(3), 3), acts, strict=True):
        entity, side = stage.rests(axis, lane), chance.choice(sides)
        if act == "comes":
            step = next(arriving)
            pops = chance.random() < 0.35
            entity = stage.appears(entity, step) if pops else stage.enters(entity, side, step)
            story.arrivals[entity] = step, "" if pops else SIDES[side]
            how = "appears" if pops else f"comes in from the {SIDES[side]}"
            story.told.append((step, f"{_a(entity)} {how}"))
        elif act == "leaves":
            step = chance.choice((2, 3, 4))
            entity = stage.leaves(entity, side, step)
            story.exits[entity] = SIDES[side]
            story.told.append((step, f"{the(entity)} leaves at the {SIDES[side]}"))
    return stage.finish(story)


def _changing(universe: Universe, chance: random.Random) -> Story:
    """One or two of several things get another colour; perhaps a number counts on."""
    stage = _Stage(universe, chance)
    lanes = chance.sample(range(3), 3)
    axis = chance.randrange(2)
    story = Story((), (), Still(stage.backdrop, ()), looks=())
    numbered = chance.random() < 0.4
    for lane in lanes[numbered:]:
        stage.rests(axis, lane)
    changing = chance.sample(stage.cast, chance.choice((1, 2)) if len(stage.cast) > 2 else 1)
    steps = chance.choice(((2, 4), (2, 5), (3, 5), (3, 6), (2, 6)))
    for entity, step in zip(changing, chance.sample(steps, 2), strict=False):
        after = stage.other_colour(entity)
        if after is None:
            continue
        painted = stage.swap(entity, paint=((0.0, entity.colour), (step - 0.5, after)))
        story.changes[painted] = step, entity.colour, after
        story.told.append((step, f"{the(entity)} turns {after}"))
    if not story.changes:
        return _changing(universe, chance)
    if numbered:
        before, after = universe.number(chance), universe.number(chance)
        step = chance.randint(2, 6)
        if stage.writes(axis, lanes[0], before, after, step) and before != after:
            story.numbers = before, after
            story.told.append((step, f"the number turns {after}"))
    return stage.finish(story)


def _meeting(universe: Universe, chance: random.Random) -> Story:
    """One thing moves towards another and touches it, stops before it, or goes elsewhere; a third looks on."""
    stage = _Stage(universe, chance)
    axis = chance.randrange(2)
    direction = chance.choice([name for name, (along, _) in DIRECTIONS.items() if along == axis])
    lanes = chance.sample(range(3), 3)
    story = Story((), (), Still(stage.backdrop, ()))
    sign = DIRECTIONS[direction][1]
    # Large enough to be seen well when the other lies over its edge.
    other = stage.shape("medium", upright=True)
    half = reach(other.thing)[axis]
    goal = 0.5 + sign * (0.5 - _EDGE - half - chance.uniform(0, 0.05))
    other = stage.put(other, axis, goal, lanes[0], exact=True)
    mover = stage.shape("small", "medium", upright=True)
    own = reach(mover.thing)[axis]
    end = chance.choice((5, 6))
    met = chance.random() < 0.75
    if met or chance.random() < 0.5:
        gap = -0.055 if met else chance.uniform(0.15, 0.22)
        stop = goal - sign * (half + own + gap)
        start = max(min(stop - sign * chance.uniform(0.22, 0.4), 1 - own - _EDGE), own + _EDGE)
        lane, last = lanes[0], stop
    else:
        lane = lanes[1]
        start = 0.5 - sign * (0.5 - _EDGE - own)
        last = start + sign * chance.uniform(0.4, 0.6)
    if abs(last - start) < 0.12:
        return _meeting(universe, chance)
    mover = stage.put(mover, axis, start, lane, exact=True)
    x, y = mover.x, mover.y
    target = (last, y) if axis == 0 else (x, last)
    mover = stage.swap(mover, keys=((0.0, x, y), (float(end), *target)))
    onlooker = stage.rests(axis, lanes[2])
    story.directions = {mover: direction, other: "nowhere", onlooker: "nowhere"}
    story.told.append((0, f"{the(mover)} moves {direction}"))
    if met:
        story.told.append((end, f"{the(mover)} meets {the(other)}"))
    story.meetings = [(mover, other, met), (mover, onlooker, False)]
    return stage.finish(story)


def _cut(universe: Universe, chance: random.Random) -> Story:
    """One or two cuts between still scenes."""
    cuts = chance.choice((1, 2))
    steps = [chance.randint(2, 6)] if cuts == 1 else [chance.choice((2, 3)), chance.choice((5, 6))]
    stills = [random_still(universe, chance) for _ in range(cuts + 1)]
    starts = [0.0, *(step - 0.5 for step in steps)]
    shots = tuple(still.shot(start) for still, start in zip(stills, starts, strict=True))
    cast = tuple(entity for still in stills for entity in still.entities)
    story = Story(shots, cast, stills[0], cuts=cuts, looks=("presence",))
    if cuts == 1:
        for half, still in zip(("before", "after"), stills, strict=True):
            story.halves |= dict.fromkeys(still.shapes, half)
    for start, still in zip(starts[1:], stills[1:], strict=True):
        listed = [_a(entity) for entity in still.shapes] or ["a scene without objects"]
        story.told.append((start, f"there is a cut to {_and(listed)}"))
    return story


def _resting(universe: Universe, chance: random.Random) -> Story:
    """A still scene that stays as it is."""
    still = random_still(universe, chance)
    return Story((still.shot(),), still.entities, still, rests=True)


class _Stage:
    """Puts things into lanes (thirds of the frame, across the axis along which things move) and keeps the cast."""

    def __init__(self, universe: Universe, chance: random.Random) -> None:
        self._universe, self._chance = universe, chance
        self.backdrop: Backdrop = random_backdrop(chance)
        self._colours = showing(self.backdrop)
        self.cast: list[Entity] = []

    def finish(self, story: Story) -> Story:
        """The story with its shot and cast; what arrives later is not there at first."""
        story.cast = tuple(self.cast)
        story.first = Still(self.backdrop, tuple(entity for entity in self.cast if entity not in story.arrivals))
        # What moves is drawn last and so lies above what it meets.
        ordered = sorted(self.cast, key=lambda entity: len(entity.thing.keys))
        story.shots = (Shot(self.backdrop, tuple(entity.thing for entity in ordered)),)
        return story

    def shape(self, *sizes: str, upright: bool = False) -> Entity:
        """A new thing whose shape and colour nothing else in the cast has."""
        for _ in range(50):
            pair = self._universe.pair(self._chance, self._colours)
            if all(pair[0] != other.colour and pair[1] != other.shape for other in self.cast):
                break
        size = self._chance.choice(sizes)
        thing = make_shape(self._chance, pair, height_of(self._chance, size))
        return Entity.of(replace(thing, angle=0.0) if upright else thing, size)

    def put(self, entity: Entity, axis: int, along: float, lane: int, *, exact: bool = False) -> Entity:
        """Places a thing in a lane and takes it into the cast."""
        across = (lane + 0.5) / 3 + (0.0 if exact else self._chance.uniform(-0.03, 0.03))
        # What is near the edge keeps all of itself inside.
        half = reach(entity.thing)[1 - axis]
        across = min(max(across, half + _EDGE), 1 - half - _EDGE)
        middle = (along, across) if axis == 0 else (across, along)
        placed = Entity.of(replace(entity.thing, keys=((0.0, *middle),)), entity.size)
        self.cast.append(placed)
        return placed

    def rests(self, axis: int, lane: int) -> Entity:
        """A thing at rest in a lane."""
        entity = self.shape("small", "medium")
        return self.put(entity, axis, clear_of_lines(self._chance, reach(entity.thing)[axis]), lane)

    def mover(self, direction: str, lane: int, distance: float, begin: int, end: int) -> Entity:
        """A thing that moves ``distance`` in a lane from step ``begin`` to ``end``."""
        axis, sign = DIRECTIONS[direction]
        entity = self.shape("small", "medium")
        half = reach(entity.thing)[axis]
        low, high = half + _EDGE, 1 - half - _EDGE - distance
        start = self._chance.uniform(low, high) if low < high else low
        if sign < 0:
            start = 1 - start
        entity = self.put(entity, axis, start, lane)
        target = (entity.x + sign * distance, entity.y) if axis == 0 else (entity.x, entity.y + sign * distance)
        return self.swap(entity, keys=((float(begin), entity.x, entity.y), (float(end), *target)))

    def appears(self, entity: Entity, step: int) -> Entity:
        """The thing there only from ``step`` on."""
        return self.swap(entity, span=(step - 0.5, float("inf")))

    def enters(self, entity: Entity, side: str, step: int) -> Entity:
        """The thing coming in from a side, to be seen first at ``step``."""
        outside = self._outside(entity, side)
        keys = ((step - 0.6, *outside), (step + 1.0, entity.x, entity.y))
        return self.swap(entity, keys=keys, span=(step - 0.6, float("inf")))

    def leaves(self, entity: Entity, side: str, step: int) -> Entity:
        """The thing leaving by a side after ``step``."""
        outside = self._outside(entity, side)
        keys = ((float(step), entity.x, entity.y), (step + 1.6, *outside))
        return self.swap(entity, keys=keys, span=(float("-inf"), step + 1.6))

    def other_colour(self, entity: Entity) -> str | None:
        """A colour that the thing may turn, and that nothing else has."""
        taken = {other.colour for other in self.cast}
        for _ in range(20):
            colour = self._chance.choice(self._colours)
            if colour not in taken and self._universe.allows(colour, entity.shape):
                return colour
        return None

    def writes(self, axis: int, lane: int, before: str, after: str, step: int) -> bool:
        """A number in a lane that changes at ``step``."""
        height = self._chance.uniform(0.14, 0.2)
        thing = make_writing(self._chance, self.backdrop, before, height)
        wide = max(reach(thing)[0], reach(replace(thing, texts=((0.0, after),)))[0]) + 0.4 * height
        if axis == 1 and wide > 1 / 6:
            # A lane that runs down is narrow.
            thing = replace(thing, height=height / wide / 6)
            wide = 1 / 6
        along = clear_of_lines(self._chance, wide if axis == 0 else height)
        thing = replace(thing, texts=((0.0, before), (step - 0.5, after)))
        self.put(Entity.of(thing), axis, along, lane, exact=True)
        return True

    def swap(self, entity: Entity, **changes: object) -> Entity:
        """The thing with something about it changed, in the place of the old one."""
        new = Entity(**{**vars(entity), "thing": replace(entity.thing, **changes)})  # type: ignore[arg-type]
        self.cast[self.cast.index(entity)] = new
        return new

    def _outside(self, entity: Entity, side: str) -> tuple[float, float]:
        axis, sign = DIRECTIONS[side]
        half = reach(entity.thing)[axis]
        edge = 0.5 + sign * (0.5 + half + 0.01)
        return (edge, entity.y) if axis == 0 else (entity.x, edge)


def the(entity: Entity) -> str:
    """A thing that was mentioned before."""
    return f"the {entity.noun}"


def _a(entity: Entity) -> str:
    return f"{'an' if entity.noun[0] in 'aeiou' else 'a'} {entity.noun}"


def _and(parts: list[str]) -> str:
    return ", ".join(parts[:-1]) + " and " + parts[-1] if len(parts) > 1 else parts[0]


_KINDS: tuple[Callable[[Universe, random.Random], Story], ...] = (_moving, _coming, _changing, _meeting, _cut, _resting)
_WEIGHTS = (0.2, 0.18, 0.16, 0.18, 0.1, 0.18)
