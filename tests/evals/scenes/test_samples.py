"""Samples have the promised form, are the same every time, and cannot be answered without looking."""

import re
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from evals.synth.scenes import CLASSES, CLIP_FRAMES, PATCH, SIDE, Sample, Scenes, Turn
from evals.synth.scenes.render import Painter
from evals.synth.scenes.vocabulary import COLOURS, PLACES, SHAPES, SIZES, UNSEEN, pair_split
from evals.synth.scenes.wordings import WORDINGS

#: Colour, if it has a name, and shape, or "object", of what a caption lists.
NAMES = re.compile(rf"\b(?:{'|'.join(SIZES)}) (?:({'|'.join(COLOURS)}) )?({'|'.join(SHAPES)}|object)\b")
NAMED_SHAPE = re.compile(rf"\b({'|'.join(SHAPES)})\b")

#: All that can be said of something without a name.
_ALL = (set(COLOURS), set(SHAPES))

#: Share that the commonest answer of a family may have, luck aside.
BOUNDS = {
    "colour": 0.2,
    "shape": 0.2,
    "size": 0.45,
    "position": 0.2,
    "count": 0.32,
    "number": 0.06,
    "word": 0.05,
    "presence": 0.52,
    "relation": 0.34,
    "motion": 0.3,
    "change": 0.34,
    "meeting": 0.55,
    "cut": 0.4,
    "order": 0.25,
    "speed": 0.2,
}


@pytest.fixture(scope="module")
def pictures() -> list[Sample]:
    return [Scenes("train", 1).picture(index) for index in range(400)]


@pytest.fixture(scope="module")
def clips() -> list[Sample]:
    return [Scenes("train", 1).clip(index) for index in range(250)]


@pytest.fixture(scope="module")
def asked_again() -> list[Sample]:
    """Clips, without questions about cuts."""
    clips = [Scenes("train", 1).clip(index, turns=12, again=True) for index in range(250)]
    return [replace(clip, turns=tuple(turn for turn in clip.turns if turn.family != "cut")) for clip in clips]


def test_form(pictures: list[Sample], clips: list[Sample]) -> None:
    cells = SIDE // PATCH
    for frames, samples in ((1, pictures), (CLIP_FRAMES, clips)):
        for sample in samples[:50]:
            assert sample.frames.shape == (frames, SIDE, SIDE, 3)
            assert sample.frames.dtype == np.uint8
            assert sample.times.shape == (frames,)
            assert (np.diff(sample.times) > 0).all()
            assert sample.turns
            assert sample.caption.endswith(".")
            for kind in CLASSES:
                labels = getattr(sample, kind)
                assert labels.shape == (frames, cells, cells)
                assert labels.dtype == np.int64
                assert 0 <= labels.min() <= labels.max() < len(CLASSES[kind])


def test_what_has_a_colour_has_a_shape() -> None:
    scenes = Scenes("test", 1)
    for sample in (*map(scenes.picture, range(40)), *map(scenes.clip, range(20))):
        assert ((sample.colour > 0) == (sample.shape > 0)).all()


def test_some_things_in_training_lack_a_name(pictures: list[Sample]) -> None:
    things = [found for sample in pictures for found in NAMES.findall(sample.caption)]
    colourless = sum(colour == "" for colour, _ in things) / len(things)
    shapeless = sum(shape == "object" for _, shape in things) / len(things)
    assert 0.1 < colourless < 0.22
    assert 0.1 < shapeless < 0.22
    assert ("", "object") not in things
    for sample in pictures:
        # Their patches have only what has a name.
        halves = [found for found in NAMES.findall(sample.caption) if "" in found or "object" in found]
        half = (sample.colour > 0) != (sample.shape > 0)
        assert half.any() <= bool(halves)
        assert {CLASSES["colour"][label] for label in sample.colour[half]} <= {colour or "none" for colour, _ in halves}
    for split in ("validation", "test"):
        held = [Scenes(split, 1).picture(index).caption for index in range(80)]
        assert all(colour and shape != "object" for text in held for colour, shape in NAMES.findall(text))


