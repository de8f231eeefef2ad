"""Places where something comes, goes or moves, followed through a shot: what is worth a close look in a still picture.

A thing that is small in the frame says nothing in a thumbnail. So each such place is cut out and gets a vector of its
own; a search then finds the thing, when it is there and where. The word is from action detection (Jain et al., "Action
Localization with Tubelets from Motion", CVPR 2014); here a tubelet is one box, for samples are a second apart.
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from tools.media.scan import Sample
from tools.media.span import Span
from tools.media.view import Region

Image = npt.NDArray[np.uint8]

#: Short side in pixels at which samples are compared, and the difference in any colour, of 255, that is a change and
#: not compression. Luma alone, which cuts are found by, does not tell a red cross from a grey wall.
_SIDE, _CHANGED = 240, 24
#: Pixels up to which changed parts belong to one place, and how many places a sample may have: with more it is the
#: camera that moves.
_TOGETHER, _MANY = 19, 8
#: Share of a changed place's size that is left around it in a cut-out.
_MARGIN = 0.25
#: Share of a place that may differ from what it was without the thing when the thing has left.
_EMPTY = 0.1
#: Most looks of one place that are kept: what turns another colour is searched for by both.
_LOOKS = 3
#: Difference in a cell of 8 x 8, of 255, from which on a place looks different.
_OTHER_LOOK = 40.0
#: Side of the smallest cut-out, as a share of the picture's short side.
_SMALLEST = 0.18
#: A change that fills more of the picture is no place in it.
_LARGEST = 0.2


@dataclass(frozen=True)
class Tubelet:
    """Something that happens.

    Attributes:
        span: from the time at which it looks like ``picture`` until it is gone.
        region: a square of pixels around it.
        picture: uint8 ``[S, S, 3]``.
    """

    span: Span
    region: Region
    picture: Image


class TubeletBuilder:
    """Links the changes of samples, given in order of time, to tubelets; holds two pictures and the cut-outs.

    Args:
        max_seconds: what goes on for longer becomes several tubelets.
    """

    def __init__(self, max_seconds: float) -> None:
        self._max = max_seconds
        self._open: list[_Open] = []
        self._shot = 0.0
        self._reference: tuple[Sample, Image] | None = None

    def add(self, sample: Sample) -> list[Tubelet]:
        """Takes the next sample; returns the tubelets that are complete now."""
        small = _small(sample.image)
        if sample.cut or self._reference is None:
            self._shot, self._reference = sample.time, (sample, small)
            return self.finish(sample.time)
        boxes = _changes(self._reference[1], small)
        done = [] if boxes else self._take_out(lambda one: one.gone is not None, sample.time)
        for box in boxes if len(boxes) <= _MANY else ():
            if box.area <= _LARGEST:
                self._join(box, self._reference, (sample, small))
        if boxes:
            self._reference = sample, small
        return done + self._take_out(lambda one: sample.until - one.start >= self._max, sample.until)

    def finish(self, end: float) -> list[Tubelet]:
        """The tubelets that are still open where a shot or the video ends."""
        return self._take_out(lambda _: True, end)

    def _take_out(self, complete: Callable[["_Open"], bool], end: float) -> list[Tubelet]:
        done = [one for one in self._open if complete(one)]
        self._open = [one for one in self._open if not complete(one)]
        return [tubelet for one in done for tubelet in one.done(end)]

    def _join(self, box: Region, before: tuple[Sample, Image], after: tuple[Sample, Image]) -> None:
        """Notes a change in a place between two samples, each with its small picture."""
        sample, small = after
        place = square(box, sample.image.shape)
        cuts = [_cut(one.image, place) for one, _ in (before, after)]
        near = [one for one in self._open if one.box.pad(_MARGIN).intersect(box.pad(_MARGIN))]
        if near or _outlines(cuts[1]) >= _outlines(cuts[0]):
            joined = _Open(box, sample.image.shape, before[1], [_Shown(sample.time, cuts[1])])
        else:
            # With a thing there are more outlines than without it: it leaves without having come, so it was there.
            since = max(self._shot, sample.time - self._max)
            joined = _Open(box, sample.image.shape, small, [_Shown(since, cuts[0])])
        for one in near:
            joined.take(one)
        if joined.looks_empty(small):
            joined.gone = sample.time
            joined.looks = [look for look in joined.looks if look.time < sample.time] or joined.looks
        self._open = [one for one in self._open if one not in near]
        if joined.box.area <= _LARGEST:
            self._open.append(joined)


@dataclass(frozen=True)
class _Shown:
    """How a place looked from ``time`` on."""

    time: float
    picture: Image


@dataclass(eq=False)
class _Open:
    """A tubelet in the making.

    Attributes:
        shape: of the samples' pictures.
        empty: the small picture without it.
        looks: how it looked, in order of time.
        gone: when it was seen to have left, None while it is there.
    """

    box: Region
    shape: tuple[int, ...]
    empty: Image
    looks: list[_Shown]
    gone: float | None = None

    @property
    def start(self) -> float:
        return self.looks[0].time

    def take(self, other: "_Open") -> None:
        """Makes another tubelet a part of this one; a look like an earlier one is not kept."""
        self.box = self.box.hull(other.box)
        if other.start <= self.start:
            self.empty = other.empty
        looks = sorted((*self.looks, *other.looks), key=lambda look: look.time)
        self.looks = []
        for look in looks:
            if len(self.looks) < _LOOKS and all(_differ(look.picture, one.picture) for one in self.looks):
                self.looks.append(look)

    def looks_empty(self, small: Image) -> bool:
        """Whether the place looks as it did without the thing."""
        differs = cv2.absdiff(_cut(self.empty, self.box), _cut(small, self.box)).max(axis=2) > _CHANGED
        return float(differs.mean()) < _EMPTY

    def done(self, end: float) -> list[Tubelet]:
        end = self.gone if self.gone is not None else end
        region = square(self.box, self.shape)
        return [Tubelet(Span.of(min(look.time, end), end), region, look.picture) for look in self.looks]


def square(box: Region, shape: tuple[int, ...]) -> Region:
    """The square of pixels around ``box``, with a margin, inside a picture ``[H, W, ...]``."""
    height, width = shape[:2]
    side = max((box.x1 - box.x0) * width, (box.y1 - box.y0) * height) * (1 + 2 * _MARGIN)
    side = min(max(side, _SMALLEST * min(height, width)), min(height, width))
    x = min(max((box.x0 + box.x1) / 2 * width - side / 2, 0), width - side)
    y = min(max((box.y0 + box.y1) / 2 * height - side / 2, 0), height - side)
    return Region.of(x / width, y / height, (x + side) / width, (y + side) / height)


def _small(image: Image) -> Image:
    scale = min(1.0, _SIDE / min(image.shape[:2]))
    return np.asarray(cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _changes(before: Image, after: Image) -> list[Region]:
    """Boxes around what differs between two pictures, from the top."""
    height, width = after.shape[:2]
    changed = (cv2.absdiff(before, after).max(axis=2) > _CHANGED).astype(np.uint8)
    changed = cv2.morphologyEx(changed, cv2.MORPH_OPEN, np.ones((2, 2), np.uint8))
    near = cv2.dilate(changed, np.ones((_TOGETHER, _TOGETHER), np.uint8))
    count, marks, boxes, _ = cv2.connectedComponentsWithStats(near)
    found = []
    for mark, (left, top, wide, high) in enumerate(boxes[1:count, :4].tolist(), start=1):
        part = np.s_[top : top + high, left : left + wide]
        x, y, w, h = cv2.boundingRect(changed[part] * (marks[part] == mark))
        x, y = x + left, y + top
        found.append(Region.of(x / width, y / height, (x + w) / width, (y + h) / height))
    return found


def _cut(image: Image, region: Region) -> Image:
    height, width = image.shape[:2]
    rows = slice(round(region.y0 * height), round(region.y1 * height))
    return image[rows, round(region.x0 * width) : round(region.x1 * width)].copy()


def _differ(picture: Image, other: Image) -> bool:
    """Whether two cut-outs show different things, not the same one a little moved."""
    tiny = [cv2.resize(one, (8, 8), interpolation=cv2.INTER_AREA) for one in (picture, other)]
    return float(cv2.absdiff(*tiny).max()) > _OTHER_LOOK


def _outlines(picture: Image) -> float:
    """How much of a picture is edges: the mean step between neighbouring pixels."""
    return float(np.abs(cv2.Laplacian(picture, cv2.CV_32F)).mean())
