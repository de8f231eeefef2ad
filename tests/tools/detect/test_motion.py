"""What counts as motion, and what does not."""

import cv2
import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from tools.detect import BACKENDS, DetectBackend
from tools.media.frames import Frames


@pytest.fixture(scope="module")
def motion() -> DetectBackend:
    return BACKENDS.create("motion")


@pytest.mark.parametrize(("count", "step"), [(2, 80), (3, 30), (6, 20), (12, 15), (40, 4)])
def test_a_rolling_ball_is_found_where_it_is(motion: DetectBackend, ball, count: int, step: int) -> None:
    frames = ball(count, step)
    found = motion.detect(frames, ())
    assert {one.index for one in found} >= set(range(1, count - 1)) or count == 2
    assert len(found) == len({one.index for one in found}) > 0
    for one in found:
        x = (40 + step * one.index) / 320
        assert one.region.x0 < x < one.region.x1
        assert one.region.y0 < 0.5 < one.region.y1
        assert one.region.area < 0.03
        assert one.attributes == ("red",)


def test_stills_cuts_and_single_frames_hold_no_motion(motion: DetectBackend, ball) -> None:
    still, other = ball(5, 0), ball(5, 0, color=(30, 70, 220), seed=9)
    assert motion.detect(still, ()) == []
    assert motion.detect(ball(1, 0), ()) == []
    images = np.concatenate([still.images, other.images])
    assert motion.detect(Frames(np.arange(10.0), images), ()) == []
    flipping = np.stack([(still, other)[i % 2].images[0] for i in range(6)])
    assert motion.detect(Frames(np.arange(6.0), flipping), ()) == []


def test_a_moving_camera_and_changing_light_are_no_things(motion: DetectBackend) -> None:
    wide = np.random.default_rng(0).integers(0, 255, (18, 60, 3), dtype=np.uint8)
    wide = cv2.resize(wide, (900, 180), interpolation=cv2.INTER_CUBIC)
    pan = np.stack([wide[:, 60 * i : 60 * i + 320] for i in range(8)])
    assert motion.detect(Frames(np.arange(8.0), pan), ()) == []
    light = np.stack([np.clip(wide[:, :320] * (0.5 + 0.1 * i), 0, 255).astype(np.uint8) for i in range(5)])
    assert motion.detect(Frames(np.arange(5.0), light), ()) == []


@pytest.mark.parametrize("order", ["AB", "AAABBB", "AABBA", "-A", "--AA--", "-A-A"])
def test_slides_and_captions_that_change_do_not_move(motion: DetectBackend, order: str) -> None:
    texts = {
        "A": ["Quarterly review", "Revenue grew in Europe", "Costs fell", "More staff in Oslo"],
        "B": ["Second topic", "A plan for the year", "Questions and answers"],
        "-": [],
    }
    slides = {}
    for name, lines in texts.items():
        image = Image.new("RGB", (640, 360), (240, 240, 232))
        for i, line in enumerate(lines):
            ImageDraw.Draw(image).text((40, 30 + 70 * i), line, font=ImageFont.load_default(28), fill=(20, 24, 40))
        slides[name] = np.asarray(image)
    frames = Frames(np.arange(float(len(order))), np.stack([slides[name] for name in order]))
    assert motion.detect(frames, ()) == []


def test_two_balls_are_two_things(motion: DetectBackend, ball) -> None:
    red, blue = ball(6, 25), ball(6, 25, color=(30, 70, 220))
    images = np.concatenate([red.images[:, :120], np.flip(blue.images[:, 60:], axis=2)], axis=1)
    found = motion.detect(Frames(red.times, np.ascontiguousarray(images)), ())
    for index in range(1, 5):
        assert sorted(one.attributes for one in found if one.index == index) == [("blue",), ("red",)]
