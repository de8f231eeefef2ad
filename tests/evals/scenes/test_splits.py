"""Splits have combinations of their own, and neither show nor mention those of the others."""

import random
import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import product

import pytest

from evals.synth.scenes import SPLITS, Sample, Scenes, Split
from evals.synth.scenes.vocabulary import COLOURS, SHAPES, pair_split, text_split, universe

_PAIR = re.compile(rf"\b({'|'.join(COLOURS)}) ({'|'.join(SHAPES)})s?(?:es)?\b")
_TEXT = re.compile(r"\b([A-Z]{2,5}|\d{2,3})\b")


def _samples(split: Split, *, jumbled: bool = False) -> Iterator[Sample]:
    scenes = Scenes(split, jumbled=jumbled)
    yield from (scenes.picture(index) for index in range(150))
    yield from (scenes.clip(index) for index in range(40))


def _texts(sample: Sample) -> Iterator[str]:
    yield sample.caption
    for turn in sample.turns:
        yield turn.question
        yield turn.answer


def test_each_colour_and_each_shape_has_one_pair_of_its_own_in_validation_and_in_test() -> None:
    for split in ("validation", "test"):
        own = [pair for pair in product(COLOURS, SHAPES) if pair_split(*pair) == split]
        assert sorted(colour for colour, _ in own) == sorted(COLOURS)
        assert sorted(shape for _, shape in own) == sorted(SHAPES)
        assert len([number for number in range(10, 100) if text_split(str(number)) == split]) == 9


@pytest.mark.parametrize("jumbled", [False, True])
@pytest.mark.parametrize("split", SPLITS)
def test_nothing_of_another_split_is_shown_or_mentioned(split: Split, jumbled: bool) -> None:
    pairs, texts = set(), set()
    for sample in _samples(split, jumbled=jumbled):
        for text in _texts(sample):
            pairs |= set(_PAIR.findall(text))
            texts |= set(_TEXT.findall(text.replace("(", " ").replace(")", " ")))
    assert {pair_split(*pair) for pair in pairs} == {"train", split}
    assert {text_split(text) for text in texts if len(text) > 1} == {"train", split}
    assert set(universe(split).own) <= pairs


def test_splits_share_no_seed() -> None:
    frames = [Scenes(split).picture(0).frames.tobytes() for split in SPLITS]
    assert len(set(frames)) == 3
    assert Scenes("train", 0).picture(0).caption != Scenes("train", 1).picture(0).caption


def test_a_universe_without_a_pair_never_draws_it() -> None:
    whole = universe("test")
    some = whole.without(whole.own[:5] + whole.shared[::3])
    chance = random.Random(1)
    drawn = {some.pair(chance) for _ in range(2000)}
    assert drawn == {*some.own, *some.shared}
    assert not some.allows(*whole.own[0])
    only_red = {some.pair(chance, ["red"]) for _ in range(300)}
    assert {colour for colour, _ in only_red} <= {"red"}


@pytest.mark.parametrize("jumbled", [False, True])
def test_vowels_stand_together_in_jumbled_words(jumbled: bool) -> None:
    whole, chance = universe("train"), random.Random(2)
    some = replace(whole, jumbled=jumbled).without(whole.shared[::3])
    words = {some.word(chance) for _ in range(3000)}
    assert all(re.fullmatch("[A-Z]{2,5}", word) for word in words)
    # Real words have them too.
    together = {word for word in words if re.search("[AEIOU]{2}", word)}
    assert (len(together) > len(words) / 5) == jumbled
    assert {pair for word in together for pair in re.findall("(?=([AEIOU]{2}))", word)} >= {"EA", "OO", "UE"}
