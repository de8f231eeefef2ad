"""Questions, and search without an agent."""

from typing import Any

from fastapi import APIRouter, Request, Response
from sse_starlette import EventSourceResponse

from agents.answer import Answer
from api.schemas import AskRequest, LookRequest, SearchRequest, SearchResult
from api.service import ServiceDep
from tools.evidence import Observation

router = APIRouter(tags=["ask"])

#: Seconds between two comments that keep an idle connection open.
PING_S = 15
_STREAM: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The answer with its citations. With `stream` or `Accept: text/event-stream` the agent's steps "
        "as server-sent events (`plan`, `retrieve`, `search`, `listen`, `read`, `detect`, `look`, `verify` ...), "
        "each with the trace's event as data, and exactly one last event: `answer` or `error`.",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    }
}


@router.post("/ask", response_model=Answer, responses=_STREAM, summary="Ask a question")
async def ask(wanted: AskRequest, request: Request, service: ServiceDep) -> Answer | Response:
    """Answers a question about the videos in scope (all videos without one), inside the budget.

    A claim that no evidence supports is not made: the verdict is then ``not_found``, and ``searched`` says where was
    looked. After a lost connection, ``GET /v1/traces/{trace_id}/events`` goes on where ``Last-Event-ID`` left off.
    """
    if wanted.stream or "text/event-stream" in request.headers.get("accept", ""):
        return EventSourceResponse(await service.runs.stream(wanted.question()), ping=PING_S)
    return await service.runs.ask(wanted.question())


@router.post("/look", summary="Look at a moment")
async def look(wanted: LookRequest, service: ServiceDep) -> Observation:
    """Asks the vision-language model about a view, without an agent; nothing is indexed.

    With the answer come its cost (`report`), the pictures that were seen (JPEG in base64) and, for each, a heat map of
    the patches that the model saw (PNG in base64, see ``GET /v1/traces/{trace_id}/heat/{heat}``).
    """
    service.loupe.library.get(wanted.view.video_id)
    return await service.loupe.look(wanted.view, wanted.question, wanted.method, pictures=wanted.pictures)


@router.post("/search", summary="Search the index")
async def search(wanted: SearchRequest, service: ServiceDep) -> SearchResult:
    """Clips by meaning and by exact words, best first, without an agent."""
    for video_id in wanted.scope.video_ids:
        service.loupe.library.get(video_id)
    found = await service.loupe.toolbox.search(wanted.query, wanted.scope, wanted.limit)
    return SearchResult(evidence=found.evidence, cost=found.cost, note=found.note)