def test_what_has_no_name_is_there_all_the_same(pictures: list[Sample]) -> None:
    found = [(sample, turn) for sample in pictures for turn in sample.turns if {turn.answer, *turn.forgiven} in _ALL]
    assert {turn.family for _, turn in found} == {"colour", "shape"}
    for sample, turn in found:
        halves = NAMES.findall(sample.caption)
        assert any(colour == "" if turn.family == "colour" else shape == "object" for colour, shape in halves)
        assert not turn.options
    # Names that the split never shows together come as often as all others.
    assert len({turn.answer for _, turn in found}) > 15
    shapes = [(turn.answer, NAMED_SHAPE.search(turn.question)) for _, turn in found if turn.family == "colour"]
    assert any(shape and pair_split(colour, shape[1]) != "train" for colour, shape in shapes)
    for split in ("validation", "test"):
        held = [turn for index in range(40) for turn in Scenes(split, 1).picture(index).turns]
        assert all(len(turn.forgiven) < 5 for turn in held)


def test_what_a_split_never_shows_is_not_taken_for_wrong(pictures: list[Sample], clips: list[Sample]) -> None:
    found = [turn for sample in (*pictures, *clips) for turn in (*sample.turns, *sample.lessons) if turn.forgiven]
    assert {"colour", "shape", "change", "course"} <= {turn.family for turn in found}
    for turn in found:
        assert set(turn.forgiven).isdisjoint(turn.answer.split(", "))
        if {turn.answer, *turn.forgiven} in _ALL:
            continue
        given = re.search(rf"\b({'|'.join(COLOURS if turn.forgiven[0] in SHAPES else SHAPES)})\b", turn.question)
        assert given is not None
        for value in turn.forgiven:
            pair = (given[1], value) if value in SHAPES else (value, given[1])
            assert pair_split(*pair) != "train", turn


def test_some_clips_rest_and_can_be_asked_what_a_still_can() -> None:
    scenes = Scenes("test", 1)
    samples = [scenes.clip(index, turns=8) for index in range(120)]
    resting = [sample for sample in samples if "nothing changes" in sample.caption]
    assert 0.1 < len(resting) / len(samples) < 0.28
    for sample in resting:
        assert (sample.frames == sample.frames[:1]).all()
    families = {turn.family for sample in resting for turn in sample.turns}
    assert {"count", "size", "relation", "position", "number", "word", "colour"} <= families
    assert families.isdisjoint({"motion", "order", "cut"})
    assert {turn.family for sample in resting for turn in sample.lessons} == {"row"}


def test_the_same_sample_comes_again_in_any_order_and_in_any_thread() -> None:
    scenes = Scenes("train", 4)
    one = [scenes.picture(index) for index in range(12)] + [scenes.clip(index) for index in range(3)]
    with ThreadPoolExecutor(4) as pool:
        again = list(pool.map(scenes.picture, reversed(range(12))))[::-1] + list(
            pool.map(Scenes("train", 4).clip, range(3))
        )
    for first, second in zip(one, again, strict=True):
        assert first.frames.tobytes() == second.frames.tobytes()
        assert first.turns == second.turns
        assert first.caption == second.caption
        assert (first.glyph == second.glyph).all()


def test_fewer_turns_are_the_first_of_more(pictures: list[Sample]) -> None:
    for index in range(10):
        few = Scenes("train", 1).picture(index, turns=2)
        assert few.turns == pictures[index].turns[:2]
        assert (few.frames == pictures[index].frames).all()


def test_what_is_asked_again_is_asked_in_other_words(clips: list[Sample], asked_again: list[Sample]) -> None:
    def most(samples: list[Sample], family: str) -> list[int]:
        counts = [sum(turn.family == family for turn in sample.turns) for sample in samples]
        return [count for count in counts if count]

    assert all(len(set(sample.turns)) == len(sample.turns) for sample in asked_again)
    for family in ("order", "speed", "meeting"):
        assert max(most(clips, family)) <= 2
        assert np.mean(most(asked_again, family)) > 3
    for sample, again in zip(clips[:5], asked_again, strict=False):
        assert (sample.frames == again.frames).all()


def test_every_wording_has_five_forms_and_fits_its_slots() -> None:
    for forms in WORDINGS.values():
        assert len(set(forms)) == len(forms) >= 5
        slots = [set(re.findall(r"{(\w+)}", form)) for form in forms]
        assert all(found == slots[0] for found in slots)


