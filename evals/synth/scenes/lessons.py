"""Turns that only teach: what they ask has one answer for every frame, or for every thing, at once.

A question about motion has one word of truth in it, and whoever is wrong about that learns little of what to look at.
Where the thing is in each of eight frames is the same knowledge in eight words, and how far it has come by then is the
answer itself, seen coming.
"""

import math
import random
from collections.abc import Callable
from itertools import pairwise

from evals.synth.scenes.asking import YES_NO, Ask
from evals.synth.scenes.courses import DIRECTIONS, NOWHERE, PARTS, apart, way
from evals.synth.scenes.render import reach
from evals.synth.scenes.sample import CLIP_FRAMES
from evals.synth.scenes.still_questions import StillQuestions
from evals.synth.scenes.stills import Entity, Still
from evals.synth.scenes.stories import Story
from evals.synth.scenes.vocabulary import Universe, place_of

#: How far a thing reaches into the frame at least to be somewhere.
_SEEN = 0.03
#: How far apart, in a row, the middles of neighbours are at least.
_GAP = 0.06

StoryLesson = Callable[[Story, StillQuestions, random.Random], Ask | None]


def still_lessons(still: Still, chance: random.Random) -> list[Ask]:
    """All that a near still teaches, in random order."""
    rows = [_row(still, "row across", lambda entity: entity.x), _row(still, "row down", lambda entity: entity.y)]
    return _some(rows, chance)


def story_lessons(story: Story, universe: Universe, chance: random.Random) -> list[Ask]:
    """All that a story teaches, in random order."""
    if story.rests:
        return still_lessons(story.first, chance)
    questions = StillQuestions(Still(story.first.backdrop, story.cast), universe, placed=False)
    return _some([lesson(story, questions, chance) for lesson in _OF_STORIES], chance)


def _some(found: list[Ask | None], chance: random.Random) -> list[Ask]:
    asks = [ask for ask in found if ask is not None]
    chance.shuffle(asks)
    return asks


def _row(still: Still, wording: str, key: Callable[[Entity], float]) -> Ask | None:
    """The things in the order in which their middles come."""
    row = sorted(still.shapes, key=key)
    if len(row) < 2 or any(key(right) - key(left) < _GAP for left, right in pairwise(row)):
        return None
    return Ask("row", wording, {}, ", ".join(entity.noun for entity in row))


def _place(story: Story, questions: StillQuestions, chance: random.Random) -> Ask | None:
    """Where something is in each frame; rather something that moves, comes or goes."""
    found = _followed(story, questions, chance)
    if found is None:
        return None
    entity, ref = found
    return _course("place", {"ref": ref}, [_place_at(story, entity, step) for step in range(CLIP_FRAMES)])


def _column(story: Story, questions: StillQuestions, chance: random.Random) -> Ask | None:
    """In which column, or row, of the frame's patches something is in each frame."""
    found = _followed(story, questions, chance)
    if found is None:
        return None
    entity, ref = found
    axis = chance.randrange(2)
    if entity in story.directions and chance.random() < 0.8:
        # Rather along the way that things go.
        axis = next((DIRECTIONS[way][0] for way in story.directions.values() if way != NOWHERE), axis)
    values = [
        NOWHERE if (at := _middle_at(story, entity, step)) is None else str(min(int(at[axis] * PARTS), PARTS - 1) + 1)
        for step in range(CLIP_FRAMES)
    ]
    return _course("column" if axis == 0 else "row", {"ref": ref}, values)


def _motion(story: Story, questions: StillQuestions, chance: random.Random) -> Ask | None:
    """Which way something has moved by each frame."""
    found = _followed(story, questions, chance) if story.directions else None
    if found is None:
        return None
    entity, ref = found
    steps = [way(entity.thing.at(0), entity.thing.at(step)) for step in range(CLIP_FRAMES)]
    return _course("motion", {"ref": ref}, steps)


def _distance(story: Story, questions: StillQuestions, chance: random.Random) -> Ask | None:
    """How far two things move in all."""
    if len(story.directions) < 2:
        return None
    pair = chance.sample(list(story.directions), 2)
    ways = [(one.thing.at(0), one.thing.at(CLIP_FRAMES - 1)) for one in pair]
    return _compare("distance", questions.names(chance, *pair), [round(math.dist(*way) * PARTS) for way in ways])


def _gap(story: Story, questions: StillQuestions, chance: random.Random) -> Ask | None:
    """How far apart two things are in each frame; 0 if they touch."""
    pair = chance.sample(list(story.directions), 2) if len(story.directions) > 1 else None
    if story.meetings and chance.random() < 0.7:
        pair = list(chance.choice(story.meetings)[:2])
    if pair is None:
        return None
    one, other = pair
    slots = questions.names(chance, one, other)
    return _course("gap", slots, [str(apart(one.thing, other.thing, step)) for step in range(CLIP_FRAMES)])


