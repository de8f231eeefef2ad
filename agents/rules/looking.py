"""Zooming into pictures: from clips that look like the question's subject to the one place that answers.

Dense looks are dear, and in a whole frame a model sees nothing small. So each place that the index offers is glanced at
first, a single picture that only has to show whether the subject is there; only where it is, the question itself is
asked, about many pictures of that place in the seconds in which something happens there.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from agents.actions import Action, Look, Search, key
from agents.retrieval import in_windows
from agents.rules.judge import GLANCES, Finding
from agents.rules.match import usable
from agents.rules.options import agreeing
from agents.rules.words import denied, with_article
from agents.state import State
from tools.evidence import Evidence
from tools.media.span import Span
from tools.media.view import View

#: Steps of glances.
ROUNDS = 4
#: Most places that the question is asked about, and frames of each.
PLACES, FRAMES = 2, 8
#: Short side in pixels of a picture of a whole frame, and of a region of it.
SHORT_SIDE = 360
#: Confidence of an answer from which on no other place is looked at.
SURE = 0.6
#: How likely the subject is there, from which on its place is worth a look.
LIKELY = 0.5


@dataclass(frozen=True)
class Zoom:
    """Which zooms are in use.

    Attributes:
        time: looks at the seconds of a clip; without it at all seconds in which the answer may lie.
        space: looks at the region of a clip; without it at whole frames.
    """

    time: bool = True
    space: bool = True


def looks(state: State, finding: Finding, zoom: Zoom) -> Sequence[Action]:
    """The next searches, glances or looks for a sub-question about a thing that pictures can be searched for; none
    where there is no such thing, or nothing is left to look at."""
    item, parsed = finding.item, finding.parsed
    if not parsed.subject or "visual" not in item.kinds or "look" in state.missing:
        return []
    searches = in_windows(state, item, finding.where or [], item.query)
    if visual := [one for one in searches if one.scope.kinds == ("visual",) and _new(state, one)]:
        return visual
    places = _places(state, finding)
    glances = [_glance(finding, place, zoom) for place in places]
    if parsed.form == "yesno" and not parsed.presence:
        # Yes and no are its own answers.
        return _asked(state, finding, places, glances, zoom)
    for start in range(0, min(len(glances), GLANCES * ROUNDS), GLANCES):
        if _seen(state, finding, glances[:start], LIKELY):
            break
        if fresh := {key(one): one for one in glances[start : start + GLANCES] if _new(state, one)}:
            return list(fresh.values())
    if parsed.presence:
        return []
    chosen = _seen(state, finding, glances, LIKELY) or _seen(state, finding, glances, 0.0)[:1]
    return _asked(state, finding, [places[one] for one in chosen], [glances[one] for one in chosen], zoom)


def _asked(
    state: State, finding: Finding, places: Sequence[Evidence], glances: Sequence[Look], zoom: Zoom
) -> Sequence[Look]:
    """The question itself about the next of these places, unless another one has answered."""
    if _answered(state, finding):
        return []
    asked = [_look(finding, *one, zoom) for one in zip(places[:PLACES], glances, strict=False)]
    return [one for one in asked if _new(state, one)][:1]


def _places(state: State, finding: Finding) -> list[Evidence]:
    """Clips of the index where the subject may be, best first: regions of pictures before whole ones. A scene is known
    by whole pictures."""
    where = finding.where or []
    clips = [
        hit
        for hit in state.hits.get(finding.item.id, ())
        if hit.kind == "visual" and any(window.admits(hit.video_id, hit.span) for window in where)
    ]
    if any(part.anchor == f"around {finding.item.id}" for part in state.sub_questions):
        return [hit for hit in clips if hit.region is None][:GLANCES]
    return sorted(clips, key=lambda hit: hit.region is None)


def _glance(finding: Finding, place: Evidence, zoom: Zoom) -> Look:
    """One picture: of a whole clip its middle, of a region the moment for which the index took it in."""
    span = _span(finding, place, zoom)
    span = span if place.region is not None and zoom.time else Span.of(span.middle, span.end)
    thing = finding.parsed.subject
    return Look(
        view=View(
            video_id=place.video_id,
            span=span,
            fps=min(max(1 / span.duration, 1e-3), 8.0) if span.duration > 0 else 1.0,
            region=place.region if zoom.space else None,
            short_side=SHORT_SIDE,
        ),
        question=f"Is there {with_article(thing)}?",
        sub_question=finding.item.id,
        reason=f"glance at a place that may show the {thing}",
    )


def _look(finding: Finding, place: Evidence, glance: Look, zoom: Zoom) -> Look:
    span = _span(finding, place, zoom)
    return Look(
        view=glance.view.zoom(span=span, fps=min(FRAMES / span.duration, 8.0) if span.duration > 0 else 1.0),
        parent=glance.view.id,
        question=finding.item.text,
        sub_question=finding.item.id,
        reason=f"look at the {finding.parsed.subject} as long as it is there",
    )


def _span(finding: Finding, place: Evidence, zoom: Zoom) -> Span:
    if zoom.time:
        return place.span
    return next(window.span for window in finding.where or [] if window.admits(place.video_id, place.span))


def _seen(state: State, finding: Finding, glances: Sequence[Look], least: float) -> list[int]:
    """Indices of the glances that showed the subject at least so likely, most likely first; what is about as likely
    stays in the order of the index."""
    shown = {entry.view.id: _likely(entry) for entry in state.evidence.get(finding.item.id, ()) if entry.view}
    found = {index: shown.get(glance.view.id, -1.0) for index, glance in enumerate(glances)}
    return sorted(
        (index for index, likely in found.items() if likely >= least), key=lambda index: -round(found[index], 1)
    )


def _likely(entry: Evidence) -> float:
    """How likely a glance saw its subject, 0..1; what is neither yes nor no says nothing."""
    if denied(entry.text):
        return 1 - entry.score
    return entry.score if entry.text.lower().startswith("yes") else 0.0


def _answered(state: State, finding: Finding) -> bool:
    """Whether a look gave an answer to rely on; of several options it must be one."""
    return any(
        entry.view is not None
        and entry.score >= SURE
        and usable(entry, finding.item, finding.parsed)
        and (not state.question.options or agreeing(state.question.options, entry.text))
        for entry in state.evidence.get(finding.item.id, ())
        if entry.kind == "visual"
    )


def _new(state: State, action: Look | Search) -> bool:
    return key(action) not in state.done
