"""Colours and shapes that are swapped, and what can still be asked then."""

import re

import numpy as np

from evals.synth.scenes import CLASSES, Scenes
from evals.synth.scenes.vocabulary import CLASS_OF
from training.nano.swaps import KINDS, swap


def test_what_is_swapped_is_not_spoken_of() -> None:
    scenes, chance = Scenes("train"), np.random.default_rng(0)
    came, left_out = {"colour": 0, "shape": 0}, 0
    for index in range(120):
        sample = scenes.clip(index) if index % 3 == 0 else scenes.picture(index)
        swaps, left = swap(sample, sample.turns, chance)
        text = " ".join(f"{turn.question} {turn.answer}" for turn in left)
        assert set(left) <= set(sample.turns)
        left_out += len(left) < len(sample.turns)
        changed = {kind: np.flatnonzero(table != np.arange(len(table))) for kind, table in swaps.items()}
        assert not all(map(len, changed.values()))
        assert left or not sample.turns
        for kind, classes in changed.items():
            came[kind] += bool(len(classes))
            assert set(classes) <= set(np.unique(getattr(sample, kind)))
            for name in (CLASSES[kind][one] for one in (*classes, *swaps[kind][classes])):
                assert name in KINDS[kind]
                assert not re.search(rf"\b{name}s?\b", text), (name, text)
    assert min(came.values()) > 25
    assert left_out > 60
    assert sum(came.values()) > 80


def test_what_changes_its_colour_keeps_it() -> None:
    scenes, chance = Scenes("train"), np.random.default_rng(0)
    clips = [clip for clip in map(scenes.clip, range(150)) if clip.courses["origin"].any()]
    assert len(clips) > 10
    for clip in clips:
        swaps, _ = swap(clip, (), chance)
        assert (swaps["colour"] == np.arange(len(CLASSES["colour"]))).all()
        there = set(np.unique(clip.shape)) & {CLASS_OF["shape"][shape] for shape in KINDS["shape"]}
        assert bool(there) == (swaps["shape"] != np.arange(len(CLASSES["shape"]))).any()