def test_every_family_is_asked_about(pictures: list[Sample], clips: list[Sample]) -> None:
    stills = {turn.family for sample in pictures for turn in sample.turns}
    moving = {turn.family for sample in clips for turn in sample.turns}
    assert stills == {
        "colour",
        "shape",
        "size",
        "position",
        "presence",
        "count",
        "number",
        "word",
        "relation",
        "unseen",
    }
    assert {"motion", "speed", "order", "change", "meeting", "cut", "unseen"} <= moving


def test_options_are_in_the_question_and_the_answer_is_one(pictures: list[Sample], clips: list[Sample]) -> None:
    turns = [turn for sample in (*pictures, *clips) for turn in sample.turns if turn.options]
    assert 0.2 < len(turns) / sum(len(sample.turns) for sample in (*pictures, *clips)) < 0.45
    for turn in turns:
        assert len(set(turn.options)) == len(turn.options) >= 3
        assert turn.answer in turn.options
        for letter, option in zip("ABCD", turn.options, strict=False):
            assert re.search(rf" {letter}[.)] {re.escape(option)}(?=[ ,]|$)", turn.question), turn
    letters = Counter(turn.options.index(turn.answer) for turn in turns if len(turn.options) == 4)
    assert max(letters.values()) / sum(letters.values()) < 0.3
    # That it is offered does not make "not visible" the answer.
    offered = [turn.answer == UNSEEN for turn in turns if UNSEEN in turn.options]
    assert 0.25 < np.mean(offered) < 0.65


def test_answers_are_canonical(pictures: list[Sample], clips: list[Sample]) -> None:
    fixed = {*COLOURS, *SHAPES, *SIZES, *PLACES, UNSEEN, "yes", "no", "above", "below", "up", "down", "nowhere"}
    fixed |= {"before", "after", *"012345"}
    for sample in (*pictures, *clips):
        for turn in sample.turns:
            said = turn.answer
            words = said.split()
            name = len(words) == 2 and words[0] in COLOURS and words[1] in (*SHAPES, "object")
            assert said in fixed or name or re.fullmatch(r"\d{1,3}|[A-Z]{2,5}", said), turn


@pytest.mark.parametrize("kind", ["pictures", "clips", "asked_again"])
def test_no_answer_is_a_good_guess(kind: str, request: pytest.FixtureRequest) -> None:
    samples: list[Sample] = request.getfixturevalue(kind)
    answers: dict[str, Counter[str]] = defaultdict(Counter)
    for sample in samples:
        for turn in sample.turns:
            answers[turn.family][turn.answer] += 1
    for family, counts in answers.items():
        if family != "unseen" and counts.total() > 60:
            answer, most = counts.most_common(1)[0]
            # Two standard deviations of a coin of that many throws.
            luck = counts.total() ** -0.5
            assert most / counts.total() < BOUNDS[family] + luck, (family, answer, most / counts.total())


@pytest.mark.parametrize("kind", ["pictures", "clips", "asked_again"])
def test_yes_and_no_are_balanced(kind: str, request: pytest.FixtureRequest) -> None:
    samples: list[Sample] = request.getfixturevalue(kind)
    answers = Counter(turn.answer for sample in samples for turn in sample.turns if turn.answer in ("yes", "no"))
    # A standard deviation of a coin of that many throws.
    luck = answers.total() ** -0.5 / 2
    assert abs(answers["yes"] / answers.total() - 0.5) < 0.05 + luck
    for family in {turn.family for sample in samples for turn in sample.turns}:
        own = Counter(turn.answer for sample in samples for turn in sample.turns if turn.family == family)
        count = own["yes"] + own["no"]
        # Luck may take two and a half standard deviations.
        if count >= 20:
            assert abs(own["yes"] / count - 0.5) < 0.05 + 1.25 * count**-0.5, (family, own)


def _blank(turn: Turn) -> str:
    """The question without options and with its names left out: what is left tells the wording."""
    names = "|".join((*sorted(PLACES, key=len, reverse=True), *COLOURS, *SHAPES, "object"))
    return re.sub(rf"\b({names})(?:e?s)?\b", "_", re.split(r" (?:Options:|Choose:|A[.)]) ", turn.question)[0])


