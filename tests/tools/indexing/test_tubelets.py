"""Tubelets: where and when something comes, goes, moves or changes, cut out of samples a second apart."""

import cv2
import numpy as np
import numpy.typing as npt

from tools.indexing.tubelets import Tubelet, TubeletBuilder
from tools.media.scan import Sample

Image = npt.NDArray[np.uint8]
SIZE = (240, 426)
WALL = (120, 130, 140)


def picture(*things: tuple[int, int, tuple[int, int, int]]) -> Image:
    """A wall with discs at (x, y) in a colour each."""
    image = np.full((*SIZE, 3), WALL, np.uint8)
    for x, y, colour in things:
        cv2.circle(image, (x, y), 10, colour, -1)
    return image


def tubelets(pictures: list[Image], cuts: tuple[int, ...] = (0,), max_seconds: float = 10.0) -> list[Tubelet]:
    builder = TubeletBuilder(max_seconds)
    found = []
    for second, image in enumerate(pictures):
        found += builder.add(Sample(second, second + 1, image, cut=second in cuts, change=0.0))
    return found + builder.finish(len(pictures))


def seconds(found: list[Tubelet]) -> list[tuple[float, float]]:
    return [(one.span.start, one.span.end) for one in found]


def middle(one: Tubelet) -> tuple[int, int]:
    height, width = SIZE
    return (
        round((one.region.x0 + one.region.x1) / 2 * width),
        round((one.region.y0 + one.region.y1) / 2 * height),
    )


RED, TEAL = (220, 40, 40), (200, 60, 100)


def test_what_comes_and_goes_is_one_tubelet_around_it() -> None:
    empty, there = picture(), picture((300, 60, RED))
    (found,) = tubelets([empty, empty, there, there, there, empty, empty, empty])
    assert seconds([found]) == [(2, 5)]
    assert abs(middle(found)[0] - 300) <= 2
    assert abs(middle(found)[1] - 60) <= 2
    side = found.picture.shape[0]
    assert side == found.picture.shape[1]
    assert tuple(found.picture[side // 2, side // 2]) == RED


def test_a_colour_as_bright_as_the_wall_is_seen() -> None:
    grey = cv2.cvtColor(np.array([[WALL, TEAL]], np.uint8), cv2.COLOR_RGB2GRAY)[0].astype(int)
    assert abs(grey[0] - grey[1]) < 30
    assert len(tubelets([picture(), picture((100, 100, TEAL)), picture(), picture()])) == 1


def test_what_was_there_and_leaves_was_there_before() -> None:
    there, empty = picture((50, 50, RED)), picture()
    (found,) = tubelets([there, there, there, empty, empty])
    assert seconds([found]) == [(0, 3)]
    side = found.picture.shape[0]
    assert tuple(found.picture[side // 2, side // 2]) == RED


def test_a_moving_thing_is_followed() -> None:
    path = [picture((100 + 15 * step, 120, RED)) for step in range(5)]
    found = tubelets([picture(), *path, picture(), picture()])
    assert seconds(found)[0] == (1, 6)
    width = SIZE[1]
    assert found[0].region.x0 * width < 100
    assert found[0].region.x1 * width > 160


def test_another_colour_is_another_look_of_the_same_place() -> None:
    red, white = picture((200, 100, RED)), picture((200, 100, (250, 250, 250)))
    found = tubelets([picture(), white, white, red, red, picture(), picture()])
    colours = {tuple(one.picture[one.picture.shape[0] // 2, one.picture.shape[1] // 2]) for one in found}
    assert len(found) == 2
    assert colours == {RED, (250, 250, 250)}
    assert found[0].span.start == 1
    assert all(one.span.end == 5 for one in found)


def test_a_cut_is_no_change_and_ends_everything() -> None:
    other = np.full((*SIZE, 3), (20, 200, 20), np.uint8)
    found = tubelets([picture(), picture((60, 60, RED)), other, other], cuts=(0, 2))
    assert seconds(found) == [(1, 2)]


def test_a_moving_camera_gives_nothing() -> None:
    noise = np.random.default_rng(0)
    assert tubelets([noise.integers(0, 255, (*SIZE, 3), dtype=np.uint8) for _ in range(4)]) == []


def test_what_goes_on_is_cut_into_pieces() -> None:
    path = [picture((40 + 3 * step, 120, RED)) for step in range(25)]
    found = tubelets([picture(), *path], max_seconds=5.0)
    assert len(found) >= 4
    assert all(one.span.duration <= 6 for one in found)
