"""From the state at the end to the answer that goes out."""

from agents.answer import Answer, AnswerVerdict, Citation, Stopped
from agents.state import Claim, State
from tools.evidence import Cost, Evidence

NOT_FOUND = "Not found in the video."
NOT_FOUND_IN_ANY = "Not found in the videos."


def assemble(state: State, *, trace_id: str, cost: Cost, stopped: Stopped) -> Answer:
    """The answer with its citations. A claim all of whose evidence was rejected or is unknown is not made."""
    known = state.all_evidence()
    claims = [claim for claim in state.draft.claims if _standing(state, claim, known)]
    verdict = _verdict(state, claims)
    found = verdict != "not_found"
    # Where the first claim fell, the text that it carried falls with it.
    if found and state.draft.claims and state.draft.claims[0] not in claims:
        found, verdict = False, "not_found"
    sub_questions = tuple(
        item.model_copy(update={"state": "not_found"}) if item.state == "open" else item for item in state.sub_questions
    )
    missing = NOT_FOUND if len(state.videos) == 1 else NOT_FOUND_IN_ANY
    return Answer(
        answer=state.draft.text if found else missing,
        option=state.draft.option if found else None,
        confidence=_confidence(state.draft.confidence, verdict) if found else 0.0,
        verdict=verdict,
        citations=_citations(state, claims, known) if found else (),
        sub_questions=sub_questions,
        searched=state.searched,
        notes=state.notes,
        trace_id=trace_id,
        cost=cost,
        stopped=stopped,
    )


def _standing(state: State, claim: Claim, known: dict[str, Evidence]) -> list[str]:
    return [id_ for id_ in claim.evidence_ids if id_ in known and state.checks.get(id_) != "rejected"]


def _verdict(state: State, claims: list[Claim]) -> AnswerVerdict:
    if not claims:
        return "not_found"
    confirmed = [any(state.checks.get(id_) == "confirmed" for id_ in claim.evidence_ids) for claim in claims]
    complete = len(claims) == len(state.draft.claims)
    return "grounded" if complete and all(confirmed) else "partially_grounded"


def _confidence(confidence: float, verdict: AnswerVerdict) -> float:
    return confidence if verdict == "grounded" else round(confidence * 0.6, 4)


def _citations(state: State, claims: list[Claim], known: dict[str, Evidence]) -> tuple[Citation, ...]:
    ids = dict.fromkeys(id_ for claim in claims for id_ in _standing(state, claim, known))
    return tuple(
        Citation(
            video_id=known[id_].video_id,
            start=known[id_].span.start,
            end=known[id_].span.end,
            region=known[id_].region,
            kind=known[id_].kind,
            quote=known[id_].text,
            evidence_id=id_,
            verdict=state.checks.get(id_, "unverified"),
        )
        for id_ in ids
    )
