"""Evidence that answers a sub-question, best first.

How well a hit ranks in a search is no proof: what counts is how much of the question's content words the evidence
itself contains (see `agents.rules.words.coverage`), and that it lies where the anchor wants it.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, takewhile

from agents.answer import SubQuestion
from agents.rules.anchors import NEAR, Anchor, Window
from agents.rules.question import Parsed
from agents.rules.words import SAME, bare, coverage, denied, matched_positions, text_similarity, tokens
from tools.evidence import Evidence
from tools.media.span import Span

#: Coverage from which on evidence answers a question.
FOUND = 0.6
#: Longest pause in seconds over which two utterances are read as one.
PAUSE = 2.5
#: Similarity from which on two observations of the same seconds are the same thing seen twice.
REPEATED = 0.6
#: Lines of text that came and went within this many seconds of each other belong together.
TOGETHER = 1.5
#: A vision-language model's answer below this confidence is no evidence.
SEEN = 0.3

_CLOCK_FACE = re.compile(r"[\[(]?\d{1,2}[:.]\d{2}(?:[:.]\d{2,3})*[\])]?(?:\s*[ap]\.?m\.?)?|\d{1,3}", re.I)
_NO_ANSWER = re.compile(
    r"^\W*(?:not (?:visible|sure|found)|unknown|unclear|nothing|none|i (?:do not|don't|can ?not))", re.I
)


@dataclass(frozen=True)
class Match:
    """Evidence that fits a sub-question.

    Attributes:
        evidence: more than one where utterances belong together (in order of time) or lines of a slide (the one that
            answers first).
        score: share of the question's content words that it contains, 0..1.
        relaxed: it only overlaps where it should lie ("after" what was already on screen).
    """

    evidence: tuple[Evidence, ...]
    score: float
    relaxed: bool = False

    @property
    def text(self) -> str:
        """All of its words."""
        return " ".join(item.text for item in self.evidence)

    @property
    def video_id(self) -> str:
        """The video that it is from."""
        return self.evidence[0].video_id

    @property
    def span(self) -> Span:
        """From the first to the last second."""
        span = self.evidence[0].span
        for item in self.evidence[1:]:
            span = span.hull(item.span)
        return span

    @property
    def observed(self) -> float:
        """Mean confidence of what was perceived; a hit that was not looked at counts half."""
        scores = [min(item.score, 1.0) if item.view is not None else 0.5 for item in self.evidence]
        return sum(scores) / len(scores)


def matches(
    item: SubQuestion,
    parsed: Parsed,
    anchor: Anchor,
    evidence: Iterable[Evidence],
    where: Sequence[Window],
    rejected: Collection[str] = (),
    *,
    least: float = FOUND,
) -> list[Match]:
    """What answers ``item``, best first: by order of time where the anchor says so, else by score.

    Args:
        where: windows in which it must lie (`agents.rules.anchors.windows`).
        rejected: ids of evidence that a second look did not confirm.
        least: score from which on something counts.
    """
    entries = distinct((one for one in evidence if one.id not in rejected and usable(one, item, parsed)), parsed)
    strict = [entry for entry in entries if any(window.admits(entry.video_id, entry.span) for window in where)]
    if anchor.relation == "between":
        # Only overlapping is not between: the mention itself is no part of what follows it.
        strict = [entry for entry in strict if any(_within(window, entry) for window in where)]
    found = _scored(strict, parsed, least)
    if anchor.relation in ("after", "before"):
        found = [match for match in found if not anchor.near or _distance(match, where) <= NEAR] or found
        if not found:
            # Words are over when they are said; what is on screen may have come before and still be there.
            overlapping = [
                entry
                for entry in entries
                if entry.kind != "speech" and any(_overlaps(window, entry) for window in where)
            ]
            found = [Match(match.evidence, match.score, True) for match in _scored(overlapping, parsed, least)]
    order = {window.video_id: index for index, window in enumerate(where)}
    ranked = _sorted(found, item, anchor, parsed, where, order)
    if parsed.explicit and anchor.pick is None:
        # A question that names its modality means it; the others only help out.
        ranked.sort(key=lambda match: item.kinds.index(match.evidence[0].kind))
    return ranked


def usable(entry: Evidence, item: SubQuestion, parsed: Parsed) -> bool:
    if entry.kind not in item.kinds or not entry.text.strip():
        return False
    if entry.kind == "visual":
        if bare(entry.text):
            # A glance, which says whether a thing is there, answers no other question.
            return parsed.form == "yesno" and not (parsed.presence and denied(entry.text))
        return entry.tool == "look" and entry.score >= SEEN and not _NO_ANSWER.match(entry.text)
    if entry.kind == "text" and _CLOCK_FACE.fullmatch(entry.text.strip()):
        # A running clock or counter is new text every second and would win every "right after".
        asked = set(tokens(parsed.text))
        return bool(parsed.form == "quantity" or asked & {"clock", "time", "timer", "counter", "number", "digits"})
    return True


def distinct(evidence: Iterable[Evidence], parsed: Parsed) -> list[Evidence]:
    """The evidence without second observations of the same thing; the best observation of each stays, in order."""
    entries = list(evidence)
    best: dict[int, Evidence] = {}
    groups: dict[tuple[str, str], list[int]] = {}
    # In order of time only what has not ended yet can be the same thing, so a thousand clips are one sweep.
    for index in sorted(range(len(entries)), key=lambda one: entries[one].span.start):
        entry = entries[index]
        group = groups.setdefault((entry.video_id, entry.kind), [])
        group[:] = [other for other in group if best[other].span.end >= entry.span.start]
        for other in group:
            if best[other].span.overlaps(entry.span) and _same(best[other], entry):
                chosen = max(best[other], entry, key=lambda one: _quality(one, parsed))
                first = min(other, index)
                group[group.index(other)] = first
                del best[other]
                best[first] = chosen
                break
        else:
            group.append(index)
            best[index] = entry
    return [best[index] for index in sorted(best)]


def _same(a: Evidence, b: Evidence) -> bool:
    if a.kind == "object" and a.view is None and b.view is None:
        # Two tracks of one detector over one video are two things.
        return a.id == b.id
    if a.region is not None and b.region is not None and a.kind == "object":
        return a.text == b.text and a.region.iou(b.region) > 0.3
    return a.text == b.text or text_similarity(a.text, b.text) >= REPEATED


def _quality(entry: Evidence, parsed: Parsed) -> tuple[float, bool, float]:
    return (
        round(coverage(parsed.words, entry.text, parsed.classes), 1),
        entry.view is not None,
        entry.score,
    )


def _overlaps(window: Window, entry: Evidence) -> bool:
    return window.video_id in (None, entry.video_id) and window.span.overlaps(entry.span)


def _within(window: Window, entry: Evidence) -> bool:
    return window.span.start <= entry.span.start and entry.span.end <= window.span.end


def _inside(match: Match, where: Sequence[Window]) -> float:
    """The largest share of the match's own seconds that lies in a window."""
    shares = [0.0]
    for window in where:
        shared = match.span.intersect(window.span) if window.video_id in (None, match.video_id) else None
        if shared is not None:
            shares.append(shared.duration / match.span.duration if match.span.duration else 1.0)
    return max(shares)


