"""What lessons tell of every frame, or of every thing, is found again in the dense labels."""

import re
from itertools import pairwise

import numpy as np
import pytest

from evals.synth.scenes import CLASSES, CLIP_FRAMES, Sample, Scenes, Turn
from evals.synth.scenes.lessons import NOWHERE
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
    assert all(turn.family in ("course", "row") for sample in clips for turn in sample.lessons)
    assert not any(turn.family in ("course", "row") for sample in clips for turn in sample.turns)
    assert scenes.clip(5).lessons == clips[5].lessons == scenes.clip(5, turns=1).lessons
    assert not scenes.clip(5, scale="far").lessons
    assert not scenes.picture(5, scale="far").lessons
