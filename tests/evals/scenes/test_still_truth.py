"""What is asked of a picture is answered anew from its caption and labels, plainly and without the question makers."""

import math
import re
from collections import Counter

import pytest

from evals.synth.scenes import CLASSES, Sample, Scenes, Split, Turn
from evals.synth.scenes.vocabulary import COLOURS, PLACES, SHAPES, SIZES, UNSEEN

_COLOUR_WORDS, _SHAPE_WORDS, _SIZE_WORDS = "|".join(COLOURS), "|".join(SHAPES), "|".join(SIZES)
_PLACE_WORDS = "|".join(sorted(PLACES, key=len, reverse=True))
_WHERE = rf"(?:at|on|in) the ({_PLACE_WORDS})"
_SHAPE = re.compile(rf"\ban? ({_SIZE_WORDS}) (?:({_COLOUR_WORDS}) )?({_SHAPE_WORDS}|object) {_WHERE}")
_TEXT = re.compile(r"\bthe (number|word) (\w+)")
_BESIDE = re.compile(rf"(\w+)(?: object)? (?:next to|beside) the ({_COLOUR_WORDS}) ({_SHAPE_WORDS})")
_NAME = re.compile(rf"(?:{_COLOUR_WORDS}) (?:object|{_SHAPE_WORDS})|(?:{_SHAPE_WORDS})\b")


class Reader:
    """Answers questions from a caption, slowly and plainly."""

    def __init__(self, caption: str) -> None:
        text = caption[0].lower() + caption[1:]
        self.things = [
            dict(zip(("size", "colour", "shape", "position"), found, strict=True)) for found in _SHAPE.findall(text)
        ]
        self.texts = dict(_TEXT.findall(text))

    def fitting(self, words: str) -> list[dict[str, str]]:
        """The things that a phrase fits."""
        place = next(
            (place for place in sorted(PLACES, key=len, reverse=True) if words.endswith(f" the {place}")), None
        )
        colour = re.search(rf"\b({_COLOUR_WORDS})\b", words)
        shape = re.search(rf"\b({_SHAPE_WORDS})(?:e?s)?\b", words)
        return [
            thing
            for thing in self.things
            if (place is None or thing["position"] == place)
            and (colour is None or thing["colour"] == colour[1])
            and (shape is None or thing["shape"] == shape[1])
        ]

    def attribute(self, words: str, kind: str) -> str:
        """An attribute of the one thing that a phrase fits."""
        found = self.fitting(words)
        assert len(found) <= 1, f"'{words}' fits several"
        return found[0][kind] if found else UNSEEN


def _plain(turn: Turn) -> tuple[str, str]:
    """The question without options, and the answer in words."""
    if not turn.options:
        return turn.question, turn.answer
    cut = min(turn.question.rfind(f" A{mark} {turn.options[0]}") for mark in ".)" if f" A{mark} " in turn.question)
    return turn.question[:cut], turn.answer


def _reference(question: str) -> str:
    """The phrase that a question is about."""
    match = re.search(rf"(?:{_NAME.pattern}|object)(?: {_WHERE})?", question)
    assert match, question
    return match[0]


def _answer(reader: Reader, turn: Turn) -> str | None:
    """The answer; None for families with tests of their own."""
    question, _ = _plain(turn)
    if turn.family in ("colour", "shape") and _BESIDE.search(question):
        return None
    asked_text = re.search(r"\b(number|word)\b", question)
    if turn.family in ("number", "word"):
        return reader.texts.get(turn.family, UNSEEN)
    if turn.family == "presence":
        said = re.search(r"the (number|word) (\w+)", question)
        there = reader.texts.get(said[1]) == said[2] if said else bool(reader.fitting(_reference(question)))
        return "yes" if there else "no"
    if turn.family == "count":
        return str(len(reader.fitting(question.rstrip("?."))))
    if turn.family in ("colour", "shape", "size", "position"):
        return reader.attribute(_reference(question), turn.family)
    if turn.family == "unseen":
        if asked_text and not re.search(rf"object|{_SHAPE_WORDS}", question):
            return reader.texts.get(asked_text[1], UNSEEN)
        return UNSEEN if not reader.fitting(_reference(question)) else "seen"
    return None