def _when(story: Story, questions: StillQuestions, chance: random.Random) -> Ask | None:
    """In which frames, counted from 1, two things are seen first, or change."""
    if story.changes:
        if len(story.changes) < 2:
            return None
        pair = chance.sample(list(story.changes), 2)
        slots = {"ref": pair[0].shape, "other": pair[1].shape}
        return _compare("when change", slots, [story.changes[entity][0] + 1 for entity in pair])
    if not story.arrivals or len(story.cast) < 2:
        return None
    pair = chance.sample([entity for entity in story.cast if entity.shape], 2)
    steps = [next(step for step in range(CLIP_FRAMES) if _middle_at(story, entity, step)) for entity in pair]
    return _compare("when", questions.names(chance, *pair), [step + 1 for step in steps])


def _colour(story: Story, questions: StillQuestions, chance: random.Random) -> Ask | None:
    """The colour of something in each frame where colours change."""
    if not story.changes:
        return None
    shapes = [entity for entity in story.cast if entity.shape]
    entity = chance.choice(list(story.changes) if chance.random() < 0.75 else shapes)
    colours = [entity.thing.colour_at(step) for step in range(CLIP_FRAMES)]
    return _course("colour", {"ref": entity.shape}, colours, questions.universe.unheard(entity.shape))


def _number(story: Story, _: StillQuestions, __: random.Random) -> Ask | None:
    """The number in each frame."""
    writing = story.first.writing("number") if story.numbers else None
    return _course("number", {}, [writing.text_at(step) for step in range(CLIP_FRAMES)]) if writing else None


def _meeting(story: Story, questions: StillQuestions, chance: random.Random) -> Ask | None:
    """Whether two things touch in each frame."""
    if not story.meetings:
        return None
    one, other, _ = chance.choice(story.meetings)
    if chance.random() < 0.5:
        one, other = other, one
    slots = questions.names(chance, one, other)
    return _course("meeting", slots, [YES_NO[apart(one.thing, other.thing, step) > 0] for step in range(CLIP_FRAMES)])


def _scene(story: Story, _: StillQuestions, __: random.Random) -> Ask | None:
    """Which scene each frame shows, counted from 1."""
    if not story.cuts:
        return None
    return _course("scene", {}, [str(sum(shot.start <= step for shot in story.shots)) for step in range(CLIP_FRAMES)])


def _course(kind: str, slots: dict[str, str] | None, values: list[str], forgiven: tuple[str, ...] = ()) -> Ask | None:
    """What is so in each frame; nothing where there are no words for what it is about."""
    return None if slots is None else Ask("course", f"course {kind}", slots, ", ".join(values), forgiven=forgiven)


def _compare(wording: str, slots: dict[str, str] | None, values: list[int]) -> Ask | None:
    """A number for each of two things, likewise."""
    return None if slots is None else Ask("compare", wording, slots, ", ".join(map(str, values)))


def _followed(story: Story, questions: StillQuestions, chance: random.Random) -> tuple[Entity, str] | None:
    """A thing and what it is called; rather one that moves, comes or goes, and none whose name a change would tell."""
    shapes = [entity for entity in story.cast if entity.shape]
    if story.changes or not shapes:
        return None
    going = [entity for entity in shapes if not entity.thing.rests]
    entity = chance.choice(going if going and chance.random() < 0.85 else shapes)
    found = questions.refer(chance, entity, "name")
    return (entity, found[0]) if found else None


def _place_at(story: Story, entity: Entity, step: int) -> str:
    middle = _middle_at(story, entity, step)
    return NOWHERE if middle is None else place_of(*middle)


def _middle_at(story: Story, entity: Entity, step: int) -> tuple[float, float] | None:
    """Where the middle of a thing is, brought into the frame; None if nothing of it is there."""
    thing = entity.thing
    shown = any(other is thing for other in story.world.shot_at(step).things)
    middle, half = thing.at(step), reach(thing)
    inside = all(_SEEN - own < at < 1 + own - _SEEN for at, own in zip(middle, half, strict=True))
    if not (shown and thing.there(step) and inside):
        return None
    x, y = (min(max(at, 0.0), 1.0) for at in middle)
    return x, y


_OF_STORIES: tuple[StoryLesson, ...] = (
    *(_place, _column, _motion, _distance, _gap, _when),
    *(_colour, _number, _meeting, _scene),
)
