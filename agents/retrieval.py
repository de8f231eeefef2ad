"""From sub-questions to searches of the index."""

from collections.abc import Sequence

from agents.actions import Search
from agents.answer import SubQuestion
from agents.rules.anchors import NEAR, Window, parse_anchor, windows
from agents.rules.judge import bounds
from agents.rules.question import parse
from agents.rules.words import with_article
from agents.state import State
from tools.evidence import Kind, Scope
from tools.media.span import Span

#: Hits of an ordinary search, of one for pictures, whose best places are chosen among these by looking, and of one that
#: lists everything in a part of the videos.
HITS = 20
PICTURES = 60
LISTED = 500


def searches(state: State, *, dependents: bool = False) -> list[Search]:
    """The first searches: each sub-question's query, and the options of a multiple-choice question.

    Args:
        dependents: also for sub-questions whose anchor is not resolved yet, over all that is in scope.
    """
    found: list[Search] = []
    limits = bounds(state)
    for item in state.sub_questions:
        where = windows(parse_anchor(item.anchor), {}, limits)
        if where is None:
            if not dependents:
                continue
            where = [Window(video_id, span) for video_id, span in limits.items()]
        found += in_windows(state, item, where, item.query)
    if state.question.options and state.sub_questions:
        last = state.sub_questions[-1]
        where = windows(parse_anchor(last.anchor), {}, limits)
        for option in state.question.options if where is not None or dependents else ():
            found += in_windows(state, last, where or [], f"{last.query} {option}".strip())
    return list(dict.fromkeys(found))


def in_windows(state: State, item: SubQuestion, where: Sequence[Window], query: str) -> list[Search]:
    """A search for each different span; without a query the clips there in order of time."""
    spans: dict[tuple[float, float] | None, list[str]] = {}
    limits = bounds(state)
    for window in where:
        if window.video_id is None:
            continue
        span = window.span
        whole = span == limits.get(window.video_id) and state.question.scope.span is None
        spans.setdefault(None if whole else (span.start, span.end), []).append(window.video_id)
    everything = len(limits)
    return [
        Search(
            sub_question=item.id,
            query=words,
            scope=Scope(
                # A search over all that is indexed names no videos: a thousand ids would only slow it down.
                video_ids=() if span is None and len(ids) == everything and not _named(state) else tuple(ids),
                span=None if span is None else Span.of(*span),
                kinds=kinds,
            ),
            limit=LISTED if not words else PICTURES if kinds == ("visual",) else HITS,
            reason=f"clips about '{words}'" if words else "all clips there, in order of time",
        )
        for span, ids in spans.items()
        for words, kinds in _queries(item, query)
    ]


def _queries(item: SubQuestion, query: str) -> list[tuple[str, tuple[Kind, ...]]]:
    """What is searched for in which kinds. Pictures are searched for on their own, by the thing that they must show:
    any picture looks a little like any words, and many would crowd out what says something."""
    if not query or "visual" not in item.kinds:
        return [(query, item.kinds)]
    others = tuple(kind for kind in item.kinds if kind != "visual")
    thing = parse(item.text).subject
    return [*([(query, others)] if others else []), (with_article(thing) if thing else query, ("visual",))]


def near(window: Window) -> Window:
    """The part of a window that lies within `NEAR` seconds of what it refers to."""
    if window.reference is None:
        return window
    if window.relation == "after":
        span = Span.of(window.span.start, min(window.span.end, window.reference.end + NEAR))
    elif window.relation == "before":
        span = Span.of(max(window.span.start, window.reference.start - NEAR), window.span.end)
    else:
        return window
    return Window(window.video_id, span, window.relation, window.reference)


def _named(state: State) -> bool:
    return bool(state.question.scope.video_ids) or state.question.scope.span is not None
