"""Unlimited pictures and clips with questions, captions and dense labels, each made from its split, seed and index."""

import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import accumulate
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from evals.synth.scenes.asking import Ask, Told, word
from evals.synth.scenes.augment import Wear
from evals.synth.scenes.backdrop import Pixels
from evals.synth.scenes.captions import caption, story_caption
from evals.synth.scenes.clip_questions import MAKERS as CLIP_MAKERS
from evals.synth.scenes.clip_questions import ClipQuestions
from evals.synth.scenes.courses import courses
from evals.synth.scenes.lessons import still_lessons, story_lessons
from evals.synth.scenes.pairs import plain_questions
from evals.synth.scenes.render import Labels, Painter
from evals.synth.scenes.sample import CLIP_FRAMES, PATCH, SIDE, Sample, Scale, Turn
from evals.synth.scenes.still_questions import FAR_MAKERS, NEAR_MAKERS, StillQuestions
from evals.synth.scenes.stills import Still, random_still, set_back
from evals.synth.scenes.stories import random_story
from evals.synth.scenes.vocabulary import CLASSES, Split, place_of, universe
from evals.synth.scenes.world import World

#: How often a question is sought for each that is wanted.
_SEARCHES = {"picture": 8, "clip": 24}

S = TypeVar("S")


class Scenes:
    """Samples of one split, without end; the same split, seed and index always give the same sample.

    Splits share no seed, and validation and test have pairs of colour and shape, numbers and words of their own that
    are neither shown nor spoken of in the others. Only training pictures are worn by noise and compression.

    Args:
        jumbled: whether half of the made-up words are any letters in any order, see `Universe`.
    """

    def __init__(self, split: Split, seed: int = 0, *, jumbled: bool = False) -> None:
        self._split, self._seed = split, seed
        self._universe = replace(universe(split), jumbled=jumbled)

    def picture(self, index: int, *, turns: int = 8, scale: Scale = "near", again: bool = False) -> Sample:
        """One picture with up to ``turns`` questions (fewer where little is shown).

        Args:
            again: whether the same may be asked in other words, for readers of one question at a time.
        """
        chance = self._chance("picture", index, scale)
        still = random_still(self._universe, chance)
        if scale == "near":
            world, text = World((still.shot(),)), caption(still)
        else:
            world, region = set_back(World((still.shot(),)), chance)
            text = caption(still, place_of((region[0] + region[2]) / 2, (region[1] + region[3]) / 2))
        asked = self._still_turns(still, chance, turns, scale, again=again)
        times = np.zeros(1)
        sample = _sample(world, times, text, asked, Wear(chance) if self._split == "train" else None)
        chance = self._chance("lessons of picture", index, scale)
        return _teaching(sample, still_lessons(still, chance) if scale == "near" else [], chance)

    def pairs(self, index: int) -> Sample:
        """The picture of that index, with all plain questions about its things by shape, by colour and by both."""
        still = random_still(self._universe, self._chance("picture", index, "near"))
        return replace(self.picture(index, turns=0), turns=tuple(plain_questions(still)))

    def clip(self, index: int, *, turns: int = 4, scale: Scale = "near", again: bool = False) -> Sample:
        """`CLIP_FRAMES` frames in which something happens, with up to ``turns`` questions.

        Args:
            again: as of `picture`. Whether there is a cut is then asked mostly where there is one.
        """
        chance = self._chance("clip", index, scale)
        story = random_story(self._universe, chance)
        if story.rests:
            asked = self._still_turns(story.first, chance, turns, scale, again=again)
        else:
            source, searches = ClipQuestions(story, self._universe), _SEARCHES["clip"]
            asked = _turns(source, CLIP_MAKERS, chance, turns, scale, searches, again=again)
        world = story.world if scale == "near" else set_back(story.world, chance)[0]
        steps = np.arange(CLIP_FRAMES, dtype=np.float64)
        wear = Wear(chance) if self._split == "train" else None
        sample = _sample(world, steps, story_caption(story), asked, wear, compared=scale == "near")
        # A story's clock counts frames; how long they last is left open.
        sample = replace(sample, times=steps * round(chance.uniform(0.25, 1.0), 2))
        chance = self._chance("lessons of clip", index, scale)
        return _teaching(sample, story_lessons(story, self._universe, chance) if scale == "near" else [], chance)

    def _still_turns(
        self, still: Still, chance: random.Random, turns: int, scale: Scale, *, again: bool
    ) -> tuple[Turn, ...]:
        makers = NEAR_MAKERS if scale == "near" else FAR_MAKERS
        source = StillQuestions(still, self._universe, placed=scale == "near")
        return _turns(source, makers, chance, turns, scale, _SEARCHES["picture"], again=again)

    def _chance(self, kind: str, index: int, scale: Scale) -> random.Random:
        return random.Random(f"{self._split} {self._seed} {kind} {scale} {index}")


def _turns(
    source: S,
    makers: Mapping[str, tuple[Callable[[S, random.Random], Ask | None], float]],
    chance: random.Random,
    count: int,
    scale: Scale,
    searches: int,
    *,
    again: bool,
) -> tuple[Turn, ...]:
    """Up to ``count`` turns of families drawn by weight; none is answered by an earlier one, or if the same is asked
    ``again``, none has the words of an earlier one."""
    # Its own stream, so that the picture does not depend on how much is asked about it.
    chance = random.Random(chance.getrandbits(64))
    functions, shares = zip(*makers.values(), strict=True)
    weights = list(accumulate(shares))
    told = Told()
    turns: list[Turn] = []
    for _ in range(count * searches):
        (function,) = chance.choices(functions, cum_weights=weights)
        ask = function(source, chance)
        if ask is None or (not again and told.gives_away(ask)):
            continue
        told.add(ask)
        turn = word(ask, chance, scale)
        if again and turn in turns:
            continue
        turns.append(turn)
        if len(turns) == count:
            break
    return tuple(turns)


def _teaching(sample: Sample, lessons: list[Ask], chance: random.Random) -> Sample:
    return replace(sample, lessons=tuple(word(ask, chance, "near") for ask in lessons))


def _sample(
    world: World,
    times: npt.NDArray[np.float64],
    text: str,
    turns: tuple[Turn, ...],
    wear: Wear | None,
    *,
    compared: bool = False,
) -> Sample:
    side = round(SIDE * wear.detour) if wear else SIDE
    painter = Painter(world, side, side)
    drawn = [painter.picture(float(time)) for time in times]
    frames: list[Pixels] = [wear.apply(picture, SIDE) for picture in drawn] if wear else drawn
    labeller = painter if side == SIDE else Painter(world, SIDE, SIDE)
    seen = [labeller.labels(float(time), PATCH) for time in times]
    labels = Labels(*(np.stack(kind) for kind in zip(*seen, strict=True)))
    told = courses(world, times.tolist(), labels.thing) if compared else {}
    dense = {kind: getattr(labels, kind) for kind in CLASSES}
    return Sample(frames=np.stack(frames), times=times, caption=text, turns=turns, courses=told, **dense)