def _height(match: Match) -> float:
    """Share of the frame's height that the letters take: titles are large."""
    region = match.evidence[0].region
    return region.y1 - region.y0 if region is not None else 0.0


def _scored(entries: Sequence[Evidence], parsed: Parsed, least: float) -> list[Match]:
    found = []
    for entry in entries:
        score = score_text(parsed, entry.text, entry)
        if score >= (SEEN if entry.kind == "visual" else least):
            found.append(Match((entry,), score))
    alone = {match.evidence[0].id: match.score for match in found}
    found += _on_one_slide(entries, parsed, least, alone)
    speech = sorted((entry for entry in entries if entry.kind == "speech"), key=lambda e: (e.video_id, e.span.start))
    for first, second in pairwise(speech):
        if first.video_id != second.video_id or second.span.start - first.span.end > PAUSE or not parsed.words:
            continue
        score = 0.97 * score_text(parsed, f"{first.text} {second.text}", first)
        if score >= least and score > 0.15 + max(alone.get(first.id, 0.0), alone.get(second.id, 0.0)):
            found.append(Match((first, second), score))
    return found


def _on_one_slide(entries: Sequence[Evidence], parsed: Parsed, least: float, alone: Mapping[str, float]) -> list[Match]:
    """Lines that came and went together and answer only together: the title says of what, another line says what."""
    lines = sorted((one for one in entries if one.kind == "text"), key=lambda one: (one.video_id, one.span.start))
    found = []
    for index, first in enumerate(lines if parsed.words else ()):
        group = [first, *takewhile(lambda one, of=first: together(of, one), lines[index + 1 :])]  # type: ignore[misc]
        if len(group) < 2 or (index and together(lines[index - 1], first)):
            continue
        score = 0.97 * score_text(parsed, " ".join(one.text for one in group), first)
        if score < least or score <= 0.15 + max(alone.get(one.id, 0.0) for one in group):
            continue
        telling = max(group, key=lambda one: score_text(parsed, one.text, one))
        missing = [word for word in parsed.words if coverage((word,), telling.text) < SAME]
        others = [one for one in group if one is not telling and any(coverage((w,), one.text) >= SAME for w in missing)]
        found.append(Match((telling, *others), score))
    return found