def test_not_visible_is_no_good_guess_for_any_wording(pictures: list[Sample]) -> None:
    seen: dict[str, list[bool]] = defaultdict(list)
    for sample in pictures:
        for turn in sample.turns:
            if turn.family in ("colour", "shape", "size", "position", "number", "word", "unseen"):
                seen[_blank(turn)].append(turn.answer == UNSEEN)
    often = {wording: found for wording, found in seen.items() if len(found) >= 30}
    assert len(often) > 15
    for wording, found in often.items():
        assert 0.02 < np.mean(found) < 0.66, (wording, np.mean(found))
    assert 0.05 < np.mean([value for found in seen.values() for value in found]) < 0.35


def test_guessing_from_the_wording_alone_gets_little(pictures: list[Sample]) -> None:
    """The best answer to each wording, learnt from half of the questions, on the other half."""
    halves: tuple[list[tuple[str, str]], list[tuple[str, str]]] = ([], [])
    for index, sample in enumerate(pictures):
        halves[index % 2].extend((_blank(turn), turn.answer) for turn in sample.turns)
    known: dict[str, Counter[str]] = defaultdict(Counter)
    for wording, answer in halves[0]:
        known[wording][answer] += 1
    right = [wording in known and known[wording].most_common(1)[0][0] == answer for wording, answer in halves[1]]
    assert np.mean(right) < 0.4


@pytest.mark.parametrize("kind", ["picture", "clip"])
def test_labels_say_what_colour_the_pixels_have(kind: str) -> None:
    """Without wear, a patch has pixels of the colour that its label says, and none of a thing where it says none."""
    scenes = Scenes("test", 2)
    palette = {CLASSES["colour"].index(name): np.array(rgb) for name, rgb in COLOURS.items()}
    for index in range(30):
        sample = getattr(scenes, kind)(index)
        for frame, colours, shapes in zip(sample.frames, sample.colour, sample.shape, strict=True):
            patches = frame.reshape(8, PATCH, 8, PATCH, 3).swapaxes(1, 2).reshape(8, 8, -1, 3).astype(int)
            for row, column in np.argwhere(colours > 0):
                # Thin strokes of letters mix with what is behind them.
                thin = CLASSES["shape"][shapes[row, column]] == "text"
                off = np.abs(patches[row, column] - palette[colours[row, column]]).max(axis=-1)
                assert (off <= (130 if thin else 16)).mean() > 0.015, (index, row, column)


def test_glyph_labels_spell_what_is_written() -> None:
    scenes, spelled, counted = Scenes("test", 2), 0, list[bool]()
    for index in range(80):
        sample = scenes.picture(index)
        writings = re.findall(r"(?:number|word) (\w+)", sample.caption)
        written = "".join(writings)
        letters = {CLASSES["glyph"][glyph] for glyph in np.unique(sample.glyph)} - {"none"}
        assert letters <= set(written)
        assert ((sample.character > 0) == (sample.glyph > 0)).all()
        for glyph, place in zip(sample.glyph.flat, sample.character.flat, strict=True):
            if place:
                counted.append(CLASSES["glyph"][glyph] in {text[place - 1 : place] for text in writings})
        spelled += letters == set(written) and bool(written)
    # Where two characters cover equally much of a patch, or one comes twice in it, either may be named.
    assert np.mean(counted) > 0.98
    assert spelled > 30


def test_only_training_pictures_are_worn_and_only_mildly(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[np.ndarray] = []
    original = Painter.picture
    monkeypatch.setattr(Painter, "picture", lambda self, time: drawn.append(original(self, time)) or drawn[-1])
    worn = [Scenes("train").picture(index).frames[0] for index in range(60)]
    errors = [
        np.abs(before.astype(float) - after).mean()
        for before, after in zip(drawn, worn, strict=True)
        if before.shape == after.shape
    ]
    assert 0.5 < np.mean(errors) < 8
    assert max(errors) < 15
    assert {before.shape[0] for before in drawn} - {SIDE}
    drawn.clear()
    clean = [Scenes("test").picture(index).frames[0] for index in range(10)]
    assert all((before == after).all() for before, after in zip(drawn, clean, strict=True))


def test_from_far_nothing_is_said_of_places_and_sizes() -> None:
    for index in range(60):
        sample = Scenes("test").picture(index, scale="far")
        assert sample.caption.startswith("Far away")
        assert {turn.scale for turn in sample.turns} <= {"far"}
        assert not {"size", "position"} & {turn.family for turn in sample.turns}
        assert not re.search(rf"\b(?:{'|'.join(SIZES)})\b", sample.caption)
        assert (sample.colour > 0).mean() < 0.2
