"""The small language in which a sub-question says when: relations to other sub-questions and to the video's clock.

An anchor is a list of terms with commas between them:

=====================  ==============================================================
``after q1``           later than what q1 found; ``right after q1`` the next such thing
``before q1``          earlier; ``right before q1`` the last such thing
``during q1``          at the same time
``around q1``          in the scene that q1 found
``between q1 and q2``  after q1 and before q2
``at 130``             at that second
``after 130``          later than that second; likewise ``before 130``
``from 60 to 120``     inside that span
``first 60``           the first 60 seconds; likewise ``last 60``; ``first 50%`` a share
``first`` ``last``     the first or last of what matches; ``number 2`` the second
=====================  ==============================================================
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from tools.media.span import Span

Relation = Literal["after", "before", "during", "between", "around"]

#: Seconds around an instant that still count as "at" it.
AT = 3.0
#: Seconds within which "right after" and "right before" are looked for first.
NEAR = 30.0
#: Seconds before and after a picture that its scene may last: an index cuts long shots.
SCENE = 12.0
#: Seconds by which an utterance or a text may begin early or end late and still count as after or before.
SLACK = 0.5

_REFERENCE = re.compile(r"(?P<near>right )?(?P<relation>after|before|during|around) (?P<ref>q\d+)")
_BETWEEN = re.compile(r"between (?P<first>q\d+) and (?P<second>q\d+)")
_NUMBER = r"\d+(?:\.\d+)?"
_CLOCK = re.compile(rf"(?P<relation>at|after|before) (?P<time>{_NUMBER})")
_RANGE = re.compile(rf"from (?P<start>{_NUMBER}) to (?P<end>{_NUMBER})")
_EDGE = re.compile(rf"(?P<edge>first|last) (?P<length>{_NUMBER})(?P<share>%)?")
_PICK = re.compile(r"first|last|number (?P<n>\d+)")


@dataclass(frozen=True)
class Anchor:
    """A parsed anchor.

    Attributes:
        relation, refs: relation to other sub-questions, None and () without one.
        near: the nearest such thing is meant ("right after").
        instant: "at" this second.
        since, until: clock limits in seconds; ``edge`` seconds (or a share where ``share``) from the start, or from the
            end where negative.
        pick: which of several matches, 1 the first, -1 the last, None the best.
    """

    relation: Relation | None = None
    refs: tuple[str, ...] = ()
    near: bool = False
    instant: float | None = None
    since: float | None = None
    until: float | None = None
    edge: float | None = None
    share: bool = False
    pick: int | None = None

    @property
    def bounded(self) -> bool:
        """Whether it limits the time at all."""
        return bool(self.relation) or any(x is not None for x in (self.instant, self.since, self.until, self.edge))


def parse_anchor(text: str | None) -> Anchor:
    """The anchor written in ``text``; terms that are not of the language are passed over."""
    fields: dict[str, object] = {}
    for term in (text or "").split(","):
        fields |= _term(term.strip().lower())
    return Anchor(**fields)  # type: ignore[arg-type]


def _term(term: str) -> dict[str, object]:
    if match := _REFERENCE.fullmatch(term):
        return {"relation": match["relation"], "refs": (match["ref"],), "near": bool(match["near"])}
    if match := _BETWEEN.fullmatch(term):
        return {"relation": "between", "refs": (match["first"], match["second"])}
    if match := _CLOCK.fullmatch(term):
        return {{"at": "instant", "after": "since", "before": "until"}[match["relation"]]: float(match["time"])}
    if match := _RANGE.fullmatch(term):
        return {"since": float(match["start"]), "until": float(match["end"])}
    if match := _EDGE.fullmatch(term):
        sign = 1 if match["edge"] == "first" else -1
        return {"edge": sign * float(match["length"]), "share": bool(match["share"])}
    if match := _PICK.fullmatch(term):
        return {"pick": int(match["n"]) if match["n"] else 1 if term == "first" else -1}
    return {}


@dataclass(frozen=True)
class Window:
    """Where the answer must lie.

    Attributes:
        video_id: in this video, or None for all in scope.
        span: within these seconds.
        relation: how evidence must lie to ``reference``; "" when overlapping the span is enough.
        reference: what was found for the anchor.
    """

    video_id: str | None
    span: Span
    relation: str = ""
    reference: Span | None = None

    def admits(self, video_id: str, span: Span) -> bool:
        """Whether evidence with this span is where the window wants it."""
        if self.video_id not in (None, video_id) or not self.span.overlaps(span):
            return False
        if self.reference is None:
            return True
        if self.relation == "after":
            return span.start >= self.reference.end - SLACK
        if self.relation == "before":
            return span.end <= self.reference.start + SLACK
        return True


def windows(anchor: Anchor, found: Mapping[str, tuple[str, Span]], bounds: Mapping[str, Span]) -> list[Window] | None:
    """Where to look, a window a video; None while a sub-question that the anchor names has found nothing.

    Args:
        found: video and span of the answer of each sub-question that has one.
        bounds: the part of each video that is in scope.
    """
    if anchor.relation:
        if any(ref not in found for ref in anchor.refs):
            return None
        return _relative(anchor, [found[ref] for ref in anchor.refs], bounds)
    result = []
    for video_id, bound in bounds.items():
        span = _on_clock(anchor, bound)
        if span is not None:
            result.append(Window(video_id, span))
    return result


def _on_clock(anchor: Anchor, bound: Span) -> Span | None:
    if anchor.instant is not None:
        return Span.around(anchor.instant, AT).intersect(bound)
    start, end = bound.start, bound.end
    if anchor.edge is not None:
        length = abs(anchor.edge) * (bound.duration / 100 if anchor.share else 1)
        start, end = (start, start + length) if anchor.edge > 0 else (end - length, end)
    if anchor.since is not None:
        start = max(start, anchor.since)
    if anchor.until is not None:
        end = min(end, anchor.until)
    return Span.of(start, end).intersect(bound) if start < end else None


def _relative(anchor: Anchor, found: Sequence[tuple[str, Span]], bounds: Mapping[str, Span]) -> list[Window]:
    video_id, reference = found[0]
    bound = bounds.get(video_id)
    if bound is None:
        return []
    start, end = bound.start, bound.end
    if anchor.relation == "after":
        start = max(start, reference.end - SLACK)
    elif anchor.relation == "before":
        end = min(end, reference.start + SLACK)
    elif anchor.relation == "around":
        start, end = max(start, reference.start - SCENE), min(end, reference.end + SCENE)
    elif anchor.relation == "during":
        start, end = max(start, reference.start - SLACK), min(end, reference.end + SLACK)
    else:
        other_video, other = found[1]
        if other_video != video_id:
            return []
        first, second = sorted((reference, other), key=lambda span: span.start)
        start, end = max(start, first.end - SLACK), min(end, second.start + SLACK)
    if start >= end:
        return []
    return [Window(video_id, Span.of(start, end), anchor.relation or "", reference)]