def together(a: Evidence, b: Evidence) -> bool:
    """Whether two lines of text came and went at about the same time."""
    return (
        a.video_id == b.video_id
        and abs(a.span.start - b.span.start) <= TOGETHER
        and abs(a.span.end - b.span.end) <= TOGETHER
    )


def score_text(parsed: Parsed, text: str, entry: Evidence) -> float:
    """How well one text answers the question, 0..1."""
    if entry.kind == "visual":
        # The model was asked the question itself: its answer need not repeat the words.
        return min(entry.score, 1.0)
    score = coverage(parsed.words, text, parsed.classes)
    for phrase in parsed.phrases:
        if coverage(tokens(phrase), text) < 0.7:
            score *= 0.5
    if parsed.form in ("quantity", "date") and not any(word[0].isdigit() for word in tokens(text)):
        score *= 0.5
    return score


def _distance(match: Match, where: Sequence[Window]) -> float:
    """Seconds between the match and what the anchor refers to; 0 without one."""
    gaps = []
    for window in where:
        if window.reference is not None and window.video_id == match.video_id:
            gaps.append(max(match.span.start - window.reference.end, window.reference.start - match.span.end, 0.0))
    return min(gaps, default=0.0)


def _sorted(
    found: list[Match],
    item: SubQuestion,
    anchor: Anchor,
    parsed: Parsed,
    where: Sequence[Window],
    order: Mapping[str | None, int],
) -> list[Match]:
    def in_time(match: Match) -> tuple[int, float, float]:
        return order.get(match.video_id, 0), match.span.start, -match.score

    nearest = anchor.near or (not parsed.words and anchor.pick is None)
    if anchor.pick is not None:
        ordered = sorted(found, key=in_time, reverse=anchor.pick < 0)
        # Several mentions that are one utterance, or lines that are one slide, count once.
        return ordered if abs(anchor.pick) == 1 else ordered[anchor.pick - 1 :]
    if anchor.relation == "after" and nearest:
        return sorted(found, key=lambda match: (match.relaxed, *in_time(match)))
    if anchor.relation == "before" and nearest:
        return sorted(found, key=lambda match: (match.relaxed, order.get(match.video_id, 0), -match.span.end))
    if anchor.relation == "during" and nearest:
        return sorted(found, key=lambda match: -max((_shared(match, window) for window in where), default=0.0))
    if anchor.instant is not None:
        at = Span.around(anchor.instant, 0.0)
        return sorted(found, key=lambda match: (not match.span.overlaps(at), -round(match.score, 1), _off(match, at)))
    if anchor.bounded and not parsed.words:
        # What belongs to the window comes before what was or stays there anyway, like a logo.
        return sorted(found, key=lambda match: (-round(_inside(match, where), 1), *in_time(match)))
    if not parsed.words and item.kinds[0] == "text":
        return sorted(found, key=lambda match: (-round(_height(match), 2), *in_time(match)))
    return sorted(found, key=lambda match: (-round(match.score, 2), -match.observed))


def _off(match: Match, at: Span) -> float:
    return abs(match.span.middle - at.start)


def _shared(match: Match, window: Window) -> float:
    return match.span.iou(window.reference) if window.reference and match.video_id == window.video_id else 0.0


def mentioned_at(match: Match, words: Sequence[str]) -> Span:
    """The part of the match's seconds in which the words stand, by their place among its words."""
    first = match.evidence[0]
    if first.kind != "speech" or len(match.evidence) > 1 or not words:
        return match.span
    count = len(tokens(first.text))
    places = matched_positions(words, first.text)
    if not places or count < 2:
        return match.span
    length = first.span.duration / count
    start = first.span.start + places[0] * length
    # Words are not equally long: what follows may begin a little before the estimate.
    return Span.of(start, max(start, first.span.start + (places[-1] + 1) * length - 0.05 * first.span.duration))
