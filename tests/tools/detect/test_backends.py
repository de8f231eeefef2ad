"""What every detector obeys, found by the registry."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tools.detect import BACKENDS, DetectBackend
from tools.errors import ProfileError
from tools.media.frames import Frames


@pytest.fixture(scope="module", params=BACKENDS.names())
def backend(request: pytest.FixtureRequest) -> DetectBackend:
    options = {}
    if request.param == "open_vocabulary":
        # Random weights see things everywhere: only what is certain counts.
        options = {"model": str(request.getfixturevalue("owlv2")), "threshold": 1.0}
    try:
        return BACKENDS.create(request.param, options)
    except (ProfileError, TypeError) as error:
        pytest.skip(f"{request.param} needs a model: {error}")


def _grain(count: int, height: int, width: int) -> Frames:
    chance = np.random.default_rng(2)
    return Frames(np.arange(float(count)), chance.integers(0, 255, (count, height, width, 3), dtype=np.uint8))


def test_blank_pictures_hold_nothing(backend: DetectBackend) -> None:
    for shade in (0, 128, 255):
        assert backend.detect(Frames(np.arange(3.0), np.full((3, 90, 160, 3), shade, np.uint8)), ()) == []


def test_no_pictures_hold_nothing(backend: DetectBackend) -> None:
    assert backend.detect(Frames(np.empty(0), np.empty((0, 90, 160, 3), np.uint8)), ()) == []


@pytest.mark.parametrize("size", [(16, 16), (17, 31), (1, 1), (4, 200), (101, 77)])
def test_any_size_is_taken(backend: DetectBackend, size: tuple[int, int]) -> None:
    for one in backend.detect(_grain(4, *size), ()):
        assert 0 <= one.index < 4
        assert 0 <= one.score <= 1


def test_known_labels_are_lower_case_and_all_that_is_reported(backend: DetectBackend, ball, portrait) -> None:
    known = backend.labels()
    for frames in (ball(4, 50), portrait):
        found = backend.detect(frames, ())
        if known is not None:
            assert {one.label for one in found} <= set(known)
            assert all(label == label.casefold() for label in known)
            assert backend.detect(frames, ["no such thing"]) == []
            assert backend.detect(frames, known) == found
        assert all(set(one.attributes) <= set(backend.attributes) for one in found)


def test_the_same_frames_give_the_same_things_inside_them(backend: DetectBackend, ball, portrait) -> None:
    for frames in (ball(4, 50), portrait):
        before = frames.images.copy()
        found = backend.detect(frames, ())
        assert backend.detect(frames, ()) == found
        assert np.array_equal(frames.images, before)
        for one in found:
            assert 0 <= one.region.x0 < one.region.x1 <= 1
            assert 0 <= one.region.y0 < one.region.y1 <= 1


def test_calls_at_once_equal_calls_in_turn(backend: DetectBackend, ball, portrait) -> None:
    batches = [ball(3, 60), portrait, ball(5, 30, color=(30, 70, 220))]
    one_by_one = [backend.detect(frames, ()) for frames in batches]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda frames: backend.detect(frames, ()), batches * 2)) == one_by_one * 2
