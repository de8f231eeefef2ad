"""Traces: what was done for each question, with the frames that were seen."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Header, Query, Response
from sse_starlette import EventSourceResponse

from agents.events import RunInfo
from api.routes.ask import PING_S
from api.schemas import TraceDetail
from api.service import ServiceDep
from tools.errors import BadInput, NotFound

router = APIRouter(prefix="/traces", tags=["traces"])


@router.get("", summary="List traces")
async def listing(service: ServiceDep, limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> list[RunInfo]:
    """The latest runs, newest first."""
    return await asyncio.to_thread(service.loupe.traces.list, limit)


@router.get("/{trace_id}", summary="Look up a trace")
async def one(trace_id: str, service: ServiceDep) -> TraceDetail:
    """A run with its events; readable while it runs and after a crash."""
    trace = await asyncio.to_thread(service.loupe.traces.open, trace_id)
    return TraceDetail(info=trace.info, events=trace.events, result=trace.result)


@router.get("/{trace_id}/events", response_class=EventSourceResponse, summary="Follow a trace")
async def follow(
    trace_id: str, service: ServiceDep, last_event_id: Annotated[str | None, Header()] = None
) -> EventSourceResponse:
    """The events of a run as server-sent events, from the one after ``Last-Event-ID`` on, until it ends."""
    if last_event_id is not None and not last_event_id.isdigit():
        raise BadInput(
            f"'{last_event_id[:40]}' is not the id of an event",
            remedy="send the last id that came",
            field="last-event-id",
        )
    after = int(last_event_id) if last_event_id is not None else -1
    return EventSourceResponse(await service.runs.follow(trace_id, after), ping=PING_S)


@router.get(
    "/{trace_id}/frames/{frame}",
    response_class=Response,
    responses={200: {"content": {"image/jpeg": {}}, "description": "The frame."}},
    summary="A frame that was seen",
)
async def frame(trace_id: str, frame: str, service: ServiceDep) -> Response:
    """A frame as JPEG, by its number in the trace (from 0, in order of the events) or by its SHA-256."""
    traces = service.loupe.traces
    if frame.isdigit() and len(frame) < 64:
        trace = await asyncio.to_thread(traces.open, trace_id)
        seen = [one.sha256 for event in trace.events for one in event.frames]
        if int(frame) >= len(seen):
            raise NotFound(
                f"trace {trace_id} has {len(seen)} frames", remedy="count from 0 below that number", field="frame"
            )
        frame = seen[int(frame)]
    jpeg = await asyncio.to_thread(traces.frame, trace_id, frame)
    # Frames are named by their content and never change.
    return Response(jpeg, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=31536000, immutable"})


@router.delete("/{trace_id}", status_code=204, summary="Delete a trace")
async def delete(trace_id: str, service: ServiceDep) -> None:
    """Deletes a finished run with its frames."""
    await asyncio.to_thread(service.loupe.traces.remove, trace_id)
