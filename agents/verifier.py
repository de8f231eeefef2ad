"""Checking citations: each cited view is looked at again, by the tool of its kind and without the agent's context."""

from dataclasses import dataclass

from agents.actions import Detect, Listen, Look, Perceiving, Read
from agents.answer import CitationVerdict
from agents.rules.words import bare, coverage, text_similarity, tokens
from agents.run import Outcome
from tools.evidence import Evidence
from tools.media.span import Span
from tools.media.view import View

#: How much of a citation must be seen again to count as the same.
ALIKE = 0.5
#: Seconds heard before and after a cited utterance, so that its first and last word are not cut.
EARSHOT = 1.0
#: Frames of a second look, of one that asks a vision-language model what happens, and their short side in pixels.
FRAMES, CLIP, SHORT_SIDE = 4, 8, 720


@dataclass(frozen=True)
class Check:
    """What a second look said.

    Attributes:
        semantic: how much of the cited text was perceived again, 0..1.
        temporal: intersection over union of the cited span and where it was perceived again, 0..1.
    """

    verdict: CitationVerdict
    semantic: float = 0.0
    temporal: float = 0.0


def second_look(evidence: Evidence, question: str, bounds: Span) -> Perceiving:
    """The action that checks ``evidence``: a view made from the citation alone.

    Args:
        question: what a vision-language model is asked again, for visual evidence.
        bounds: the video's own span.
    """
    span = evidence.span.clamp(bounds)
    reason = "check the citation"
    if evidence.kind == "speech":
        view = View(video_id=evidence.video_id, span=evidence.span.pad(EARSHOT).clamp(bounds))
        return Listen(view=view, reason=reason)
    if evidence.kind == "visual":
        return _look(evidence, question, span, reason)
    fps = min(max(FRAMES / span.duration, 1e-3), 8.0) if span.duration > 0 else 1.0
    # A margin around the box keeps letters at its edge whole; detectors need what a thing stands out from.
    region = evidence.region.pad(0.5) if evidence.kind == "text" and evidence.region is not None else None
    view = View(video_id=evidence.video_id, span=span, fps=fps, region=region, short_side=SHORT_SIDE)
    if evidence.kind == "text":
        return Read(view=view, reason=reason)
    return Detect(view=view, labels=(evidence.text,), reason=reason)


def _look(evidence: Evidence, question: str, span: Span, reason: str) -> Look:
    """The question asked again, about pictures that lie between those of the first look: one in the middle for a bare
    yes or no."""
    count = 1 if bare(evidence.text) else CLIP
    step = span.duration / count
    return Look(
        view=View(
            video_id=evidence.video_id,
            span=Span.of(span.start + step / 2, span.end),
            fps=min(max(1 / step, 1e-3), 8.0) if step > 0 else 1.0,
            region=evidence.region,
            short_side=SHORT_SIDE,
        ),
        question=question,
        reason=reason,
    )


def check(evidence: Evidence, outcome: Outcome) -> Check:
    """Compares a citation with what was perceived again."""
    if outcome.failure is not None or outcome.unavailable:
        return Check("unverified")
    again = [
        item
        for item in outcome.observation.evidence
        if item.kind == evidence.kind and item.span.overlaps(evidence.span)
    ]
    if not again:
        return Check("rejected")
    said = " ".join(item.text for item in again)
    if evidence.kind == "visual":
        semantic = text_similarity(evidence.text, said)
    else:
        # What else is heard or written there does not matter: the citation must be in it.
        whole = coverage(tokens(evidence.text), said)
        semantic = max([whole, *(text_similarity(evidence.text, item.text) for item in again)])
    hull = again[0].span
    for item in again[1:]:
        hull = hull.hull(item.span)
    temporal = hull.iou(evidence.span)
    return Check("confirmed" if semantic >= ALIKE else "rejected", round(semantic, 4), round(temporal, 4))
