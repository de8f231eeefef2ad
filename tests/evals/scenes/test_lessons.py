"""What lessons tell of every frame, or of every thing, is found again in the dense labels."""

import re
from itertools import pairwise

import numpy as np
import pytest

from evals.synth.scenes import CLASSES, CLIP_FRAMES, Sample, Scenes, Turn
from evals.synth.scenes.lessons import NOWHERE
from evals.synth.scenes.stories import DIRECTIONS
from evals.synth.scenes.vocabulary import COLOURS, PLACES, SHAPES
from evals.synth.scenes.wordings import WORDINGS

NAME = re.compile(rf"(?:{'|'.join(COLOURS)}) (?:object|{'|'.join(SHAPES)})|(?:{'|'.join(SHAPES)})\b")


@pytest.fixture(scope="module")
def clips() -> list[Sample]:
    return [Scenes("test", 3).clip(index) for index in range(120)]


def _lessons(samples: list[Sample], kind: str) -> list[tuple[Sample, Turn, list[str]]]:
    named = {"ref": f"(?:{NAME.pattern})", "other": f"(?:{NAME.pattern})"}
    forms = [re.escape(form).replace(r"\{", "{").replace(r"\}", "}").format(**named) for form in WORDINGS[kind]]
    found = [(sample, turn) for sample in samples for turn in sample.lessons]
    return [
        (sample, turn, turn.answer.split(", "))
        for sample, turn in found
        if any(re.fullmatch(form, turn.question) for form in forms)
    ]


def _mask(sample: Sample, name: str) -> np.ndarray:
    """``[T, 8, 8]``, the patches of what a name fits."""
    fits = sample.shape != CLASSES["shape"].index("text")
    for word in name.split():
        if word != "object":
            kind = "colour" if word in COLOURS else "shape"
            fits &= getattr(sample, kind) == CLASSES[kind].index(word)
    return fits


def _middles(mask: np.ndarray) -> np.ndarray:
    """``[T, 2]``, row and column of the middle of what a mask shows in each frame."""
    return np.stack([np.argwhere(patches).mean(0) for patches in mask])


def test_where_something_is_in_each_frame(clips: list[Sample]) -> None:
    checked = 0
    for sample, turn, places in _lessons(clips, "course place"):
        assert len(places) == CLIP_FRAMES
        mask = _mask(sample, NAME.search(turn.question)[0])  # type: ignore[index]
        for place, patches in zip(places, mask, strict=True):
            if place == NOWHERE:
                assert not patches.any(), (sample.caption, turn)
            elif patches.any():
                y, x = (np.argwhere(patches).mean(axis=0) + 0.5) / 8
                row, column = divmod(PLACES.index(place), 3)
                # The middle of the patches is not quite that of the thing, less so where a part of it is outside.
                assert max(abs(x * 3 - column - 0.5), abs(y * 3 - row - 0.5)) < 0.85, (sample.caption, turn)
                checked += 1
    assert checked > 300


@pytest.mark.parametrize(("wording", "axis"), [("course column", 1), ("course row", 0)])
def test_how_far_something_is_in_each_frame(clips: list[Sample], wording: str, axis: int) -> None:
    checked = 0
    for sample, turn, steps in _lessons(clips, wording):
        mask = _mask(sample, NAME.search(turn.question)[0])  # type: ignore[index]
        for step, patches in zip(steps, mask, strict=True):
            if step == NOWHERE:
                assert not patches.any(), (sample.caption, turn)
            elif patches.any():
                # Less sure where a part of it is outside.
                assert abs(np.argwhere(patches)[:, axis].mean() + 1 - int(step)) < 2.1, (sample.caption, turn)
                checked += 1
    assert checked > 100


def test_which_way_something_has_moved(clips: list[Sample]) -> None:
    found = _lessons(clips, "course motion")
    for sample, turn, ways in found:
        middles = _middles(_mask(sample, NAME.search(turn.question)[0]))  # type: ignore[index]
        assert ways[0] == NOWHERE
        for way, middle in zip(ways, middles, strict=True):
            gap = middle - middles[0]
            if way == NOWHERE:
                assert np.abs(gap).max() < 1.2, (sample.caption, turn)
            else:
                axis, sign = DIRECTIONS[way]
                # Rows come first; less than a patch may not show.
                assert gap[1 - axis] * sign >= 0, (sample.caption, turn)
        if ways[-1] != NOWHERE:
            assert np.abs(middles[-1] - middles[0]).max() > 0.4, (sample.caption, turn)
    assert len({way for _, _, ways in found for way in ways}) == 5


def test_how_far_two_things_move(clips: list[Sample]) -> None:
    found = _lessons(clips, "distance")
    for sample, turn, lengths in found:
        for name, length in zip(NAME.findall(turn.question), lengths, strict=True):
            middles = _middles(_mask(sample, name))
            assert abs(np.hypot(*(middles[-1] - middles[0])) - int(length)) < 1.2, (sample.caption, turn)
    assert len(found) > 20


