"""Clips of an index: shots, with long ones split into windows of equal length."""

import math
from collections.abc import Iterable
from itertools import pairwise

from tools.media.scan import Sample
from tools.media.span import Span

#: Seconds of the longest clip.
MAX_SECONDS = 30.0
#: Seconds below which a shot is joined to the one before it.
MIN_SECONDS = 0.5


class ShotBuilder:
    """Collects samples in order of time into clips that follow each other without gaps.

    Args:
        max_seconds: longer shots are split into equal windows of at most this length.
        min_seconds: shorter shots are joined to the one before.
    """

    def __init__(self, max_seconds: float = MAX_SECONDS, min_seconds: float = MIN_SECONDS) -> None:
        if not max_seconds > min_seconds >= 0:
            raise ValueError("shots need max_seconds > min_seconds >= 0")
        self._max = max_seconds
        self._min = min_seconds
        self._shot: Span | None = None

    def add(self, sample: Sample) -> list[Span]:
        """Takes the next sample; returns the clips that are complete now."""
        if self._shot is None:
            self._shot = Span.of(sample.time, sample.until)
        elif sample.cut and sample.time - self._shot.start >= self._min:
            done, self._shot = self._shot, Span.of(sample.time, sample.until)
            return self._split(done)
        else:
            self._shot = Span.of(self._shot.start, max(self._shot.end, sample.until))
        return []

    def finish(self) -> list[Span]:
        """The clips of the last shot."""
        done, self._shot = self._shot, None
        return self._split(done) if done is not None else []

    def _split(self, shot: Span) -> list[Span]:
        count = max(1, math.ceil(shot.duration / self._max - 1e-9))
        edges = [shot.start + shot.duration * i / count for i in range(count)] + [shot.end]
        return [Span.of(start, end) for start, end in pairwise(edges)]


def shots(
    samples: Iterable[Sample], *, max_seconds: float = MAX_SECONDS, min_seconds: float = MIN_SECONDS
) -> list[Span]:
    """The clips of a whole video."""
    builder = ShotBuilder(max_seconds, min_seconds)
    clips = [clip for sample in samples for clip in builder.add(sample)]
    return clips + builder.finish()
