"""Text tracks: the same words in about the same place, from first seen to last seen."""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher

from tools.media.span import Span
from tools.media.view import Region
from tools.ocr import TextLine, TextTrack

#: Similarity of two readings that makes them the same words when their boxes overlap.
_SIMILAR = 0.75
#: Readings as short as this must be equal.
_SHORT = 3
#: Overlap (intersection over union) of two boxes that counts as the same place.
_SAME_PLACE = 0.3
#: Distance of centres, in fractions of the picture, that equal words may move between two samples.
_MOVE = 0.5
#: Two times closer than this are the same.
_INSTANT = 1e-6


@dataclass
class _Track:
    """A track that is being followed; ``votes`` sums the scores of every reading, ``best`` is its highest."""

    start: float
    until: float
    last: TextLine
    hull: Region
    votes: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    best: dict[str, float] = field(default_factory=dict)

    def add(self, until: float, line: TextLine) -> None:
        self.until = until
        self.last = line
        self.hull = self.hull.hull(line.region)
        self.votes[line.text] += line.score
        self.best[line.text] = max(line.score, self.best.get(line.text, 0.0))

    def done(self) -> TextTrack:
        text = min(self.votes, key=lambda reading: (-self.votes[reading], reading))
        return TextTrack(text, self.hull, Span.of(self.start, self.until), self.best[text])


class TextTracker:
    """Follows lines from picture to picture.

    A line goes on with a track of the sample just before if the words are the same (equal digits, and letters that
    differ only as much as OCR flickers) and the boxes overlap, or if the words are equal and have moved by at most half
    of the picture. So a caption with another number is another track, and scrolling text stays one. What is absent for
    longer than ``gap`` seconds and comes back is a new track. The reading with the highest sum of scores names the
    track; its region is the hull of all its boxes.

    Args:
        gap: seconds for which a line may be missed within a track; 0 means that spans cover only times seen.
    """

    def __init__(self, gap: float = 0.0) -> None:
        self._gap = gap
        self._open: list[_Track] = []
        self._closed: list[TextTrack] = []

    def add(self, time: float, until: float, lines: Sequence[TextLine]) -> None:
        """Lines seen from ``time`` until ``until``; calls come in order of time.

        Raises:
            ValueError: if the sample ends before it starts.
        """
        if until < time:
            raise ValueError(f"a sample ends before it starts ({time:g} > {until:g})")
        live = []
        for track in self._open:
            if time - track.until <= self._gap + _INSTANT:
                live.append(track)
            else:
                self._closed.append(track.done())
        # In a canonical order, so that the order within a picture cannot matter.
        lines = sorted(lines, key=_key)
        pairs = sorted(
            (-nearness, t, n)
            for n, line in enumerate(lines)
            for t, track in enumerate(live)
            if (nearness := _nearness(track.last, line)) is not None
        )
        taken_tracks: set[int] = set()
        taken_lines: set[int] = set()
        for _, t, n in pairs:
            if t not in taken_tracks and n not in taken_lines:
                taken_tracks.add(t)
                taken_lines.add(n)
                live[t].add(until, lines[n])
        for n, line in enumerate(lines):
            if n not in taken_lines:
                track = _Track(time, until, line, line.region)
                track.add(until, line)
                live.append(track)
        self._open = live

    def finish(self) -> list[TextTrack]:
        """All tracks in order of start, then from the top; the tracker is empty afterwards."""
        tracks = self._closed + [track.done() for track in self._open]
        self._open, self._closed = [], []
        return sorted(tracks, key=lambda one: (one.span.start, one.region.y0, one.region.x0, one.span.end, one.text))


def merge(
    times: Sequence[float], until: float, lines: Sequence[Sequence[TextLine]], gap: float = 0.0
) -> list[TextTrack]:
    """Tracks of the frames of one view.

    Args:
        times: seconds of the frames, increasing; each frame holds until the next one.
        until: when the last frame ends.
        lines: what was read in each frame.
        gap: as in `TextTracker`.
    """
    tracker = TextTracker(gap)
    ends = [*times[1:], max(until, times[-1])] if len(times) else []
    for time, end, seen in zip(times, ends, lines, strict=True):
        tracker.add(float(time), float(end), seen)
    return tracker.finish()


def same_words(first: str, second: str) -> bool:
    """Whether two readings are the same words but for OCR's flicker: equal digits, nearly equal letters."""
    return _likeness(_fold(first), _fold(second)) is not None


def _likeness(first: str, second: str) -> float | None:
    """Similarity 0..1 of two folded readings, or None when they are other words."""
    if first == second:
        return 1.0
    if min(len(first), len(second)) <= _SHORT or _digits(first) != _digits(second):
        return None
    matcher = SequenceMatcher(None, first, second, autojunk=False)
    if matcher.real_quick_ratio() < _SIMILAR or matcher.quick_ratio() < _SIMILAR:
        return None
    ratio = matcher.ratio()
    return ratio if ratio >= _SIMILAR else None


def _nearness(before: TextLine, after: TextLine) -> float | None:
    """How well a line goes on with another (more is better), or None when it does not."""
    first, second = _fold(before.text), _fold(after.text)
    overlap = before.region.iou(after.region)
    distance = math.dist(_centre(before.region), _centre(after.region))
    moved = overlap < _SAME_PLACE
    if moved and (first != second or distance > _MOVE):
        return None
    likeness = _likeness(first, second)
    return None if likeness is None else likeness + overlap - distance


def _fold(text: str) -> str:
    """Letters and digits only, for spaces, marks and case are what OCR changes first."""
    return "".join(char for char in text.casefold() if char.isalnum()) or text


def _digits(text: str) -> str:
    return "".join(char for char in text if char.isdigit())


def _centre(region: Region) -> tuple[float, float]:
    return (region.x0 + region.x1) / 2, (region.y0 + region.y1) / 2


def _key(line: TextLine) -> tuple[float, float, float, float, str, float]:
    box = line.region
    return box.y0, box.x0, box.y1, box.x1, line.text, line.score
