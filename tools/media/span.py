"""The one currency for time: half-open spans of seconds on a video's own clock."""

import math
import re
from typing import Self

from pydantic import BaseModel, ConfigDict, model_validator

from tools.errors import BadInput

_CLOCK = re.compile(r"(?:(?P<h>\d+):)?(?P<m>\d{1,2}):(?P<s>\d{1,2}(?:[.,]\d+)?)")
_SECONDS = re.compile(r"(?P<s>\d+(?:\.\d+)?)\s*(?:s|sec|secs|second|seconds)?")
#: The comma comes last, for it may stand before milliseconds.
_SEPARATORS = ("..", "–", "—", "-", " to ", ",")


def parse_time(text: str | float) -> float:
    """Seconds from ``SS(.mmm)``, ``12s``, ``MM:SS`` or ``HH:MM:SS(.mmm)`` (a comma before milliseconds is fine).

    Raises:
        BadInput: for anything else, including minutes or seconds of 60 and more behind a colon.
    """
    if isinstance(text, int | float):
        if math.isfinite(text):
            return float(text)
    elif match := _SECONDS.fullmatch(text.strip().lower()):
        return float(match["s"])
    elif match := _CLOCK.fullmatch(text.strip()):
        hours, minutes = int(match["h"] or 0), int(match["m"])
        seconds = float(match["s"].replace(",", "."))
        if seconds < 60 and (minutes < 60 or match["h"] is None):
            return hours * 3600 + minutes * 60 + seconds
    raise BadInput(f"'{text}' is not a time", remedy="write 75, 1:15 or 00:01:15.000", field="time")


def format_time(seconds: float, *, millis: bool = False) -> str:
    """``MM:SS`` (``HH:MM:SS`` from one hour on), with ``.mmm`` where ``millis`` is set."""
    sign = "-" if seconds < 0 else ""
    total = round(abs(seconds) * 1000)
    if not millis:
        total -= total % 1000
    hours, rest = divmod(total, 3_600_000)
    minutes, rest = divmod(rest, 60_000)
    whole, thousandths = divmod(rest, 1000)
    clock = f"{hours:02d}:{minutes:02d}:{whole:02d}" if hours or millis else f"{minutes:02d}:{whole:02d}"
    return f"{sign}{clock}.{thousandths:03d}" if millis else f"{sign}{clock}"


class Span(BaseModel):
    """Half-open interval ``[start, end)`` in seconds on a video's own clock (presentation timestamps)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    start: float
    end: float

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not (math.isfinite(self.start) and math.isfinite(self.end)):
            raise ValueError("a span needs finite seconds")
        if self.end < self.start:
            raise ValueError(f"a span ends before it starts ({self.start:g} > {self.end:g})")
        return self

    @classmethod
    def of(cls, start: float, end: float) -> "Span":
        """The span from ``start`` to ``end``."""
        return cls(start=start, end=end)

    @classmethod
    def around(cls, time: float, radius: float) -> "Span":
        """The span of ``radius`` seconds on either side of ``time``."""
        return cls(start=time - radius, end=time + radius)

    @classmethod
    def parse(cls, text: str) -> "Span":
        """A span from ``START-END``, ``START..END`` or ``START,END``, each side in any form of `parse_time`.

        Raises:
            BadInput: if there are not two times in order.
        """
        for separator in _SEPARATORS:
            parts = text.split(separator)
            if len(parts) == 2:
                start, end = parse_time(parts[0]), parse_time(parts[1])
                if end >= start:
                    return cls(start=start, end=end)
                break
        raise BadInput(f"'{text}' is not a span", remedy="write 1:15-1:40 or 75-100, start before end", field="span")

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return self.end - self.start

    @property
    def middle(self) -> float:
        """The second halfway between start and end."""
        return (self.start + self.end) / 2

    def __contains__(self, time: float) -> bool:
        return self.start <= time < self.end

    def overlaps(self, other: "Span") -> bool:
        """Whether the two share any time; an empty span overlaps what contains its instant."""
        if self.duration == 0 or other.duration == 0:
            return self.start == other.start or self.start in other or other.start in self
        return self.start < other.end and other.start < self.end

    def intersect(self, other: "Span") -> "Span | None":
        """The time that both share, or None."""
        if not self.overlaps(other):
            return None
        return Span(start=max(self.start, other.start), end=min(self.end, other.end))

    def hull(self, other: "Span") -> "Span":
        """The shortest span that covers both."""
        return Span(start=min(self.start, other.start), end=max(self.end, other.end))

    def iou(self, other: "Span") -> float:
        """Intersection over union, 0..1; two equal empty spans give 1."""
        shared = self.intersect(other)
        if shared is None:
            return 0.0
        union = self.duration + other.duration - shared.duration
        return shared.duration / union if union > 0 else 1.0

    def clamp(self, bounds: "Span") -> "Span":
        """The part inside ``bounds``; an empty span at the nearer edge if there is none."""
        start = min(max(self.start, bounds.start), bounds.end)
        return Span(start=start, end=max(start, min(self.end, bounds.end)))

    def shift(self, seconds: float) -> "Span":
        """The same length, ``seconds`` later."""
        return Span(start=self.start + seconds, end=self.end + seconds)

    def pad(self, seconds: float) -> "Span":
        """Wider by ``seconds`` on both sides; a negative pad narrows it down to its middle at most."""
        seconds = max(seconds, -self.duration / 2)
        return Span(start=self.start - seconds, end=max(self.start - seconds, self.end + seconds))

    def windows(self, length: float, *, overlap: float = 0.0) -> list["Span"]:
        """Consecutive windows of at most ``length`` seconds that share ``overlap`` seconds and cover the span."""
        if not length > overlap >= 0:
            raise ValueError("windows need length > overlap >= 0")
        if self.duration <= length:
            return [self]
        step = length - overlap
        count = math.ceil((self.duration - overlap) / step - 1e-9)
        return [
            Span(start=self.start + i * step, end=min(self.start + i * step + length, self.end)) for i in range(count)
        ]

    def __str__(self) -> str:
        return f"{format_time(self.start)}-{format_time(self.end)}"


def merge_spans(spans: list[Span], *, gap: float = 0.0) -> list[Span]:
    """The union as sorted disjoint spans; spans at most ``gap`` seconds apart become one."""
    merged: list[Span] = []
    for span in sorted(spans, key=lambda s: (s.start, s.end)):
        if merged and span.start <= merged[-1].end + gap:
            merged[-1] = merged[-1].hull(span)
        else:
            merged.append(span)
    return merged
