"""Clips of an index: shots, with long ones cut into windows."""

from collections.abc import Iterable

from tools.media.scan import Sample
from tools.media.span import Span

#: Seconds of the longest clip.
MAX_SECONDS = 30.0
#: Seconds below which a shot is joined to the one before it.
MIN_SECONDS = 0.5
_INSTANT = 1e-9


class ShotBuilder:
    """Collects samples in order of time into clips that follow each other without gaps.

    Args:
        max_seconds: longer shots are cut into windows of this length.
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
        done: list[Span] = []
        if self._shot is None:
            self._shot = Span.of(sample.time, sample.until)
        elif sample.cut and sample.time - self._shot.start >= self._min:
            done = [self._shot]
            self._shot = Span.of(sample.time, sample.until)
        else:
            self._shot = Span.of(self._shot.start, max(self._shot.end, sample.until))
        # Given out as soon as it is full, so that a caller holds pictures of one clip however long the shot is.
        while self._shot.duration > self._max + _INSTANT:
            full = Span.of(self._shot.start, self._shot.start + self._max)
            done.append(full)
            self._shot = Span.of(full.end, self._shot.end)
        return done

    def finish(self) -> list[Span]:
        """The clip of the last shot."""
        done, self._shot = self._shot, None
        return [done] if done is not None else []


def shots(
    samples: Iterable[Sample], *, max_seconds: float = MAX_SECONDS, min_seconds: float = MIN_SECONDS
) -> list[Span]:
    """The clips of a whole video."""
    builder = ShotBuilder(max_seconds, min_seconds)
    clips = [clip for sample in samples for clip in builder.add(sample)]
    return clips + builder.finish()
