"""Whether two pictures differ: cuts between shots, and changes large enough to read the screen again.

Both work on tiny pictures. A cut is a jump of the coarse colour layout against what is usual in the same shot, in the
spirit of PySceneDetect's adaptive detector, but for samples that lie up to seconds apart: motion moves colours within
their neighbourhood, so block means forgive it. A change is the largest local difference, so that a caption in a corner
counts as much as a new scene.
"""

from __future__ import annotations

import statistics
from collections import deque
from functools import reduce

import cv2
import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter

from tools.media.view import Region

Layout = npt.NDArray[np.float32]
Luma = npt.NDArray[np.uint8]

#: Width and height of the luma picture; of 720p, a pixel stands for 10 x 10.
_LUMA = (128, 72)
#: Blocks across and down whose mean colours a cut has to change, and pixels looked at for them.
_BLOCKS = (16, 9)
_GLANCE = (64, 36)
#: `change` from which on a picture shows something new.
CHANGED = 0.1
#: Grey levels that noise and compression may move a luma pixel without any change.
_NOISE = 6
#: Luma pixels a side of the window over which a local difference is averaged.
_WINDOW = 5
#: Mean difference of a window, in grey levels beyond the noise, that counts as 1.
_FULL = 64.0
#: Smallest difference of block colours, 0..1, that can be a cut.
_CUT_FLOOR = 0.06
#: How many times the usual difference between neighbours a cut needs.
_CUT_RATIO = 2.5
#: The usual difference as long as too few are known.
_CUT_PRIOR = 0.04
_CUT_KNOWN = 3
#: Luma pixels by which changed places are grown, and how many separate ones are told apart.
_REACH = 5
_MOST_REGIONS = 4
_EVERYWHERE = Region(x0=0, y0=0, x1=1, y1=1)


class Miniatures:
    """Makes the tiny pictures that are compared; those of frames of any size fit each other. Not thread-safe."""

    def __init__(self) -> None:
        self._luma = VideoReformatter()
        self._glance = VideoReformatter()

    def luma(self, frame: VideoFrame) -> Luma:
        """Luma uint8 ``[72, 128]``, each pixel the mean of all that it stands for, so that noise averages out."""
        tiny = self._luma.reformat(frame, *_LUMA, "gray", interpolation=Interpolation.AREA, threads=1)
        return np.asarray(tiny.to_ndarray(), dtype=np.uint8)

    def layout(self, frame: VideoFrame) -> Layout:
        """Mean block colours float32 ``[9, 16, 3]``, 0..255, from a few pixels of each block."""
        interpolation = Interpolation.FAST_BILINEAR
        tiny = self._glance.reformat(frame, *_GLANCE, "rgb24", interpolation=interpolation, threads=1)
        blocks: Layout = cv2.resize(tiny.to_ndarray(), _BLOCKS, interpolation=cv2.INTER_AREA).astype(np.float32)
        return blocks


def layout_distance(a: Layout, b: Layout) -> float:
    """Mean absolute difference of block colours, 0..1."""
    return float(np.abs(a - b).mean()) / 255


def local_change(a: Luma, b: Luma) -> float:
    """Largest local difference of luma beyond noise, 0..1."""
    return min(1.0, float(_differences(a, b).max()) / _FULL)


def changed_regions(a: Luma, b: Luma) -> tuple[Region, ...]:
    """Boxes around the places that differ by `CHANGED` at least, from the top; one box of all where there are many."""
    places = (_differences(a, b) >= CHANGED * _FULL / 2).astype(np.uint8)
    # Places closer than a few pixels belong together: letters of a word, edges of a thing.
    places = cv2.dilate(places, np.ones((_REACH, 2 * _REACH), np.uint8))
    count, _, boxes, _ = cv2.connectedComponentsWithStats(places)
    height, width = places.shape
    found = [
        Region.of(x / width, y / height, (x + w) / width, (y + h) / height) for x, y, w, h, _ in boxes[1:count].tolist()
    ]
    if len(found) > _MOST_REGIONS:
        found = [reduce(Region.hull, found)]
    return tuple(sorted(found, key=lambda region: (region.y0, region.x0)))


def _differences(a: Luma, b: Luma) -> Luma:
    """Mean difference beyond noise around every pixel, in grey levels."""
    beyond = cv2.subtract(cv2.absdiff(a, b), _NOISE)
    return np.asarray(cv2.blur(beyond, (_WINDOW, _WINDOW)), dtype=np.uint8)


class CutDetector:
    """Tells at which of the pictures, given in order, a new shot starts.

    Args:
        memory: how many differences between neighbours tell what is usual; their median ignores single cuts among
            them and follows steady motion.
    """

    def __init__(self, memory: int = 7) -> None:
        self._usual: deque[float] = deque(maxlen=memory)
        self._last: Layout | None = None

    def is_cut(self, layout: Layout) -> bool:
        """Whether a new shot starts at this picture; the first one starts a shot."""
        last, self._last = self._last, layout
        if last is None:
            return True
        distance = layout_distance(last, layout)
        usual = statistics.median(self._usual) if len(self._usual) >= _CUT_KNOWN else _CUT_PRIOR
        self._usual.append(distance)
        return distance >= max(_CUT_FLOOR, _CUT_RATIO * usual)


class ChangeMeter:
    """Measures each picture against the last one that showed something new."""

    def __init__(self) -> None:
        self._reference: Luma | None = None

    def change(self, luma: Luma) -> tuple[float, tuple[Region, ...]]:
        """0..1, 1 for the first picture, and where; from `CHANGED` on the picture becomes the new reference."""
        if self._reference is None:
            self._reference = luma
            return 1.0, (_EVERYWHERE,)
        change = local_change(self._reference, luma)
        if change < CHANGED:
            return change, ()
        regions = changed_regions(self._reference, luma)
        self._reference = luma
        return change, regions
