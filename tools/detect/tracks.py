"""Object tracks: detections of one label, linked over time."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from tools.detect import Detection, ObjectTrack
from tools.media.span import Span
from tools.media.view import Region

#: Overlap above which two detections of one label in one frame are the same thing.
_DUPLICATE = 0.5
#: Overlap (intersection over union) with which a box goes on with a track.
_SAME_PLACE = 0.2
#: Without overlap: how far centres may move, in fractions of the picture, and how much areas may differ.
_MOVE, _GROWTH = 0.35, 2.5
#: Share of a track's detections that must carry an attribute.
_MAJORITY = 0.5


@dataclass
class _Track:
    label: str
    members: list[Detection] = field(default_factory=list)

    def done(self, times: Sequence[float], ends: Sequence[float]) -> ObjectTrack:
        hull = self.members[0].region
        for one in self.members[1:]:
            hull = hull.hull(one.region)
        votes = Counter(word for one in self.members for word in one.attributes)
        common = tuple(sorted(word for word, count in votes.items() if count > _MAJORITY * len(self.members)))
        span = Span.of(times[self.members[0].index], ends[self.members[-1].index])
        return ObjectTrack(self.label, hull, span, max(one.score for one in self.members), common)


def link(detections: Iterable[Detection], times: Sequence[float], until: float, *, gap: int = 1) -> list[ObjectTrack]:
    """Tracks in order of start, then label and place.

    A detection goes on with the track of its label whose last box overlaps it most; without overlap with the nearest
    one of about its size within a third of the picture, for at one frame a second things jump. Which of two like
    things that cross is which is not told. The order of ``detections`` does not matter.

    Args:
        detections: of all frames; two of a label that cover each other count once, with the better score.
        times: seconds of the frames, increasing; each frame holds until the next one.
        until: when the last frame ends.
        gap: frames in a row in which a thing may be missed within a track.
    """
    if not len(times):
        return []
    starts = [float(time) for time in times]
    ends = [*starts[1:], max(until, starts[-1])]
    by_frame: dict[int, list[Detection]] = {}
    for one in detections:
        by_frame.setdefault(one.index, []).append(one)
    tracks: list[_Track] = []
    for index in sorted(by_frame):
        live = [track for track in tracks if index - track.members[-1].index <= gap + 1]
        found = distinct(by_frame[index])
        pairs = sorted(
            (-nearness, t, n)
            for n, one in enumerate(found)
            for t, track in enumerate(live)
            if (nearness := _nearness(track.members[-1], one)) is not None
        )
        taken: set[int] = set()
        placed: set[int] = set()
        for _, t, n in pairs:
            if t not in taken and n not in placed:
                taken.add(t)
                placed.add(n)
                live[t].members.append(found[n])
        tracks += [_Track(one.label, [one]) for n, one in enumerate(found) if n not in placed]
    done = [track.done(starts, ends) for track in tracks]
    return sorted(done, key=lambda one: (one.span.start, one.label, *_corners(one.region), one.span.end))


def distinct(detections: Iterable[Detection]) -> list[Detection]:
    """Detections of one frame, best first, without those that a better one of the same label covers."""
    kept: list[Detection] = []
    for one in sorted(detections, key=lambda one: (-one.score, one.label, *_corners(one.region), one.attributes)):
        if not any(one.label == other.label and one.region.iou(other.region) > _DUPLICATE for other in kept):
            kept.append(one)
    return kept


def _nearness(before: Detection, after: Detection) -> float | None:
    """How well ``after`` goes on with ``before`` (more is better), or None when it does not."""
    if before.label != after.label:
        return None
    # A thing keeps its colour: agreeing in it outweighs overlap, else things that change places change names.
    agree = 1.5 if before.attributes == after.attributes else 0.0
    overlap = before.region.iou(after.region)
    if overlap >= _SAME_PLACE:
        return 1 + overlap + agree
    distance = math.dist(_centre(before.region), _centre(after.region))
    growth = before.region.area / after.region.area
    if distance > _MOVE or not 1 / _GROWTH <= growth <= _GROWTH:
        return None
    return 1 - distance + agree


def _corners(region: Region) -> tuple[float, float, float, float]:
    return region.x0, region.y0, region.x1, region.y1


def _centre(region: Region) -> tuple[float, float]:
    return (region.x0 + region.x1) / 2, (region.y0 + region.y1) / 2
