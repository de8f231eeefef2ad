"""Worlds are drawn sharply at any size and region, things stand clear of each other, and colours stand out."""

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.synth.scenes.backdrop import random_backdrop, showing
from evals.synth.scenes.layout import Layout
from evals.synth.scenes.outlines import FONTS, Font, glyph_outline, shape_outline, text_outline
from evals.synth.scenes.render import Painter, reach
from evals.synth.scenes.stills import Still, random_still, set_back
from evals.synth.scenes.vocabulary import CLASS_OF, COLOURS, DIGITS, LETTERS, PLACES, SHAPES, place_of, universe
from evals.synth.scenes.world import Backdrop, Shot, Thing, World, Writing

seeds = st.integers(0, 10**6)
PLAIN = Backdrop("plain", ((90, 90, 90), (90, 90, 90)))


def _still(seed: int) -> Still:
    return random_still(universe("train"), random.Random(seed))


def _reduced(picture: np.ndarray, times: int) -> np.ndarray:
    height, width = picture.shape[0] // times, picture.shape[1] // times
    return picture.reshape(height, times, width, times, 3).astype(float).mean(axis=(1, 3))


@given(seeds)
def test_a_part_drawn_larger_is_that_part_of_the_whole(seed: int) -> None:
    """Zooming in shows the same world, and more of it: scaled down again, it is what the whole picture had."""
    world = World((_still(seed).shot(),))
    whole = Painter(world, 112, 112).picture(0.0).astype(float)
    part = Painter(world, 224, 224, (0.25, 0.5, 0.75, 1.0)).picture(0.0)
    difference = np.abs(_reduced(part, 4) - whole[56:, 28:84])
    assert difference.mean() < 2.5
    # Edges differ a little with how finely they are drawn; areas do not.
    assert (difference.max(axis=-1) > 60).mean() < 0.02


@given(seeds)
def test_far_worlds_seen_through_their_region_are_the_near_ones(seed: int) -> None:
    still = _still(seed)
    near = World((still.shot(),))
    far, region = set_back(near, random.Random(seed))
    assert 0 <= region[0] < region[2] <= 1
    assert 4 <= round(1 / (region[2] - region[0]), 6) <= 5.5
    for one, other in zip(
        Painter(near, 112, 112).labels(0.0, 14), Painter(far, 112, 112, region).labels(0.0, 14), strict=True
    ):
        # A corner on the border of a patch may fall to either side.
        assert (one != other).mean() < 0.05
    wide = Painter(far, 112, 112).labels(0.0, 14).colour
    assert (wide > 0).sum() <= max(16, (Painter(near, 112, 112).labels(0.0, 14).colour > 0).sum())


@given(seeds)
def test_things_stand_clear_of_each_other_and_of_the_edges(seed: int) -> None:
    entities = _still(seed).entities
    for index, one in enumerate(entities):
        half_x, half_y = reach(one.thing)
        assert half_x < one.x < 1 - half_x
        assert half_y < one.y < 1 - half_y
        assert all(abs(value - line) > 0.029 for value in (one.x, one.y) for line in (1 / 3, 2 / 3))
        for other in entities[:index]:
            other_x, other_y = reach(other.thing)
            assert abs(one.x - other.x) > half_x + other_x or abs(one.y - other.y) > half_y + other_y


@given(seeds)
def test_things_are_large_enough_to_see_and_of_a_colour_that_stands_out(seed: int) -> None:
    still = _still(seed)
    picture = Painter(World((still.shot(),)), 112, 112).picture(0.0).astype(int)
    empty = Painter(World((Shot(still.backdrop),)), 112, 112).picture(0.0).astype(int)
    for entity in still.entities:
        half_x, half_y = reach(entity.thing)
        assert half_y * 2 * 112 > 11
        left, right = round((entity.x - half_x) * 112), round((entity.x + half_x) * 112)
        top, bottom = round((entity.y - half_y) * 112), round((entity.y + half_y) * 112)
        change = np.abs(picture - empty)[top:bottom, left:right].max(axis=-1)
        assert (change > 40).sum() > 25


@given(seeds)
def test_most_colours_stand_out_from_a_backdrop(seed: int) -> None:
    assert len(showing(random_backdrop(random.Random(seed)))) >= 7


def test_like_colours_do_not_stand_out() -> None:
    red = COLOURS["red"]
    assert "red" not in showing(Backdrop("plain", (red, (90, 90, 90))))
    assert "red" not in showing(Backdrop("plain", ((90, 90, 90), red)))
    assert "white" in showing(Backdrop("plain", (red, (90, 90, 90))))


@given(st.lists(st.tuples(st.floats(0.03, 0.2), st.floats(0.03, 0.2)), max_size=8), seeds)
def test_a_layout_finds_room_or_says_that_there_is_none(halves: list[tuple[float, float]], seed: int) -> None:
    layout, chance = Layout(), random.Random(seed)
    placed = [(layout.place(chance, half), half) for half in halves]
    boxes = [(middle, half) for middle, half in placed if middle]
    assert placed[:1] == boxes[:1]
    for index, ((x, y), (half_x, half_y)) in enumerate(boxes):
        for (other_x, other_y), (other_half_x, other_half_y) in boxes[:index]:
            assert abs(x - other_x) > half_x + other_half_x or abs(y - other_y) > half_y + other_half_y


@pytest.mark.parametrize("shape", SHAPES)
def test_shapes_are_one_high_and_centred(shape: str) -> None:
    points = np.concatenate(shape_outline(shape))
    assert np.allclose([points[:, 1].min(), points[:, 1].max()], [-0.5, 0.5], atol=1e-6)
    assert abs(points[:, 0].min() + points[:, 0].max()) < 1e-6
    assert 0.6 < np.ptp(points[:, 0]) < 1.2


