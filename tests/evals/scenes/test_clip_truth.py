"""What is asked of a clip is answered anew from its dense labels and its caption."""

import random
import re

import cv2
import numpy as np
import pytest

from evals.synth.scenes import CLASSES, CLIP_FRAMES, Sample, Scenes, Turn
from evals.synth.scenes.render import Painter
from evals.synth.scenes.stories import random_story
from evals.synth.scenes.vocabulary import COLOURS, PLACES, SHAPES, universe
from evals.synth.scenes.world import Backdrop, Shot, World

PLAIN = Backdrop("plain", ((90, 90, 90), (90, 90, 90)))

_NAME = re.compile(rf"(?:{'|'.join(COLOURS)}) (?:object|{'|'.join(SHAPES)})|(?:{'|'.join(SHAPES)})\b")


@pytest.fixture(scope="module")
def clips() -> list[Sample]:
    return [Scenes("test", 6).clip(index) for index in range(300)]


def _turns(clips: list[Sample], *families: str) -> list[tuple[Sample, Turn]]:
    return [(sample, turn) for sample in clips for turn in sample.turns if turn.family in families]


def _patches(sample: Sample, name: str) -> list[np.ndarray]:
    """In each frame, the patches ``(y, x)`` of what a name fits."""
    words = [word for word in name.split() if word != "object"]
    fits = np.ones_like(sample.colour, dtype=bool)
    for word in words:
        kind = "colour" if word in COLOURS else "shape"
        fits &= getattr(sample, kind) == CLASSES[kind].index(word)
    fits &= sample.shape != CLASSES["shape"].index("text")
    return [np.argwhere(frame) for frame in fits]


def _first_seen(sample: Sample, name: str) -> int:
    return next((step for step, found in enumerate(_patches(sample, name)) if len(found)), CLIP_FRAMES)


def test_directions(clips: list[Sample]) -> None:
    checked = 0
    for sample, turn in _turns(clips, "motion"):
        said, found = turn.answer, _patches(sample, _NAME.search(turn.question.split("A.")[0])[0])  # type: ignore[index]
        if said not in ("left", "right", "up", "down", "nowhere") or not re.search(
            r"move|way does|direction", turn.question
        ):
            continue
        (y0, x0), (y1, x1) = found[0].mean(axis=0), found[-1].mean(axis=0)
        shift = {"left": x0 - x1, "right": x1 - x0, "up": y0 - y1, "down": y1 - y0}
        if said == "nowhere":
            # Another thing that passes in front may take a patch away.
            assert max(shift.values()) < 0.8
        else:
            assert shift[said] == max(shift.values()) > 0.5, (sample.caption, turn)
        checked += 1
    assert checked > 50


def test_whether_something_moves(clips: list[Sample]) -> None:
    checked = 0
    for sample, turn in _turns(clips, "motion"):
        if turn.answer not in ("yes", "no"):
            continue
        found = _patches(sample, _NAME.search(turn.question)[0])  # type: ignore[index]
        shift = np.abs(found[0].mean(axis=0) - found[-1].mean(axis=0)).max()
        # Another thing that passes in front may take a patch away.
        assert (shift > 0.8) == (turn.answer == "yes"), (sample.caption, turn, shift)
        checked += 1
    assert checked > 40


def test_places_at_the_beginning_and_at_the_end(clips: list[Sample]) -> None:
    checked = 0
    for sample, turn in _turns(clips, "position"):
        step = 0 if re.search(r"start|first|begin", turn.question) else -1
        y, x = (_patches(sample, _NAME.search(turn.question)[0])[step].mean(axis=0) + 0.5) / 8  # type: ignore[index]
        row, column = divmod(PLACES.index(turn.answer), 3)
        # The middle of the patches is not quite that of the thing.
        assert abs(x * 3 - column - 0.5) < 0.75, (sample.caption, turn)
        assert abs(y * 3 - row - 0.5) < 0.75, (sample.caption, turn)
        checked += 1
    assert checked > 40


def test_order_is_the_order_in_which_things_are_seen(clips: list[Sample]) -> None:
    checked = 0
    for sample, turn in _turns(clips, "order"):
        if "chang" in turn.question or "colour" in turn.question:
            continue
        one, other = _NAME.findall(turn.question)
        first, second = _first_seen(sample, one), _first_seen(sample, other)
        assert first != second
        earlier = one if first < second else other
        assert turn.answer == {True: "yes", False: "no"}.get(first < second) or turn.answer == earlier
        checked += 1
    assert checked > 30


