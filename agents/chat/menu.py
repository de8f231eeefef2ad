"""What a chat model may point at: evidence and segments under short names, so that it never writes a time itself."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from agents.state import State
from tools.evidence import Evidence
from tools.media.span import Span, format_time
from tools.media.video import Video

#: Most pieces of evidence and most segments that one prompt lists.
MAX_EVIDENCE = 40
MAX_SEGMENTS = 32
#: Characters of one piece of evidence that a prompt quotes.
MAX_TEXT = 240
#: Shortest segment around a piece of evidence, and length of those right before and after it, in seconds.
AROUND = 6.0
BESIDE = 30.0
#: Even parts into which a single video is offered.
PARTS = 8


@dataclass(frozen=True)
class Segment:
    """A part of a video that can be looked at; ``why`` says how it came on the menu."""

    video_id: str
    span: Span
    why: str

    def parent(self, state: State) -> str | None:
        """Id of the narrowest earlier view that this one lies in, None where it is a first look."""
        outer = [
            looked.view
            for looked in state.views
            if looked.view.video_id == self.video_id
            and looked.view.span.start <= self.span.start
            and self.span.end <= looked.view.span.end
        ]
        return min(outer, key=lambda view: view.span.duration).id if outer else None


@dataclass(frozen=True)
class Menu:
    """The names of one prompt: evidence (e1, e2 ...), segments (s1, s2 ...) and videos (v1, v2 ...)."""

    evidence: dict[str, Evidence]
    segments: dict[str, Segment]
    videos: dict[str, Video]

    @classmethod
    def of(cls, state: State) -> "Menu":
        """The menu of a state; equal states give equal menus."""
        perceived = (item for group in state.evidence.values() for item in group)
        hits = (item for group in state.hits.values() for item in group)
        unique: dict[str, Evidence] = {}
        for item in (*perceived, *hits):
            # What was perceived stands for the hit that led to it, which has the same id.
            if item.text:
                unique.setdefault(item.id, item)
        shown = list(unique.values())[:MAX_EVIDENCE]
        return cls(
            evidence={f"e{i}": item for i, item in enumerate(shown, 1)},
            segments={f"s{i}": segment for i, segment in enumerate(_segments(state, shown), 1)},
            videos={f"v{i}": video for i, video in enumerate(state.videos, 1)},
        )

    def evidence_lines(self) -> str:
        """One line a piece of evidence."""
        return _lines(
            f"{name}: {item.kind}, {self._video(item.video_id)} {item.span}, by {item.tool}"
            f"{', has a box' if item.region else ''}: <<<{shorten(item.text)}>>>"
            for name, item in self.evidence.items()
        )

    def segment_lines(self) -> str:
        """One line a segment."""
        return _lines(
            f"{name}: {self._video(segment.video_id)} {segment.span}, {segment.why}"
            for name, segment in self.segments.items()
        )

    def _video(self, video_id: str) -> str:
        return next((name for name, video in self.videos.items() if video.id == video_id), "another video")


def shorten(text: str, limit: int = MAX_TEXT) -> str:
    """The text on one line, without the marks that fence material, cut to ``limit`` characters."""
    text = " ".join(text.replace("<<<", "").replace(">>>", "").split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


def video_lines(videos: Sequence[Video]) -> str:
    """One line a video."""
    return _lines(
        f"v{i}: <<<{shorten(video.name)}>>>, {format_time(video.info.duration)} long"
        f"{'' if video.info.audio_codec else ', without sound'}{'' if video.info.video_codec else ', without pictures'}"
        for i, video in enumerate(videos, 1)
    )


def option_lines(options: Sequence[str]) -> str:
    """One line an option with its letter."""
    return _lines(f"{chr(ord('A') + i)}: <<<{shorten(option)}>>>" for i, option in enumerate(options))


def part_lines(state: State) -> str:
    """One line a sub-question with what is known about it."""
    return _lines(
        f"{part.id} ({part.state}{f', {part.anchor}' if part.anchor else ''}): <<<{shorten(part.text)}>>>"
        f"{f' so far: <<<{shorten(part.answer)}>>>' if part.answer else ''}"
        for part in state.sub_questions
    )


def done_lines(state: State) -> str:
    """One line a look or search that was made."""
    return _lines(
        f"{item.tool} {item.span}{f' for <<<{shorten(item.query)}>>>' if item.query else ''}"
        for item in state.searched[-20:]
    )


def _lines(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines) or "- none"


def _segments(state: State, shown: Sequence[Evidence]) -> list[Segment]:
    bounds = {video.id: _bounds(video, state) for video in state.videos}
    names = {item.id: f"e{i}" for i, item in enumerate(shown, 1)}
    found: dict[tuple[str, float, float], Segment] = {}
    for video_id, span, why in _candidates(state, shown, names, bounds):
        bound = bounds.get(video_id)
        inside = span.intersect(bound) if bound is not None else None
        if inside is not None and inside.duration > 0:
            key = (video_id, round(inside.start, 1), round(inside.end, 1))
            found.setdefault(key, Segment(video_id, inside, why))
    return list(found.values())[:MAX_SEGMENTS]


def _candidates(
    state: State, shown: Sequence[Evidence], names: dict[str, str], bounds: dict[str, Span]
) -> Iterator[tuple[str, Span, str]]:
    """Most useful first: beside what is already claimed, halves of the last looks, around evidence, even parts."""
    known = {item.id: item for item in shown}
    for claim in state.draft.claims:
        for item in (known[i] for i in claim.evidence_ids[:1] if i in known):
            end, start = item.span.end, item.span.start
            yield item.video_id, Span.of(end, end + BESIDE), f"right after {names[item.id]}"
            yield item.video_id, Span.of(start - BESIDE, start), f"right before {names[item.id]}"
    for looked in state.views[-3:]:
        if looked.view.span.duration > 2 * AROUND:
            span = looked.view.span
            yield looked.view.video_id, Span.of(span.start, span.middle), f"first half of {span}"
            yield looked.view.video_id, Span.of(span.middle, span.end), f"second half of {span}"
    parts = PARTS if len(bounds) == 1 else 1
    for item in shown[: MAX_SEGMENTS - parts * len(bounds)]:
        radius = max(0.0, (AROUND - item.span.duration) / 2)
        yield item.video_id, item.span.pad(radius), f"around {names[item.id]}"
    for video_id, bound in bounds.items():
        for i, part in enumerate(bound.windows(max(bound.duration / parts, 1e-3)), 1):
            yield video_id, part, f"part {i} of {parts}" if parts > 1 else "all of it"


def _bounds(video: Video, state: State) -> Span:
    scope = state.question.scope.span
    return (scope.intersect(video.info.span) if scope is not None else None) or video.info.span
