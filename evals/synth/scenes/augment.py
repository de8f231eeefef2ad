"""What cameras and codecs do to pictures, mildly: noise, blocks, a detour over another size."""

import random
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from evals.synth.scenes.backdrop import Pixels

_BANK = 384


class Wear:
    """One way of wearing pictures down, the same for all frames of a clip."""

    def __init__(self, chance: random.Random) -> None:
        self._noise = chance.uniform(0.5, 3.5) if chance.random() < 0.6 else 0.0
        self._quality = int(chance.uniform(45, 92)) if chance.random() < 0.6 else 0
        self._light = chance.uniform(-8, 8) if chance.random() < 0.5 else 0.0
        self.detour = chance.uniform(0.85, 1.6) if chance.random() < 0.35 else 1.0
        self._chance = chance

    def apply(self, picture: Pixels, side: int) -> Pixels:
        """The picture worn, and brought to ``side`` pixels."""
        height, width = picture.shape[:2]
        if self._quality:
            # Blocks and half the resolution of colours, as H.264 leaves them.
            _, packed = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, self._quality])
            picture = np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR), np.uint8)
        if (height, width) != (side, side):
            picture = cv2.resize(
                picture, (side, side), interpolation=cv2.INTER_AREA if height > side else cv2.INTER_CUBIC
            )
        if self._noise or self._light:
            top, left = (int(self._chance.random() * (_BANK - side)) for _ in range(2))
            grain = _bank()[top : top + side, left : left + side]
            picture = np.clip(picture + (grain * np.float32(self._noise) + np.float32(self._light)), 0, 255)
        return np.asarray(picture, np.uint8)


@lru_cache(maxsize=1)
def _bank() -> npt.NDArray[np.float32]:
    """Normal noise from which windows are cut: drawing it anew for every picture takes longer than the picture."""
    return np.random.default_rng(11).standard_normal((_BANK, _BANK, 3), dtype=np.float32)
