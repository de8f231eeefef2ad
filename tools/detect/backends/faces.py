"""Frontal faces: a cascade of local binary patterns."""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from skimage import data
from skimage.feature import Cascade

from tools.detect import DetectBackend, Detection
from tools.media.frames import Frames
from tools.media.view import Region

LABEL = "face"
#: A candidate is looked at again with this margin, this large in pixels, with this factor between window sizes.
_MARGIN, _CLOSE, _FINE = 0.35, 80, 1.1
#: The cascade gives no confidence.
_SCORE = 0.5
#: Width and height at which pictures are compared, and grey levels of one pixel that are no change.
_STILL, _NOISE = (32, 18), 12


class Faces(DetectBackend):
    """scikit-image's cascade classifier with the frontal face model that its wheel carries.

    Pictures are searched coarsely at ``side`` pixels, for the time grows with the number of windows: halving the
    smallest face costs four times as much. What is found there is searched again closely and needs ``confirm``
    overlapping hits: faces have many, chance patterns few. It sees upright faces that look at the camera; it says
    nothing about who they are.

    Args:
        side: pixels of the short side at which pictures are searched; smaller pictures are not enlarged.
        smallest: height of the smallest face to find, as a share of the picture's short side.
        scale: factor from one window size to the next.
        step: how far windows move, in the cascade's own units; 1 is exhaustive.
        confirm: overlapping hits of the close search that a face needs.
    """

    model = "lbp-frontal-face"

    def __init__(
        self,
        *,
        side: int = 240,
        smallest: float = 0.12,
        scale: float = 1.2,
        step: float = 1.3,
        confirm: int = 10,
    ) -> None:
        self._side = side
        self._smallest = smallest
        self._scale = scale
        self._step = step
        self._confirm = confirm
        self._cascade: Any = Cascade(data.lbp_frontal_face_cascade_filename())

    def labels(self) -> tuple[str, ...]:
        """``face``."""
        return (LABEL,)

    def detect(self, frames: Frames, labels: Sequence[str]) -> list[Detection]:
        """Faces in ``frames``. The cascade says only yes or no: every face scores 0.5."""
        if labels and LABEL not in labels:
            return []
        found: list[Detection] = []
        searched: npt.NDArray[np.uint8] | None = None
        regions: list[Region] = []
        for index, image in enumerate(frames.images):
            if searched is None or _differ(searched, image):
                searched, regions = image, self._faces(image)
            found += [Detection(index, LABEL, region, _SCORE) for region in regions]
        return found

    def _faces(self, image: npt.NDArray[np.uint8]) -> list[Region]:
        whole = grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        height, width = grey.shape
        scale = min(1.0, self._side / min(height, width))
        if scale < 1:
            grey = cv2.resize(grey, (round(width * scale), round(height * scale)), interpolation=cv2.INTER_AREA)
        rows, columns = grey.shape
        # The model's own window is 24 pixels; nothing smaller can be found.
        smallest = max(24, round(self._smallest * min(rows, columns)))
        if smallest >= min(rows, columns):
            return []
        found = self._cascade.detect_multi_scale(
            img=np.ascontiguousarray(grey),
            scale_factor=self._scale,
            step_ratio=self._step,
            min_size=(smallest, smallest),
            max_size=(min(rows, columns), min(rows, columns)),
            min_neighbor_number=2,
        )
        regions = [
            Region.of(
                one["c"] / columns,
                one["r"] / rows,
                (one["c"] + one["width"]) / columns,
                (one["r"] + one["height"]) / rows,
            )
            for one in found
        ]
        regions = [region for region in regions if self._holds(whole, region)]
        return sorted(regions, key=lambda region: (region.y0, region.x0, region.y1, region.x1))

    def _holds(self, grey: npt.NDArray[np.uint8], region: Region) -> bool:
        """Whether a close search of ``region`` and what is around it finds a face."""
        height, width = grey.shape
        near = region.pad(_MARGIN)
        crop = grey[int(near.y0 * height) : int(near.y1 * height), int(near.x0 * width) : int(near.x1 * width)]
        scale = _CLOSE / max(crop.shape)
        size = (max(24, round(crop.shape[1] * scale)), max(24, round(crop.shape[0] * scale)))
        close = cv2.resize(crop, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        hits = self._cascade.detect_multi_scale(
            img=np.ascontiguousarray(close),
            scale_factor=_FINE,
            step_ratio=1.0,
            min_size=(24, 24),
            max_size=(min(size), min(size)),
            min_neighbor_number=self._confirm,
        )
        return bool(hits)


def _differ(first: npt.NDArray[np.uint8], second: npt.NDArray[np.uint8]) -> bool:
    """Whether a face could have come or gone: a still picture is not searched again."""
    change = cv2.absdiff(*(cv2.resize(image, _STILL, interpolation=cv2.INTER_AREA) for image in (first, second)))
    return bool(change.max() > _NOISE)