def test_changes(clips: list[Sample]) -> None:
    checked = 0
    for sample, turn in _turns(clips, "change"):
        name = _NAME.search(turn.question)
        if name is None:
            assert re.search(rf"the number turns {turn.answer}\b", sample.caption)
            continue
        shape = CLASSES["shape"].index(name[0])
        colours = [
            {CLASSES["colour"][colour] for colour in np.unique(colour[shaped == shape])}
            for colour, shaped in zip(sample.colour, sample.shape, strict=True)
        ]
        assert all(len(found) == 1 for found in (colours[0], colours[1], colours[-1]))
        if turn.answer in ("yes", "no"):
            assert (colours[0] != colours[-1]) == (turn.answer == "yes")
        else:
            assert {turn.answer} in (colours[0], colours[-1])
            assert colours[0] != colours[-1]
            late = re.search(r"become|turn|end|after|Into", turn.question)
            assert {turn.answer} == colours[-1 if late else 0], turn
        checked += 1
    assert checked > 40


def test_meetings(clips: list[Sample]) -> None:
    checked = 0
    for sample, turn in _turns(clips, "meeting"):
        names = _NAME.findall(re.split(r" (?:Options:|Choose:|A[.)]) ", turn.question)[0])
        if turn.answer not in ("yes", "no"):
            names.append(turn.answer)
        one, other = (_patches(sample, name)[-1] for name in names[:2])
        apart = np.abs(one[:, None] - other[None]).max(axis=-1).min()
        if turn.answer == "no":
            assert apart >= 1, (sample.caption, turn)
            assert not _met(sample, *names)
        else:
            assert apart <= 2, (sample.caption, turn)
            assert _met(sample, *names)
        checked += 1
    assert checked > 30


def test_things_that_meet_touch_and_others_stay_well_apart() -> None:
    checked = {True: 0, False: 0}
    for seed in range(120):
        story = random_story(universe("train"), random.Random(seed))
        for one, other, met in story.meetings:
            masks = [
                Painter(World((Shot(PLAIN, (entity.thing,)),)), 224, 224).picture(7.0).astype(int)
                for entity in (one, other)
            ]
            first, second = (np.abs(mask - 90).max(axis=-1) > 60 for mask in masks)
            away = cv2.distanceTransform((~first).astype(np.uint8), cv2.DIST_L2, 5)
            gap = away[second].min()
            assert (gap <= 4) if met else (gap >= 12), (seed, met, gap)
            checked[met] += 1
    assert min(checked.values()) > 10


def _met(sample: Sample, one: str, other: str) -> bool:
    """Whether the caption says that two things meet."""
    told = re.search(r"the (\w+ \w+) meets the (\w+ \w+)", sample.caption)
    if told is None:
        return False
    names = [[word for word in name.split() if word != "object"] for name in (one, other)]
    return any(
        all(word in first for word in names[0]) and all(word in second for word in names[1])
        for first, second in (told.groups(), told.groups()[::-1])
    )


def test_cuts_are_where_the_whole_picture_changes(clips: list[Sample]) -> None:
    checked = 0
    for sample, turn in _turns(clips, "cut"):
        steps = np.abs(np.diff(sample.frames.astype(int), axis=0)).max(axis=-1)
        cuts = [index + 1 for index, step in enumerate(steps) if (step > 3).mean() > 0.5]
        if turn.answer in ("before", "after"):
            assert len(cuts) == 1
            name = _NAME.search(turn.question)[0]  # type: ignore[index]
            assert (_first_seen(sample, name) < cuts[0]) == (turn.answer == "before")
        elif turn.answer in ("yes", "no"):
            assert bool(cuts) == (turn.answer == "yes")
        else:
            assert str(len(cuts)) == turn.answer
        checked += 1
    assert checked > 30


def test_speeds(clips: list[Sample]) -> None:
    checked = 0
    for sample, turn in _turns(clips, "speed"):
        names = _NAME.findall(turn.question)
        ways = []
        for name in names:
            found = _patches(sample, name)
            ways.append(np.abs(found[0].mean(axis=0) - found[-1].mean(axis=0)).max())
        assert turn.answer == names[int(np.argmax(ways))]
        checked += 1
    assert checked > 20


def test_captions_tell_the_first_frame_and_then_what_happens(clips: list[Sample]) -> None:
    for sample in clips:
        first, then = sample.caption.split("; then ")
        assert then
        for colour, shape in re.findall(rf"({'|'.join(COLOURS)}) ({'|'.join(SHAPES)})", first):
            assert len(_patches(sample, f"{colour} {shape}")[0]), sample.caption
