"""What the evidence answers so far: every sub-question's best match, and the best answer at this moment."""

from dataclasses import dataclass, replace

from agents.answer import SubQuestion
from agents.reasoner import Judgement
from agents.rules.anchors import Anchor, Window, parse_anchor, windows
from agents.rules.extract import extract, lines
from agents.rules.match import Match, matches, mentioned_at, usable
from agents.rules.options import choose
from agents.rules.plan import finals
from agents.rules.question import Parsed, parse
from agents.rules.words import denied
from agents.state import Claim, Draft, State
from tools.evidence import Evidence
from tools.media.span import Span

#: Most pieces of evidence that one claim names.
MOST = 12
#: Pictures of one step that are glanced at to see whether a thing is there.
GLANCES = 4


@dataclass(frozen=True)
class Finding:
    """What is known about one sub-question.

    Attributes:
        where: windows in which its answer must lie; None while an anchor is unresolved.
        matches: what answers it, best first.
        answer: in words, "" without a match.
        evidence: that proves the answer.
        span: the seconds that other sub-questions may refer to.
    """

    item: SubQuestion
    parsed: Parsed
    anchor: Anchor
    where: list[Window] | None
    matches: tuple[Match, ...] = ()
    answer: str = ""
    evidence: tuple[Evidence, ...] = ()
    span: Span | None = None


def bounds(state: State) -> dict[str, Span]:
    """The part of each video that is in scope."""
    limit = state.question.scope.span
    parts = {video.id: limit.intersect(video.info.span) if limit else video.info.span for video in state.videos}
    return {video_id: span for video_id, span in parts.items() if span is not None}


def assess(state: State) -> dict[str, Finding]:
    """A finding for every sub-question, in the order of the plan."""
    rejected = {evidence_id for evidence_id, verdict in state.checks.items() if verdict == "rejected"}
    found: dict[str, tuple[str, Span]] = {}
    findings: dict[str, Finding] = {}
    limits = bounds(state)
    for item in state.sub_questions:
        parsed, anchor = parse(item.text), parse_anchor(item.anchor)
        where = windows(anchor, found, limits)
        if anchor.relation == "around" and _lost(state, item.id, anchor.refs[0], where):
            anchor = replace(anchor, relation=None, refs=())
            where = windows(anchor, found, limits)
        finding = Finding(item, parsed, anchor, where)
        if where is not None:
            pool = tuple(entry for entry in state.for_question(item.id) if usable(entry, item, parsed))
            ranked = matches(item, parsed, anchor, pool, where, rejected)
            if ranked:
                finding = _answered(finding, ranked, pool)
                assert finding.span is not None
                found[item.id] = (ranked[0].video_id, finding.span)
        findings[item.id] = finding
    return findings


def _lost(state: State, item: str, scene: str, where: list[Window] | None) -> bool:
    """Whether a scene was not recognised, or does not show what is asked about: then the question is worth an answer
    from anywhere, and the scene is no part of its proof."""
    if where is None:
        can = "look" not in state.missing and any(hit.kind == "visual" for hit in state.hits.get(scene, ()))
        return not can or any(looked.sub_question == scene for looked in state.views)
    glances = [entry.text for entry in state.evidence.get(item, ()) if entry.kind == "visual"]
    return bool(glances) and all(denied(text) for text in glances[:GLANCES])


def _answered(finding: Finding, ranked: list[Match], pool: tuple[Evidence, ...]) -> Finding:
    parsed, best = finding.parsed, ranked[0]
    if parsed.form in ("times", "count"):
        evidence = tuple(entry for match in ranked for entry in match.evidence)[:MOST]
    elif best.evidence[0].kind == "text" and not parsed.words:
        evidence = tuple(lines(best, pool))[:MOST]
    else:
        evidence = best.evidence
    return Finding(
        finding.item,
        parsed,
        finding.anchor,
        finding.where,
        tuple(ranked),
        extract(parsed, ranked, pool),
        evidence,
        mentioned_at(best, parsed.words),
    )


def judge(state: State) -> Judgement:
    """Sub-questions with their state, and the draft that the evidence supports."""
    findings = assess(state)
    items = tuple(
        finding.item.model_copy(update={"state": "answered" if finding.answer else "open", "answer": finding.answer})
        for finding in findings.values()
    )
    return Judgement(sub_questions=items, draft=_draft(state, findings))


def _draft(state: State, findings: dict[str, Finding]) -> Draft:
    last = finals(state.sub_questions)
    if state.question.options and last:
        return _choice(state, findings, findings[last[-1].id])
    answered = [findings[item.id] for item in last if findings[item.id].answer]
    if not answered:
        return Draft()
    missing = [item.text for item in last if not findings[item.id].answer]
    text = "; ".join(finding.answer for finding in answered)
    if missing:
        text += f" (not found: {'; '.join(missing)})"
    confidence = min(_confidence(finding.matches[0]) for finding in answered) * len(answered) / len(last)
    claims = tuple(map(_claim, (*answered, *_leaning(answered, findings))))
    return Draft(text=text, confidence=confidence, claims=claims)


def _confidence(match: Match) -> float:
    return round(min(1.0, match.score) * (0.6 + 0.4 * match.observed), 4)


def _leaning(answered: list[Finding], findings: dict[str, Finding]) -> list[Finding]:
    """The other answered sub-questions that any answer leans on."""
    ids = {finding.item.id for finding in answered}
    found = {
        ref: findings[ref]
        for finding in findings.values()
        if finding.answer
        for ref in finding.anchor.refs
        if ref not in ids and findings[ref].answer
    }
    return list(found.values())


def _claim(finding: Finding) -> Claim:
    return Claim(
        text=finding.answer,
        evidence_ids=tuple(entry.id for entry in finding.evidence),
        sub_question=finding.item.id,
    )


def _choice(state: State, findings: dict[str, Finding], finding: Finding) -> Draft:
    if finding.where is None:
        return Draft()
    rejected = {evidence_id for evidence_id, verdict in state.checks.items() if verdict == "rejected"}
    pool = [
        entry
        for entry in state.for_question(finding.item.id)
        if entry.id not in rejected
        and entry.text
        and entry.kind in finding.item.kinds
        and (entry.kind != "visual" or usable(entry, finding.item, finding.parsed))
        and any(window.admits(entry.video_id, entry.span) for window in finding.where)
    ]
    best = finding.matches[0] if finding.matches else None
    choice = choose(state.question.options, finding.parsed, best, finding.answer, pool)
    if choice is None:
        return Draft()
    text = state.question.options[choice.index]
    own = Claim(
        text=text, evidence_ids=tuple(entry.id for entry in choice.evidence[:MOST]), sub_question=finding.item.id
    )
    # An option can be supported where no answer in free words was found, so that the finding itself has no claim.
    leaning = map(_claim, _leaning([finding], findings))
    return Draft(
        text=text,
        option=chr(ord("A") + choice.index),
        confidence=_confidence(Match(choice.evidence, choice.score)),
        claims=(own, *leaning),
    )
