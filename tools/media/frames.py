"""Decoded pictures with the seconds at which they are on screen."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Frames:
    """Pictures of one view in order of time.

    Attributes:
        times: float64 ``[N]``, presentation seconds, strictly increasing.
        images: uint8 ``[N, H, W, 3]`` RGB, rotated for display.
        decoded: how many pictures the decoder produced to get them; 0 when they came from a cache.
    """

    times: npt.NDArray[np.float64]
    images: npt.NDArray[np.uint8]
    decoded: int = 0

    def __post_init__(self) -> None:
        if self.images.ndim != 4 or self.images.shape[-1] != 3 or len(self.times) != len(self.images):
            raise ValueError(f"frames need times [N] and images [N, H, W, 3], got {self.images.shape}")

    def __len__(self) -> int:
        return len(self.times)
