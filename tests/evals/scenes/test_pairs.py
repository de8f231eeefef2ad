"""Plain questions about single things are answered by the caption, and say which pairs are new."""

import re
from collections import Counter

import pytest

from evals.synth.scenes import Scenes
from evals.synth.scenes.vocabulary import COLOURS, PLACES, SHAPES, Split, pair_split

THING = re.compile(
    rf"({'|'.join(COLOURS)}) ({'|'.join(SHAPES)}) (?:at|on|in) the ({'|'.join(sorted(PLACES, key=len, reverse=True))})"
)


@pytest.mark.parametrize("split", ["train", "test"])
def test_plain_questions_are_answered_by_the_caption(split: Split) -> None:
    scenes, checked, fresh = Scenes(split, 2), Counter[str](), set()
    for index in range(60):
        sample = scenes.pairs(index)
        assert (sample.frames == scenes.picture(index).frames).all()
        things = THING.findall(sample.caption)
        for turn in sample.turns:
            named = [thing for thing in things if set(_words(turn.question)) <= set(thing)]
            assert len(named) == 1, (sample.caption, turn)
            colour, shape, place = named[0]
            expected = {"colour": colour, "shape": shape, "place": place, "presence": "yes"}[turn.family.split()[0]]
            assert turn.answer == expected
            assert turn.new == (pair_split(colour, shape) != "train")
            checked[turn.family] += 1
            fresh.add(turn.new)
    assert len(checked) == 5
    assert min(checked.values()) > 20
    assert fresh == ({False} if split == "train" else {False, True})


def _words(question: str) -> list[str]:
    """The colour and the shape that a question names."""
    return [word for word in re.findall(r"[a-z]+", question) if word in COLOURS or word in SHAPES]