@pytest.mark.parametrize("font", FONTS)
def test_characters_have_ink_holes_and_room(font: Font) -> None:
    for character in DIGITS + LETTERS:
        rings, advance = glyph_outline(character, font)
        points = np.concatenate(rings)
        assert 0.75 < np.ptp(points[:, 1]) < 1.4, character
        assert points[:, 0].min() > -0.2
        assert points[:, 0].max() < advance + 0.25
    assert len(glyph_outline("0", font)[0]) >= 2
    assert len(glyph_outline("8", font)[0]) == 3
    placed, width = text_outline("10", font)
    assert len(placed) == 2
    assert placed[1][0][:, 0].min() > placed[0][0][:, 0].max() - 0.2
    assert placed[1][0][:, 0].max() <= width + 0.2


def test_a_ring_has_a_hole_and_edges_are_smooth() -> None:
    ring = Thing("ring", 0.6, ((0.0, 0.5, 0.5),), ((0.0, "red"),))
    picture = Painter(World((Shot(PLAIN, (ring,)),)), 60, 60).picture(0.0)
    assert (picture[30, 30] == 90).all()
    assert (picture[30, 15] == COLOURS["red"]).all()
    red = picture[..., 0].astype(int)
    assert (((red > 90) & (red < 220)).sum()) > 40


def test_area_does_not_depend_on_where_between_pixels_a_thing_lies() -> None:
    areas = []
    for shift in np.linspace(0, 1 / 60, 7):
        square = Thing("square", 0.3, ((0.0, 0.4 + shift, 0.4 + shift / 2),), ((0.0, "white"),))
        picture = Painter(World((Shot(PLAIN, (square,)),)), 60, 60).picture(0.0).astype(float)
        areas.append(((picture[..., 0] - 90) / 160).sum())
    assert np.allclose(areas, 18 * 18, rtol=0.06)
    assert np.ptp(areas) < 0.05 * 18 * 18


def test_things_move_change_come_and_go() -> None:
    keys = ((1.0, 0.2, 0.5), (3.0, 0.8, 0.5))
    thing = Thing("square", 0.2, keys, ((0.0, "red"), (2.0, "blue")), span=(0.5, 4.0))
    assert [thing.at(time)[0] for time in (0.0, 1.0, 2.0, 3.0, 9.0)] == pytest.approx([0.2, 0.2, 0.5, 0.8, 0.8])
    assert [thing.colour_at(time) for time in (0.0, 1.9, 2.0, 5.0)] == ["red", "red", "blue", "blue"]
    assert [thing.there(time) for time in (0.4, 0.5, 3.9, 4.0)] == [False, True, True, False]
    painter = Painter(World((Shot(PLAIN, (thing,)),)), 50, 50)
    assert (painter.picture(0.0) == 90).all()
    assert (painter.picture(1.0)[25, 10] == COLOURS["red"]).all()
    assert (painter.picture(3.0)[25, 40] == COLOURS["blue"]).all()


def test_what_rests_is_drawn_once_and_later_things_lie_above() -> None:
    below = Thing("square", 0.4, ((0.0, 0.5, 0.5),), ((0.0, "red"),))
    above = Thing("square", 0.2, ((0.0, 0.5, 0.5),), ((0.0, "blue"),), span=(1.0, 2.0))
    painter = Painter(World((Shot(PLAIN, (below, above)),)), 50, 50)
    assert painter.picture(0.0) is painter.picture(0.5)
    assert (painter.picture(1.0)[25, 25] == COLOURS["blue"]).all()
    assert (painter.picture(0.0)[25, 25] == COLOURS["red"]).all()
    colour, shape, _, _, thing = painter.labels(1.0, 10)
    assert len(np.unique(colour)) == 3
    assert thing[2].tolist() == [0, 1, 2, 1, 0]
    assert shape.shape == (5, 5)


def test_writings_change_and_shots_follow_each_other() -> None:
    text = Writing("", 0.3, ((0.0, 0.5, 0.5),), ((0.0, "white"),), texts=((0.0, "1"), (2.0, "2")))
    world = World((Shot(PLAIN, (text,)), Shot(PLAIN, (), 3.0)))
    painter = Painter(world, 112, 112)
    glyphs = [set(np.unique(painter.labels(time, 14)[2])) for time in (0.0, 2.0, 3.0)]
    assert glyphs == [{0, 2}, {0, 3}, {0}]
    assert (painter.picture(3.5) == 90).all()


def test_characters_are_counted_from_the_left_of_their_writing() -> None:
    text = Writing("", 0.4, ((0.0, 0.5, 0.5),), ((0.0, "white"),), texts=((0.0, "474"),))
    labels = Painter(World((Shot(PLAIN, (text,)),)), 112, 112).labels(0.0, 14)
    found = {(int(g), int(c)) for g, c in zip(labels.glyph.flat, labels.character.flat, strict=True)}
    four, seven = CLASS_OF["glyph"]["4"], CLASS_OF["glyph"]["7"]
    assert found == {(0, 0), (four, 1), (seven, 2), (four, 3)}
    columns = [np.flatnonzero((labels.character == place).any(0)).mean() for place in (1, 2, 3)]
    assert columns == sorted(columns)
    above = Thing("square", 2.0, ((0.0, 0.5, 0.5),), ((0.0, "red"),))
    hidden = Painter(World((Shot(PLAIN, (text, above)),)), 112, 112).labels(0.0, 14)
    assert not hidden.character.any()


def test_places_are_thirds_in_raster_order() -> None:
    found = [place_of((column + 0.5) / 3, (row + 0.5) / 3) for row in range(3) for column in range(3)]
    assert tuple(found) == PLACES
    assert place_of(1.0, 1.0) == "bottom right"
