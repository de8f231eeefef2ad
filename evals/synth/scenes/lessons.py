"""Turns that only teach: what they ask has one answer for every frame, or for every thing, at once.

A question about motion has one word of truth in it, and whoever is wrong about that learns little of what to look at.
Where the thing is in each of eight frames is the same knowledge in eight words.
"""

import random
from collections.abc import Callable
from itertools import pairwise

from evals.synth.scenes.asking import YES_NO, Ask
from evals.synth.scenes.render import reach
from evals.synth.scenes.sample import CLIP_FRAMES
from evals.synth.scenes.still_questions import StillQuestions
from evals.synth.scenes.stills import Entity, Still
from evals.synth.scenes.stories import Story
from evals.synth.scenes.vocabulary import Universe, place_of

#: What is said of a thing that is outside the frame, or not there yet.
NOWHERE = "nowhere"
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
    if story.changes or not story.cast:
        return None
    shapes = [entity for entity in story.cast if entity.shape]
    going = [entity for entity in shapes if not entity.thing.rests]
    entity = chance.choice(going if going and chance.random() < 0.85 else shapes) if shapes else None
    found = questions.refer(chance, entity, "name") if entity is not None else None
    if entity is None or found is None:
        return None
    return _course("place", {"ref": found[0]}, [_place_at(story, entity, step) for step in range(CLIP_FRAMES)])


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
    found = [questions.refer(chance, entity, "name") for entity in (one, other)]
    if found[0] is None or found[1] is None:
        return None
    slots = {"ref": found[0][0], "other": found[1][0]}
    return _course("meeting", slots, [YES_NO[not _touch(one, other, step)] for step in range(CLIP_FRAMES)])


def _scene(story: Story, _: StillQuestions, __: random.Random) -> Ask | None:
    """Which scene each frame shows, counted from 1."""
    if not story.cuts:
        return None
    return _course("scene", {}, [str(sum(shot.start <= step for shot in story.shots)) for step in range(CLIP_FRAMES)])


def _course(kind: str, slots: dict[str, str], values: list[str], unheard: tuple[str, ...] = ()) -> Ask:
    return Ask("course", f"course {kind}", slots, ", ".join(values), unheard=unheard)


def _place_at(story: Story, entity: Entity, step: int) -> str:
    thing = entity.thing
    shown = any(other is thing for other in story.world.shot_at(step).things)
    middle, half = thing.at(step), reach(thing)
    inside = all(_SEEN - own < at < 1 + own - _SEEN for at, own in zip(middle, half, strict=True))
    if not (shown and thing.there(step) and inside):
        return NOWHERE
    x, y = (min(max(at, 0.0), 1.0) for at in middle)
    return place_of(x, y)


def _touch(one: Entity, other: Entity, step: float) -> bool:
    """Whether the boxes of two things overlap."""
    pairs = zip(one.thing.at(step), other.thing.at(step), reach(one.thing), reach(other.thing), strict=True)
    return all(abs(here - there) < own + theirs for here, there, own, theirs in pairs)


# Where things are is told of two of them.
_OF_STORIES: tuple[StoryLesson, ...] = (_place, _place, _colour, _number, _meeting, _scene)
