"""What has become of each thing since a clip began, as labels of the patches that show it.

A question about motion has one word of truth in it. Which way a thing has come by now is known for every patch of it in
every frame, so that whoever learns to compare frames learns it some hundred times a clip.
"""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from evals.synth.scenes.render import reach
from evals.synth.scenes.vocabulary import COURSES
from evals.synth.scenes.world import Shot, Thing, World

#: Directions as (axis, sign).
DIRECTIONS = {"left": (0, -1), "right": (0, 1), "up": (1, -1), "down": (1, 1)}
#: What is said of a thing that has not moved, or that is outside the frame.
NOWHERE = "nowhere"
#: Lengths are told in eighths of the frame, which are its patches.
PARTS = 8
#: How far from where it was first a thing has moved.
_MOVED = 0.07

Point = tuple[float, float]


def courses(world: World, times: Sequence[float], things: npt.NDArray[np.int64]) -> dict[str, npt.NDArray[np.int64]]:
    """Classes ``[T, 8, 8]`` of each kind of `COURSES`.

    Args:
        things: ``[T, 8, 8]``, which thing of its frame's shot a patch shows, counted from 1; 0 for none.
    """
    found = {kind: np.zeros_like(things) for kind in COURSES}
    first: dict[Thing, float] = {}
    for step, (time, shown) in enumerate(zip(times, things, strict=True)):
        shot = world.shot_at(time)
        found["scene"][step] = _class("scene", str(world.shots.index(shot) + 1))
        for number in np.unique(shown[shown > 0]).tolist():
            thing = shot.things[number - 1]
            begun = first.setdefault(thing, time)
            facts = {
                "way": way(thing.at(begun), thing.at(time)),
                "distance": str(min(round(math.dist(thing.at(begun), thing.at(time)) * PARTS), PARTS)),
                "since": str(list(times).index(begun) + 1),
                "origin": thing.colour_at(begun) if thing.colour_at(begun) != thing.colour_at(time) else "",
                "touch": "yes" if _touches(thing, shot, time) else "no",
            }
            for kind, name in facts.items():
                found[kind][step][shown == number] = _class(kind, name)
    return found


def _class(kind: str, name: str) -> int:
    names = COURSES[kind]
    return names.index(name) if name in names else 0


def way(start: Point, end: Point) -> str:
    """The direction from one point to another."""
    gaps = [there - here for here, there in zip(start, end, strict=True)]
    axis = int(abs(gaps[1]) > abs(gaps[0]))
    if abs(gaps[axis]) < _MOVED:
        return NOWHERE
    return next(way for way, (along, sign) in DIRECTIONS.items() if along == axis and sign * gaps[axis] > 0)


def apart(one: Thing, other: Thing, time: float) -> int:
    """The larger gap between the boxes of two things across and down, in parts of the frame begun; 0 if they touch."""
    pairs = zip(one.at(time), other.at(time), reach(one), reach(other), strict=True)
    gap = max(abs(here - there) - own - theirs for here, there, own, theirs in pairs)
    return max(0, math.ceil(gap * PARTS))


def _touches(thing: Thing, shot: Shot, time: float) -> bool:
    others = (other for other in shot.things if other is not thing and other.there(time))
    return any(apart(thing, other, time) == 0 for other in others)
