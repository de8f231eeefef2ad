"""Faces on scikit-image's packaged pictures."""

import cv2
import numpy as np
import pytest
import skimage.data

from tools.detect import BACKENDS
from tools.media.frames import Frames
from tools.media.view import Region


def test_the_face_of_a_portrait_is_found_at_its_place(portrait: Frames) -> None:
    found = BACKENDS.create("faces").detect(portrait, ["face"])
    assert [one.index for one in found] == [0, 1]
    # The head of the astronaut, drawn by hand.
    assert all(one.region.iou(Region.of(0.33, 0.11, 0.54, 0.34)) > 0.5 for one in found)


@pytest.mark.parametrize("name", ["coffee", "rocket", "text", "coins", "grass", "chelsea"])
def test_pictures_without_people_have_no_face(name: str) -> None:
    image = getattr(skimage.data, name)()
    image = image if image.ndim == 3 else np.dstack([image] * 3)
    assert BACKENDS.create("faces").detect(Frames(np.zeros(1), image[np.newaxis]), ()) == []


def test_a_face_too_small_is_not_found_and_one_zoomed_in_is(portrait: Frames) -> None:
    backend = BACKENDS.create("faces", {"smallest": 0.3})
    assert backend.detect(portrait, ()) == []
    near = cv2.resize(portrait.images[0][20:240, 120:340], (480, 480))
    assert len(backend.detect(Frames(np.zeros(1), near[np.newaxis]), ())) == 1