def test_how_far_apart_two_things_are(clips: list[Sample]) -> None:
    found = _lessons(clips, "course gap")
    for sample, turn, gaps in found:
        masks = [_mask(sample, name) for name in NAME.findall(turn.question)]
        for said, one, other in zip(gaps, *masks, strict=True):
            if one.any() and other.any():
                boxes = [(np.argwhere(mask).min(0), np.argwhere(mask).max(0)) for mask in (one, other)]
                apart = max((boxes[0][0] - boxes[1][1]).max(), (boxes[1][0] - boxes[0][1]).max()) - 1
                # Patches at the edges are covered in part.
                assert -1 <= int(said) - max(apart, 0) <= 2, (sample.caption, turn)
    assert {"0", "1", "2", "3"} <= {said for _, _, gaps in found for said in gaps}


def test_when_two_things_are_seen_first(clips: list[Sample]) -> None:
    found = _lessons(clips, "when")
    for sample, turn, numbers in found:
        for name, number in zip(NAME.findall(turn.question), numbers, strict=True):
            there = _mask(sample, name).any((1, 2))
            # A sliver of it may not yet be what most of a patch shows.
            assert there.argmax() - (int(number) - 1) in (0, 1), (sample.caption, turn)
    assert len(found) > 5


def test_when_two_things_change() -> None:
    found = _lessons([Scenes("test", 3).clip(index) for index in range(400)], "when change")
    for sample, turn, numbers in found:
        for name, number in zip(NAME.findall(turn.question), numbers, strict=True):
            colours = [set(labels[mask]) for labels, mask in zip(sample.colour, _mask(sample, name), strict=True)]
            assert next(step for step in range(CLIP_FRAMES) if colours[step] != colours[0]) == int(number) - 1
    assert len(found) > 5


def test_colours_of_each_frame(clips: list[Sample]) -> None:
    found = _lessons(clips, "course colour")
    for sample, turn, colours in found:
        shape = sample.shape == CLASSES["shape"].index(NAME.search(turn.question)[0])  # type: ignore[index]
        for colour, labels, here in zip(colours, sample.colour, shape, strict=True):
            assert {CLASSES["colour"][label] for label in labels[here]} == {colour}
    assert len(found) > 10
    assert any(len(set(colours)) == 2 for _, _, colours in found)


def test_numbers_of_each_frame(clips: list[Sample]) -> None:
    found = _lessons(clips, "course number")
    for sample, _, numbers in found:
        for number, glyphs in zip(numbers, sample.glyph, strict=True):
            assert {CLASSES["glyph"][label] for label in np.unique(glyphs)} - {"none"} <= set(number)
    assert len(found) > 3


def test_scenes_of_each_frame(clips: list[Sample]) -> None:
    found = _lessons(clips, "course scene")
    for sample, _, scenes in found:
        numbers = [int(scene) for scene in scenes]
        assert numbers[0] == 1
        for (before, after), (left, right) in zip(pairwise(numbers), pairwise(sample.frames.astype(int)), strict=True):
            # Nothing moves within a scene.
            assert (after > before) == bool(np.abs(left - right).mean() > 1)
    assert len(found) > 3


def test_touching_in_each_frame(clips: list[Sample]) -> None:
    found = _lessons(clips, "course meeting")
    for sample, turn, touching in found:
        masks = [_mask(sample, name) for name in NAME.findall(turn.question)]
        assert len(masks) == 2
        if "yes" in touching:
            # Once they touch they stay together, and the sample says so.
            assert touching[touching.index("yes") :] == ["yes"] * touching.count("yes")
            assert " meets " in sample.caption
        for said, one, other in zip(touching, *masks, strict=True):
            if not (one.any() and other.any()):
                continue
            gaps = np.abs(np.argwhere(one)[:, None] - np.argwhere(other)[None]).max(-1)
            assert (gaps.min() <= 2) if said == "yes" else True, (sample.caption, turn)
    assert {"yes", "no"} <= {said for _, _, touching in found for said in touching}


@pytest.mark.parametrize(("wording", "axis"), [("row across", 1), ("row down", 0)])
def test_things_in_a_row(wording: str, axis: int) -> None:
    pictures = [Scenes("test", 3).picture(index) for index in range(80)]
    found = _lessons(pictures, wording)
    for sample, turn, names in found:
        middles = [np.argwhere(_mask(sample, name)[0])[:, axis].mean() for name in dict.fromkeys(names)]
        if len(middles) == len(names):
            # A middle of patches is half a patch off at most.
            assert all(right - left > -0.6 for left, right in pairwise(middles)), (sample.caption, turn)
    assert len(found) > 20


def test_lessons_are_apart_from_what_is_asked(clips: list[Sample]) -> None:
    scenes = Scenes("test", 3)
    taught = {turn.family for sample in clips for turn in sample.lessons}
    assert taught == {"course", "compare", "row"}
    assert taught.isdisjoint(turn.family for sample in clips for turn in sample.turns)
    assert scenes.clip(5).lessons == clips[5].lessons == scenes.clip(5, turns=1).lessons
    assert not scenes.clip(5, scale="far").lessons
    assert not scenes.picture(5, scale="far").lessons
