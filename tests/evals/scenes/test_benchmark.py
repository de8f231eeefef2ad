"""Long films hide needles that are short, small, far from each other, and the only thing that fits their question."""

import re
from collections import Counter
from pathlib import Path

import av
import numpy as np
import pytest

from evals.synth.scenes import Film, NeedleTruth, benchmark, needles_path
from evals.synth.scenes.render import Painter
from evals.synth.scenes.vocabulary import COLOURS, SHAPES

_PAIR = re.compile(rf"\b({'|'.join(COLOURS)}) ({'|'.join(SHAPES)})\b")


@pytest.fixture(scope="module", params=[1, 10, 60])
def film(request: pytest.FixtureRequest) -> Film:
    return benchmark(request.param, 3)


def test_the_same_film_comes_again() -> None:
    assert benchmark(10, 1) == benchmark(10, 1)
    assert benchmark(10, 1).needles != benchmark(10, 2).needles


def test_shots_fill_the_film_and_needles_are_spread_over_it(film: Film) -> None:
    minutes = film.truth.minutes
    starts = film.world.starts
    assert film.world.duration == minutes * 60
    assert starts[0] == 0
    assert len(film.needles) == {1: 3, 10: 7, 60: 12}[int(minutes)]
    for needle in film.needles:
        assert 3 <= round(needle.span.duration, 3) <= 5.2
        assert film.world.shot_at(needle.span.start) is film.world.shot_at(needle.span.end)
    middles = [needle.span.middle for needle in film.needles]
    assert middles == sorted(middles)
    if minutes > 1:
        assert middles[0] < minutes * 60 / 3
        assert middles[-1] > minutes * 60 * 2 / 3


def test_needles_are_small_and_seen_in_their_span_and_region_only(film: Film) -> None:
    painter = Painter(film.world, film.width, film.height)
    for needle in film.needles[:5]:
        region = needle.region
        assert region.area < 0.035
        rows = slice(round(region.y0 * film.height), round(region.y1 * film.height))
        columns = slice(round(region.x0 * film.width), round(region.x1 * film.width))
        shot = film.world.shot_at(needle.span.start)
        before = painter.picture(max(needle.span.start - 0.2, shot.start)).astype(int)
        during = painter.picture(needle.span.middle).astype(int)
        after = painter.picture(needle.span.end + 0.01).astype(int)
        changed = np.abs(during - before).max(axis=-1)[rows, columns] > 40
        assert changed.sum() > 60
        assert (before[rows, columns] == after[rows, columns]).all()


def test_the_pair_that_a_question_names_appears_once_and_so_does_the_landmark(film: Film) -> None:
    seen = Counter(
        (colour, thing.shape)
        for shot in film.world.shots
        for thing in shot.things
        if thing.shape
        for _, colour in thing.paint
    )
    for needle in film.needles:
        pairs = _PAIR.findall(needle.question)
        assert len(pairs) == (2 if needle.hint == "scene" else 1)
        assert all(seen[pair] == 1 for pair in pairs), needle


def test_answers_are_what_the_world_shows(film: Film) -> None:
    for needle in film.needles:
        pair = _PAIR.findall(needle.question)[-1]
        shot = film.world.shot_at(needle.span.start)
        group = [thing for thing in shot.things if thing.span == (needle.span.start, needle.span.end)]
        (main,) = [thing for thing in group if (thing.colour, thing.shape) == pair]
        others = [thing for thing in group if thing is not main]
        if needle.family in ("number", "word"):
            assert needle.text == others[0].text  # type: ignore[attr-defined]
        elif needle.family == "colour":
            assert needle.text == others[0].colour
        elif needle.family == "shape":
            assert needle.text == others[0].shape
        elif needle.family == "meeting":
            assert needle.text == f"{others[0].colour} {others[0].shape}"
        elif needle.family == "change":
            assert needle.text == main.colour_at(needle.span.end)
        else:
            (x0, y0), (x1, y1) = main.at(needle.span.start), main.at(needle.span.end)
            shift = {"left": x0 - x1, "right": x1 - x0, "up": y0 - y1, "down": y1 - y0}
            assert shift[needle.text] == max(shift.values()) > 0


def test_questions_cannot_be_guessed(film: Film) -> None:
    letters = Counter(needle.answer for needle in film.needles)
    assert max(letters.values()) <= len(film.needles) / 4 + 1
    hints = Counter(needle.hint for needle in film.needles)
    assert set(hints) == {"none", "time", "scene"}
    for needle in film.needles:
        assert len(set(needle.options)) == 4
        assert needle.options["ABCD".index(needle.answer)] == needle.text
        if needle.hint == "time":
            times = re.findall(r"(?:(\d+):)?(\d\d):(\d\d)", needle.question)
            low, high = (int(h or 0) * 3600 + int(m) * 60 + int(s) for h, m, s in times)
            assert low <= needle.span.start < needle.span.end <= high + 1


def test_a_film_is_written_as_it_is_drawn(tmp_path: Path) -> None:
    film = benchmark(0.4, 5, width=448, height=252, fps=4)
    path = tmp_path / "film.mp4"
    film.write(path)
    assert NeedleTruth.load(needles_path(path)) == film.truth
    painter = Painter(film.world, film.width, film.height)
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(frames) == 24 * 4
    for index in (0, 30, 95):
        error = np.abs(frames[index].astype(float) - painter.picture(index / 4))
        assert error.mean() < 6
    assert list(tmp_path.iterdir()) != []
    assert not list(tmp_path.glob("*.part"))
