"""Moving things: what differs from the still background and changes its place."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from tools.detect import DetectBackend, Detection
from tools.detect.colour import COLOURS, dominant_colour
from tools.media.frames import Frames
from tools.media.view import Region

LABEL = "moving object"

Picture = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]

#: Pictures of one still camera that share a background; longer runs are cut, for light changes.
_RUN = 48
#: Pictures of a run whose median is its background.
_MEDIAN_OF = 15
#: Share of the picture that may change from frame to frame; more is a cut or a moving camera.
_STILL = 0.4
#: Share of colours (histogram intersection) that two frames of one shot have in common at least.
_SAME_COLOURS = 0.5
#: Share of the picture that a thing may fill.
_LARGEST = 0.5
#: Parts of one frame that may differ from the background; more is a change of content, such as the letters of a slide.
_MANY = 12
#: Share of a frame's parts that must move; where fewer do, content was exchanged and a few look alike by chance.
_MOVING = 0.3
#: Frames before and after in which a slow thing is looked for at another place, and the shift from one frame to the
#: next, as a share of the short side, below which a thing rests.
_NEAR, _REST = 3, 0.004
#: Side in pixels of the patches by which a thing is recognised in the next frame.
_PATCH = 24
#: Of two patches of the same thing: how much area, width and height may change, the largest mean difference (of 255),
#: the variance from which texture is compared, and the smallest correlation then.
_GROWTH, _OTHER_COLOURS, _PLAIN, _ALIKE = 1.6, 50.0, 150.0, 0.5


@dataclass(frozen=True)
class _Blob:
    """A connected part of one picture that differs from the background; ``box`` is x0, y0, x1, y1 in pixels."""

    box: tuple[int, int, int, int]
    patch: npt.NDArray[np.float32]
    area: int
    contrast: float
    colour: str | None


class Motion(DetectBackend):
    """Background subtraction that needs only a few frames, at any rate.

    Frames are split where the picture as a whole changes (a cut, a moving camera). Each part's background is the
    median of its frames. What differs from it is a thing only if its outline is an edge in this very frame (else it is
    the hole that something left behind), and it moves only if the frame before or after shows the same patch at
    another place. So captions that appear, slides that change and light that is switched on do not count. One frame
    alone shows no motion.

    Its colour is told as an attribute where one named colour covers half of it.

    Args:
        side: pixels of the short side at which frames are compared.
        threshold: difference to the background, of 255, that counts; noise above it raises it.
        smallest: share of the picture that a thing must fill.
        shift: way, as a share of the picture's short side, that it must move within three frames.
    """

    model = "median-motion"
    attributes = COLOURS

    def __init__(
        self, *, side: int = 180, threshold: float = 28.0, smallest: float = 0.0008, shift: float = 0.012
    ) -> None:
        self._side = side
        self._threshold = threshold
        self._smallest = smallest
        self._shift = shift

    def labels(self) -> tuple[str, ...]:
        """``moving object``."""
        return (LABEL,)

    def detect(self, frames: Frames, labels: Sequence[str]) -> list[Detection]:
        """Moving things in ``frames``; the score grows with their contrast to the background."""
        if (labels and LABEL not in labels) or len(frames) < 2:
            return []
        pictures = [self._small(image) for image in frames.images]
        found: list[Detection] = []
        for first, last in _runs(pictures, self._threshold):
            found += self._in_run(pictures[first:last], first)
        return found

    def _small(self, image: Picture) -> Picture:
        height, width = image.shape[:2]
        scale = min(1.0, self._side / min(height, width))
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        small = cv2.resize(image, size, interpolation=cv2.INTER_AREA) if scale < 1 else image
        return np.asarray(cv2.GaussianBlur(small, (3, 3), 0), dtype=np.uint8)

    def _in_run(self, pictures: Sequence[Picture], offset: int) -> list[Detection]:
        """Moving things in pictures of one still camera."""
        if len(pictures) < 2:
            return []
        blobs = [self._blobs(picture, others) for picture, others in _backgrounds(pictures)]
        height, width = pictures[0].shape[:2]
        found = []
        for i, here in enumerate(blobs):
            moving = [blob for blob in here if self._moves(blob, i, blobs, min(height, width))]
            if len(moving) >= _MOVING * len(here):
                for blob in moving:
                    x0, y0, x1, y1 = blob.box
                    region = Region.of(x0 / width, y0 / height, x1 / width, y1 / height)
                    score = min(1.0, blob.contrast / (4 * self._threshold))
                    words = (blob.colour,) if blob.colour else ()
                    found.append(Detection(offset + i, LABEL, region, score, words))
        return found

    def _moves(self, blob: _Blob, index: int, blobs: Sequence[Sequence[_Blob]], side: int) -> bool:
        """Whether the same thing is at another place in a frame near by and nowhere at rest in the next ones.

        What rests on one side in time did not come by moving: something was put there or taken away.
        """
        shifts: dict[int, list[float]] = {}
        for other in range(max(0, index - _NEAR), min(len(blobs), index + _NEAR + 1)):
            if other != index:
                shifts.setdefault(abs(other - index), []).extend(
                    _shift(blob, one) for one in blobs[other] if _alike(blob, one)
                )
        beside = shifts.get(1, [])
        farthest = max((shift for found in shifts.values() for shift in found), default=0.0)
        return bool(beside) and min(beside) >= _REST * side and farthest >= self._shift * side

    def _blobs(self, picture: Picture, background: Picture) -> list[_Blob]:
        """Things in ``picture`` that are not in ``background``, from the top."""
        difference = cv2.absdiff(picture, background).max(axis=2)
        # Grain is everywhere: a difference counts when it stands out from what most pixels have.
        limit = max(self._threshold, 4 * float(np.median(difference)))
        mask = (difference > limit).astype(np.uint8)
        mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
        mask = cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
        count, marks, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
        pixels = mask.size
        edges_here, edges_behind = _edges(picture), _edges(background)
        blobs = []
        for mark in range(1, count):
            x, y, width, height, area = (int(value) for value in stats[mark])
            if not self._smallest * pixels <= area <= _LARGEST * pixels:
                continue
            # One pixel more on each side, where there is one, so that the rim is whole.
            part = np.s_[max(0, y - 1) : y + height + 1, max(0, x - 1) : x + width + 1]
            own: Mask = marks[part] == mark
            rim = _rim(own)
            if float(edges_here[part][rim].mean()) < float(edges_behind[part][rim].mean()):
                continue
            blobs.append(
                _Blob(
                    box=(x, y, x + width, y + height),
                    patch=_patch(picture[y : y + height, x : x + width]),
                    area=area,
                    contrast=float(difference[part][own].mean()),
                    colour=dominant_colour(picture[part][_core(own)]),
                )
            )
        if len(blobs) > _MANY:
            return []
        return sorted(blobs, key=lambda blob: (blob.box[1], blob.box[0], blob.box[3], blob.box[2]))


def _runs(pictures: Sequence[Picture], threshold: float) -> list[tuple[int, int]]:
    """Index ranges ``[first, last)`` of pictures that one still camera took."""
    histograms = [_histogram(picture) for picture in pictures]
    starts = [0]
    for i in range(1, len(pictures)):
        changed = float((cv2.absdiff(pictures[i], pictures[i - 1]).max(axis=2) > threshold).mean())
        common = float(np.minimum(histograms[i], histograms[i - 1]).sum())
        if changed > _STILL or common < _SAME_COLOURS or i - starts[-1] >= _RUN:
            starts.append(i)
    return list(zip(starts, [*starts[1:], len(pictures)], strict=True))


def _histogram(picture: Picture) -> npt.NDArray[np.float64]:
    coarse = (picture >> 6).astype(np.int64)
    codes = (coarse[..., 0] * 4 + coarse[..., 1]) * 4 + coarse[..., 2]
    return np.bincount(codes.ravel(), minlength=64) / codes.size


def _backgrounds(pictures: Sequence[Picture]) -> list[tuple[Picture, Picture]]:
    """Each picture with what is behind its moving things: the median of the run, or the other one of two."""
    if len(pictures) == 2:
        return [(pictures[0], pictures[1]), (pictures[1], pictures[0])]
    picks = np.unique(np.linspace(0, len(pictures) - 1, min(_MEDIAN_OF, len(pictures))).round().astype(int))
    background = np.median(np.stack([pictures[i] for i in picks]), axis=0).astype(np.uint8)
    return [(picture, background) for picture in pictures]


def _edges(picture: Picture) -> npt.NDArray[np.float32]:
    grey = picture.astype(np.float32).mean(axis=2)
    return np.asarray(cv2.magnitude(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1)))


def _rim(mask: Mask) -> Mask:
    """Pixels within one of the outline."""
    own = mask.astype(np.uint8)
    kernel = np.ones((3, 3), np.uint8)
    return np.asarray(cv2.dilate(own, kernel) != cv2.erode(own, kernel))


def _core(mask: Mask) -> Mask:
    """The inside of a mask, where colours are not mixed with the background's; all of it when it is thin."""
    inside = cv2.erode(mask.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    return np.asarray(inside if inside.any() else mask)


def _patch(pixels: Picture) -> npt.NDArray[np.float32]:
    patch = cv2.resize(pixels, (_PATCH, _PATCH), interpolation=cv2.INTER_AREA)
    return np.asarray(patch, dtype=np.float32)


def _alike(blob: _Blob, other: _Blob) -> bool:
    """Whether ``other``, in the next frame, may be the same thing: about its size, its colours and its texture."""
    (ax0, ay0, ax1, ay1), (bx0, by0, bx1, by1) = blob.box, other.box
    sizes = (blob.area / other.area, (ax1 - ax0) / (bx1 - bx0), (ay1 - ay0) / (by1 - by0))
    if not all(1 / _GROWTH <= ratio <= _GROWTH for ratio in sizes):
        return False
    if float(np.abs(blob.patch - other.patch).mean()) > _OTHER_COLOURS:
        return False
    first, second = blob.patch - blob.patch.mean((0, 1)), other.patch - other.patch.mean((0, 1))
    norms = float(np.linalg.norm(first) * np.linalg.norm(second))
    # Plain things have no texture to compare.
    plain = norms < _PLAIN * first.size
    return plain or float((first * second).sum()) >= _ALIKE * norms


def _shift(blob: _Blob, other: _Blob) -> float:
    """How far the middle of the box moves along the longer axis, in pixels."""
    (ax0, ay0, ax1, ay1), (bx0, by0, bx1, by1) = blob.box, other.box
    return max(abs(ax0 + ax1 - bx0 - bx1), abs(ay0 + ay1 - by0 - by1)) / 2