@pytest.mark.parametrize("split", ["train", "test"])
def test_answers_agree_with_the_caption_and_references_fit_one_thing(split: Split) -> None:
    scenes = Scenes(split, 3)
    checked: Counter[str] = Counter()
    for index in range(150):
        sample = scenes.picture(index)
        reader = Reader(sample.caption)
        for turn in sample.turns:
            expected = _answer(reader, turn)
            if expected in ("", "object"):
                # What has no name may be called anything, by who learns.
                assert len(turn.forgiven) == 9, (sample.caption, turn)
            elif expected is not None:
                assert _plain(turn)[1] == expected, (sample.caption, turn)
                checked[turn.family] += 1
    assert all(
        checked[family] > 20 for family in ("colour", "shape", "size", "position", "presence", "count", "unseen")
    )
    assert checked["number"] > 10
    assert checked["word"] > 10


@pytest.mark.parametrize(("split", "least", "most"), [("train", 0.2, 0.5), ("test", 0.0, 0.0)])
def test_things_that_are_alike_may_lack_a_name_in_training_alone(split: Split, least: float, most: float) -> None:
    found: Counter[bool] = Counter()
    for index in range(200):
        things = Reader(Scenes(split, 5).picture(index, turns=0).caption).things
        for one, other in (("colour", "shape"), ("shape", "colour")):
            names = Counter(thing[one] for thing in things if thing[one] not in ("", "object"))
            found.update(thing[other] in ("", "object") for thing in things if names[thing[one]] > 1)
    assert least <= found[True] / found.total() <= most


def _middles(sample: Sample, frame: int = 0) -> dict[tuple[str, str], tuple[float, float]]:
    """Where things are, from the dense labels alone: pairs whose patches are all one thing's."""
    found: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for row in range(8):
        for column in range(8):
            colour, shape = sample.colour[frame, row, column], sample.shape[frame, row, column]
            if colour and CLASSES["shape"][shape] != "text":
                pair = CLASSES["colour"][colour], CLASSES["shape"][shape]
                found.setdefault(pair, []).append((column, row))
    return {
        pair: (sum(x for x, _ in cells) / len(cells), sum(y for _, y in cells) / len(cells))
        for pair, cells in found.items()
    }


def test_neighbours_agree_with_the_dense_labels() -> None:
    scenes, checked = Scenes("test", 5), 0
    for index in range(400):
        sample = scenes.picture(index)
        middles = _middles(sample)
        things = Counter((thing["colour"], thing["shape"]) for thing in Reader(sample.caption).things)
        for turn in sample.turns:
            question, answer = _plain(turn)
            said = _BESIDE.search(question)
            if turn.family not in ("colour", "shape") or said is None:
                continue
            pair = said[2], said[3]
            assert things[pair] == 1, turn
            if max(things.values()) > 1 or set(middles) != set(things):
                continue
            near = min(
                (other for other in middles if other != pair), key=lambda o: math.dist(middles[o], middles[pair])
            )
            assert {said[1], answer} == set(near), (sample.caption, turn)
            checked += 1
    assert checked > 20


def test_relations_agree_with_the_dense_labels() -> None:
    scenes, checked = Scenes("test", 5), 0
    for index in range(150):
        sample = scenes.picture(index)
        middles = _middles(sample)
        things = Counter((thing["colour"], thing["shape"]) for thing in Reader(sample.caption).things)
        for turn in sample.turns:
            if turn.family != "relation":
                continue
            names = _NAME.findall(turn.question)
            pairs = []
            for name in names:
                fits = [p for p in things if all(word in (*p, "object") for word in name.split())]
                assert len(fits) == 1 == things[fits[0]], (name, sample.caption)
                pairs.append(fits[0])
            # "Seen from the A" and "On which side of the A" name the other thing first.
            one, other = pairs if not turn.question.startswith(("On which", "Seen from")) else pairs[::-1]
            if turn.question.startswith("Compared with"):
                one, other = other, one
            if one not in middles or other not in middles:
                continue
            dx, dy = (a - b for a, b in zip(middles[one], middles[other], strict=True))
            truth = {"left": dx < 0, "right": dx > 0, "above": dy < 0, "below": dy > 0}
            said = turn.answer
            if said in ("yes", "no"):
                word = next(word for word in truth if f" {word}" in turn.question)
                assert truth[word] == (said == "yes"), (sample.caption, turn)
            else:
                assert truth[said], (sample.caption, turn)
            checked += 1
    assert checked > 60


def test_a_picture_of_one_kind_of_thing_still_has_its_turns() -> None:
    scenes = Scenes("train", 9)
    counts = [len(scenes.picture(index).turns) for index in range(200)]
    assert min(counts) >= 1
    assert sum(count == 8 for count in counts) > 190
