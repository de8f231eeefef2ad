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
#: The cascade gives no confidence.
_SCORE = 0.5


class Faces(DetectBackend):
    """scikit-image's cascade classifier with the frontal face model that its wheel carries.

    Pictures are searched at ``side`` pixels, for the time grows with the number of windows: halving the smallest face
    costs four times as much. It sees upright faces that look at the camera; it says nothing about who they are.

    Args:
        side: pixels of the short side at which pictures are searched; smaller pictures are not enlarged.
        smallest: height of the smallest face to find, as a share of the picture's short side.
        scale: factor from one window size to the next.
        step: how far windows move, in the cascade's own units; 1 is exhaustive.
        neighbours: overlapping hits that a face needs.
    """

    model = "lbp-frontal-face"

    def __init__(
        self,
        *,
        side: int = 288,
        smallest: float = 0.12,
        scale: float = 1.2,
        step: float = 1.3,
        neighbours: int = 3,
    ) -> None:
        self._side = side
        self._smallest = smallest
        self._scale = scale
        self._step = step
        self._neighbours = neighbours
        self._cascade: Any = Cascade(data.lbp_frontal_face_cascade_filename())

    def labels(self) -> tuple[str, ...]:
        """``face``."""
        return (LABEL,)

    def detect(self, frames: Frames, labels: Sequence[str]) -> list[Detection]:
        """Faces in ``frames``. The cascade says only yes or no: every face scores 0.5."""
        if labels and LABEL not in labels:
            return []
        return [
            Detection(index, LABEL, region, _SCORE)
            for index, image in enumerate(frames.images)
            for region in self._faces(image)
        ]

    def _faces(self, image: npt.NDArray[np.uint8]) -> list[Region]:
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
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
            min_neighbor_number=self._neighbours,
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
        return sorted(regions, key=lambda region: (region.y0, region.x0, region.y1, region.x1))
